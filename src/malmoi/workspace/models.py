"""Models by name: `models/NAME` points at what a run made, and what comes from elsewhere is a run of stage `import`."""

import contextlib
import json
import math
import re
import shutil
import time
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from malmoi.errors import WorkspaceError
from malmoi.files import disk_errors, folder_atomic, write_json
from malmoi.formats.locate import CONFIG, INDEX, WEIGHTS, check_pointer
from malmoi.tokenizer.jinja import read_settings
from malmoi.workspace.folder import LOCK, Workspace, holding
from malmoi.workspace.hub import SETTINGS
from malmoi.workspace.ledger import Ledger, fingerprint

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_HASH = re.compile(r"(sha256-)?[0-9a-f]{40,64}")
MADE_HERE = ("base", "sft", "reward", "judge", "ppo", "dpo", "grpo")
"""Names that recipes give to what they make."""
ABOUT = "malmoi.json"
PLAIN = "it has no chat template and was given a plain one"
Writer = Callable[[Path, dict[str, Any]], None]
"""Writes a model into a folder that does not exist yet, and what is given into its `malmoi.json`."""


def check_name(name: str) -> str:
    """The name, if it is one. Raises WorkspaceError."""
    if NAME.fullmatch(name) is None:
        raise WorkspaceError(f"{name!r}: not a model's name; use small letters, digits, '.', '_' and '-', no folders")
    return name


def name_for(source: str) -> str:
    """A name after where a model comes from: the last part of a path or hub id, in small letters.

    A snapshot in a hub's cache is named after the model, not after its commit.
    """
    *above, last = source.rstrip("/").split("/")
    if len(above) > 1 and above[-1] == "snapshots":
        last = above[-2]
    if last.startswith("models--"):
        last = last.rpartition("--")[2]
    stem = re.sub(r"[^a-z0-9._-]+", "-", last.lower()).removesuffix(".gguf").strip("._-")[:100]
    if NAME.fullmatch(stem) is None or _HASH.fullmatch(stem):
        raise WorkspaceError(f"{source}: gives no name for the model; choose one with --name")
    return stem


def model_names(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.models.glob("*") if NAME.fullmatch(path.name))


def find_model(workspace: Workspace, name: str) -> Path:
    """The folder of a model of the workspace. Raises WorkspaceError when there is none, or when it lies outside."""
    path = workspace.models / check_name(name)
    if not path.is_symlink() and not path.exists():
        names = model_names(workspace)
        near = get_close_matches(name, names, n=1, cutoff=0.4)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        raise WorkspaceError(f"{name}: no such model here; {hint}there is {', '.join(names) or 'none'}")
    target = path.resolve()
    if not target.is_relative_to(workspace.path):
        raise WorkspaceError(f"{path}: points outside the workspace, at {target}; give that folder itself")
    if not target.is_dir():
        raise WorkspaceError(f"{path}: its folder {target} is gone; malmoi models remove {name}")
    return target


def check_free(workspace: Workspace, name: str) -> None:
    """Raises WorkspaceError when a model cannot come in under this name."""
    if check_name(name) in MADE_HERE:
        raise WorkspaceError(f"{name}: recipes call their own models {', '.join(MADE_HERE)}; choose another --name")
    path = workspace.models / name
    if path.is_symlink() or path.exists():
        raise WorkspaceError(f"{name}: there is such a model; choose another --name, or malmoi models remove {name}")


def add_model(workspace: Workspace, ledger: Ledger, name: str, facts: Mapping[str, Any], write: Writer) -> Path:
    """Write a model from elsewhere into a run of stage `import`, and name it.

    Others may work in the workspace meanwhile: the ledger gives each run its own folder, and a name is taken once.
    facts: where it came from; `source` among them, in words for people
    What cannot be written to its end leaves no files and no name, and a failed run that says why.
    """
    check_free(workspace, name)
    settings = dict(facts)
    run_id = ledger.start_run(
        stage="import", recipe="", fingerprint=fingerprint("import", settings, {}), settings=settings, seed=0, inputs={}
    )
    folder, began = workspace.runs / run_id / "out" / "model", time.monotonic()
    try:
        with workspace.running(run_id), disk_errors(folder):
            folder.parent.mkdir(parents=True)
            write(folder, {"run": run_id, "parents": {}, **settings})
            ledger.add_artefact(run_id, "model", "model", folder)
            check_free(workspace, name)
            _point(workspace.models / name, folder)
    except BaseException as error:
        shutil.rmtree(workspace.runs / run_id, ignore_errors=True)
        status = "failed" if isinstance(error, Exception) else "stopped"
        ledger.mark_run(run_id, status, error=str(error) or None, seconds=time.monotonic() - began)
        raise
    ledger.finish_run(run_id, time.monotonic() - began)
    return folder


