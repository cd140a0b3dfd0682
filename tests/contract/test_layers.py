"""Imports point down: the source is read, not run, and every import is held against the order of the layers."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "malmoi"
ORDER = (
    "errors < files, text, progress, units, facts < config, device, cluster < corpus, unused < synthetic, tokenizer "
    "< data, retrieval < model < image < formats < inference < train < algorithms < evals < feedback, workspace, cost "
    "< stage < stages < pipeline, report < serve < cli"
)
LEVELS = {name: level for level, names in enumerate(ORDER.split(" < ")) for name in names.split(", ")}
# The only imports between neighbours, one way: judgements live in the ledger, and a report reads what a recipe ran.
BESIDE = {("feedback", "workspace"), ("report", "pipeline")}
# What the command line is made of belongs to its layer.
CLI = {"__main__"}
NOT_BELOW_FEEDBACK = {"sqlalchemy", "alembic", "argon2", "typer", "rich", "matplotlib"}
WEB = {"fastapi", "h11", "starlette", "uvicorn"}
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def layer_of(module: str) -> str:
    """`malmoi.data.batch` -> `data`; the package itself, which holds the version, is "" and below all."""
    layer = f"{module}.".split(".")[1]
    return "cli" if layer in CLI else layer


def name_of(path: Path) -> str:
    return ".".join(("malmoi", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def level_of(path: Path) -> int:
    return LEVELS.get(layer_of(name_of(path)), len(LEVELS))


def imports_of(path: Path) -> Iterator[str]:
    """Every module that the file imports, wherever in it; names that are modules of ours count as such."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                inner = SOURCE.joinpath(*f"{node.module}.{alias.name}".split(".")[1:])
                is_module = node.module.startswith("malmoi") and (inner.is_dir() or inner.with_suffix(".py").exists())
                yield f"{node.module}.{alias.name}" if is_module else str(node.module)


def ours(path: Path) -> set[str]:
    return {name for name in imports_of(path) if name.split(".")[0] == "malmoi"}


def test_every_module_has_its_layer() -> None:
    assert {layer_of(name_of(path)) for path in MODULES} <= LEVELS.keys()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_imports_upward_or_beside(path: Path) -> None:
    layer = layer_of(name_of(path))
    below = {name for name, level in LEVELS.items() if level < LEVELS[layer] or (layer, name) in BESIDE}
    assert not {name for name in ours(path) if layer_of(name) not in below | {"", layer}}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for types are no exception."""
    names = {name_of(path) for path in MODULES}
    TopologicalSorter({name_of(path): (ours(path) & names) - {name_of(path)} for path in MODULES}).prepare()


@pytest.mark.parametrize("path", sorted((SOURCE / "algorithms").glob("*.py")), ids=name_of)
def test_no_algorithm_imports_another(path: Path) -> None:
    assert not {name for name in ours(path) if layer_of(name) == "algorithms"}


@pytest.mark.parametrize("path", sorted((SOURCE / "stages").glob("[!_]*.py")), ids=name_of)
def test_no_stage_imports_another(path: Path) -> None:
    others = {name for name in ours(path) if name.startswith("malmoi.stages.")}
    assert not {name for name in others if not name.rpartition(".")[2].startswith("_")}


def test_the_loop_knows_neither_networks_nor_data() -> None:
    assert not {name for name in ours(SOURCE / "train" / "loop.py") if layer_of(name) in ("model", "data")}


@pytest.mark.parametrize("path", [path for path in MODULES if level_of(path) < LEVELS["feedback"]], ids=name_of)
def test_training_needs_no_database_terminal_or_plots(path: Path) -> None:
    assert not {name for name in imports_of(path) if name.split(".")[0] in NOT_BELOW_FEEDBACK}


@pytest.mark.parametrize(
    "path", [path for path in MODULES if layer_of(name_of(path)) not in ("report", "cli")], ids=name_of
)
def test_only_the_command_line_knows_the_terminal(path: Path) -> None:
    assert not {name for name in imports_of(path) if name.split(".")[0] in ("typer", "rich")}


@pytest.mark.parametrize("path", [path for path in MODULES if layer_of(name_of(path)) != "serve"], ids=name_of)
def test_only_the_server_knows_http(path: Path) -> None:
    assert not {name for name in imports_of(path) if name.split(".")[0] in WEB}


@pytest.mark.parametrize("path", [path for path in MODULES if layer_of(name_of(path)) == "serve"], ids=name_of)
def test_the_server_reads_and_writes_no_tables(path: Path) -> None:
    """What a page does is a function below, which the command line can call too."""
    assert not {name for name in imports_of(path) if name.split(".")[0] in ("sqlalchemy", "torch")}


@pytest.mark.parametrize("path", [path for path in MODULES if layer_of(name_of(path)) != "cli"], ids=name_of)
def test_only_the_command_line_prints(path: Path) -> None:
    """Remarks on stderr are no result; nothing else is printed below."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    printing = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("print", "input")]
    assert not [call.lineno for call in printing if "file" not in {given.arg for given in call.keywords}]
