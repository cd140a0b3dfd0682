"""Which stage reads what: each role is bound to the latest stage that makes its kind, or to what the recipe names.

`[STAGE.reads]` in a recipe can name a stage of the recipe, a model or a run of the workspace, the first digits of a
hash, or a path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from malmoi.errors import ConfigError, WorkspaceError
from malmoi.stage import MODEL, ONLY, ExternalInput, Input, Parts, Role
from malmoi.stages import find_stage, stage_names
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import OUT, Ledger
from malmoi.workspace.models import model_folder, model_names

Named = Mapping[str, str]
"""Role -> the source that the recipe names for it."""


@dataclass(frozen=True)
class Binding:
    """The source of one input: `stage`, a stage of the recipe, or `name`, something external that the recipe names."""

    kind: str
    stage: str = ""
    name: str = ""


Bindings = dict[str, tuple[Binding, ...]]
"""Role -> its sources; empty for an optional role without a source."""


def bind(stages: Sequence[str], settings: Mapping[str, Any], reads: Mapping[str, Named]) -> dict[str, Bindings]:
    """Stage -> the sources of each of its roles.

    stages: in the order in which they run; reads: stage -> what the recipe names for its roles
    Raises ConfigError if no earlier stage makes a required kind, or if a name in `reads` is not valid.
    """
    bindings: dict[str, Bindings] = {}
    earlier: list[str] = []
    for name in stages:
        stage, named = find_stage(name), reads.get(name, {})
        if unknown := sorted(named.keys() - stage.reads.keys()):
            near = get_close_matches(unknown[0], stage.reads, n=1, cutoff=0.5)
            hint = f'did you mean "{near[0]}"? ' if near else ""
            known = ", ".join(stage.reads) or "nothing"
            raise ConfigError(f"{name}.reads.{unknown[0]}: no such role; {hint}{name} reads {known}")
        made = [(other, kind) for other in earlier for kind in find_stage(other).kinds_with(settings[other])]
        bindings[name] = {
            role_name: (_named(name, role_name, role, named[role_name], made, stages),)
            if role_name in named
            else _latest(name, role, made)
            for role_name, role in stage.reads.items()
        }
        earlier.append(name)
    return bindings


def _latest(stage: str, role: Role, made: Sequence[tuple[str, str]]) -> tuple[Binding, ...]:
    """made: (stage, kind) of all that earlier stages make"""
    for kind in role.kinds:
        if found := [Binding(kind, other) for other, made_kind in made if made_kind == kind]:
            return tuple(found) if role.many else (found[-1],)
    if role.optional:
        return ()
    makers = [other for other in stage_names() if find_stage(other).makes.keys() & set(role.kinds)]
    raise ConfigError(
        f"stages: {stage} needs {role} before it, which {' or '.join(makers) or 'no stage'} makes; add that to the "
        f"recipe's stages, or name it in [{stage}.reads]"
    )


def _named(
    stage: str, role_name: str, role: Role, name: str, made: Sequence[tuple[str, str]], stages: Sequence[str]
) -> Binding:
    kinds = (*role.kinds, *role.named)
    if name not in stages:
        return Binding(role.kinds[0], name=name)
    for kind in kinds:
        if (name, kind) in made:
            return Binding(kind, name)
    raise ConfigError(
        f"{stage}.reads.{role_name}: stage {name} makes no {' or '.join(kinds)} before {stage}; name another source"
    )


def parents_of(bindings: Bindings) -> list[str]:
    """The stages that a stage reads from, each once."""
    return list(dict.fromkeys(binding.stage for found in bindings.values() for binding in found if binding.stage))


def find_external(stage: str, role_name: str, binding: Binding, workspace: Workspace, ledger: Ledger) -> ExternalInput:
    """Find what a recipe names. Raises ConfigError if nothing has that name, or if it does not hold the kind."""
    where = f"{stage}.reads.{role_name}: {binding.name}"
    path = Path(binding.name)
    if binding.name in model_names(workspace):
        path = model_folder(workspace, binding.name)
    elif not path.exists():
        path = _output_of_run(where, binding.name, ledger)
    elif _is_run(path):
        path = path / OUT
    parts = parts_at(path, binding.kind)
    if not parts:
        raise ConfigError(f"{where}: holds no {binding.kind}; name a source that does")
    return ExternalInput(Input(binding.kind, role_name, parts), path)


def _is_run(path: Path) -> bool:
    """Whether a path is a run's folder."""
    return (path / OUT).is_dir() and (path / "config.json").is_file()


def _output_of_run(where: str, name: str, ledger: Ledger) -> Path:
    """What a run made, by the run's id or by a hash."""
    try:
        found = ledger.lineage(name)
    except WorkspaceError:
        raise ConfigError(f"{where}: no stage, model, run, hash or path has this name") from None
    made = found.artefact or ledger.artefacts_of(found.run.id).get(OUT)
    if made is None or not made.path.exists():
        raise ConfigError(f"{where}: its output is missing; run that stage again, or name another source")
    return made.path


def parts_at(path: Path, kind: str) -> dict[str, Path]:
    """The parts of a kind in a file or folder: in the layout of a stage that makes it, or the file itself."""
    layouts = [layout for name in stage_names() if (layout := find_stage(name).makes.get(kind)) is not None]
    if path.is_file():
        return {next((part for layout in layouts for part in layout), ONLY): path}
    if any(ONLY in layout for layout in layouts):
        inside = path / MODEL
        return {ONLY: inside if _is_model(layouts) and inside.is_dir() else path}
    found = [{part: path / name for part, name in layout.items() if (path / name).exists()} for layout in layouts]
    return max(found, key=len, default={})


def _is_model(layouts: Sequence[Parts]) -> bool:
    return any(layout.get(ONLY) == MODEL for layout in layouts)