def _point(link: Path, folder: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(Path("..") / folder.relative_to(link.parent.parent))


def remove_model(workspace: Workspace, name: str) -> bool:
    """Take a model's name away, and its weights unless another name or somebody outside has them; True when they went.

    What the ledger says of it stays. Raises InUseError when a recipe reads the weights, or a run still writes them.
    """
    path = workspace.models / check_name(name)
    if not path.is_symlink():
        find_model(workspace, name)
        shutil.rmtree(path)
        return True
    target = path.resolve()
    run = workspace.run_of(target)
    if run is None or not target.is_dir():
        path.unlink()
        return False
    with holding(run / LOCK, f"{name} ({run.name})"):
        path.unlink()
        if target in {(workspace.models / other).resolve() for other in model_names(workspace)}:
            return False
        shutil.rmtree(target)
        # A recipe takes a stage for done as long as `out` is there.
        with contextlib.suppress(OSError):
            target.parent.rmdir()
            if [left.name for left in run.iterdir()] == [LOCK]:
                shutil.rmtree(run)
    return True


def read_model(path: Path, *, move: bool = False) -> tuple[Writer, str]:
    """Check a Hugging Face folder or a GGUF file; returns what writes it as a model of ours, and a remark or "".

    move: the folder's files may be taken instead of copied
    Raises UserError that says which part is broken or not supported; nothing has been written then.
    """
    return _read_folder(path, shutil.move if move else shutil.copyfile) if path.is_dir() else _read_gguf(path)


def _read_gguf(path: Path) -> tuple[Writer, str]:
    from malmoi.formats.folder import save_model
    from malmoi.formats.gguf.read import import_gguf
    from malmoi.tokenizer.chat_template import ChatTemplate

    imported = import_gguf(path)
    model, text = imported.network(), (imported.tokenizer, imported.template)
    remark = PLAIN if imported.template == ChatTemplate.plain() else ""
    return lambda folder, about: save_model(folder, model, *text, about), remark


def _read_folder(path: Path, bring: Callable[[Path, Path], Any]) -> tuple[Writer, str]:
    """The files stay as they are, so that the weights keep their type; loading them is the check."""
    from malmoi import __version__
    from malmoi.formats.folder import check_vocabulary, load_config, load_model
    from malmoi.model.transformer import LanguageModel, ScalarModel
    from malmoi.tokenizer.bpe import Tokenizer
    from malmoi.tokenizer.chat_template import ChatTemplate
    from malmoi.tokenizer.jinja import find_template

    for name in SETTINGS:
        check_pointer(path / name)
    config = load_config(path)
    is_reward = _is_reward(read_settings(path / CONFIG))
    load_model(path, ScalarModel) if is_reward else load_model(path, LanguageModel)
    check_vocabulary(path, config, Tokenizer.load(path))
    source = find_template(path)
    template = ChatTemplate.plain() if source is None else ChatTemplate(source)
    shards = {} if (path / WEIGHTS).exists() else read_settings(path / INDEX)["weight_map"]
    weights = [INDEX, *sorted(set(shards.values()))] if shards else [WEIGHTS]
    names = [*(name for name in SETTINGS if (path / name).exists()), *weights]

    def write(folder: Path, about: dict[str, Any]) -> None:
        with folder_atomic(folder) as partial:
            for name in names:
                bring(path / name, partial / name)
            template.save(partial)
            kind = "reward" if is_reward else "policy"
            write_json(partial / ABOUT, {"malmoi": __version__, "kind": kind, **about})

    return write, "" if source is not None else PLAIN


def _is_reward(config: Mapping[str, Any]) -> bool:
    return any("SequenceClassification" in str(name) for name in config.get("architectures") or ())


def describe(folder: Path) -> dict[str, Any]:
    """What a model is, out of its files; what they do not say is None."""
    config, about = read_settings(folder / CONFIG), read_settings(folder / ABOUT)
    tensors = [tensor for path in sorted(folder.glob("*.safetensors")) for tensor in _tensors(path)]
    return {
        "kind": about.get("kind") or ("reward" if _is_reward(config) else "policy"),
        "family": config.get("model_type"),
        "parameters": sum(math.prod(tensor["shape"]) for tensor in tensors) or None,
        "dtype": ", ".join(sorted({tensor["dtype"] for tensor in tensors})) or None,
        "bytes": sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        "context": config.get("max_position_embeddings") or config.get("n_positions"),
        "vocabulary": config.get("vocab_size"),
        "run": about.get("run"),
        "source": about.get("source"),
        "path": str(folder),
    }


def _tensors(path: Path) -> list[dict[str, Any]]:
    """The entries of a safetensors file's header; none of a broken one."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < 1 << 26 else {}
        header.pop("__metadata__", None)
        return [{"shape": [*entry["shape"]], "dtype": str(entry["dtype"])} for entry in header.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
