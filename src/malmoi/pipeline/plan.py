"""Which stage reads what: each role is bound to the latest stage that makes its kind, or to what a recipe names.

A recipe names something with `[STAGE.reads]`: a stage of the recipe, a model or a run of the workspace, the first
digits of a hash, or a path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from malmoi.errors import ConfigError, WorkspaceError
from malmoi.stage import MODEL, ONLY, Brought, Given, Need, Parts
from malmoi.stages import find_stage, stage_names
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.models import model_folder, model_names

Assigned = Mapping[str, str]
"""Role -> what a recipe names for it."""


@dataclass(frozen=True)
class Source:
    """Where one role of a stage is read from: a kind that a stage of the recipe makes, or something named (`name`)."""

    kind: str
    stage: str = ""
    name: str = ""


Bound = dict[str, tuple[Source, ...]]
"""Role -> where it is read from; nothing for an optional role that nothing fills."""


def bind(stages: Sequence[str], settings: Mapping[str, Any], reads: Mapping[str, Assigned]) -> dict[str, Bound]:
    """Stage -> where each of its roles is read from.

    stages: in the order in which they run; reads: stage -> what the recipe names for its roles
    Raises ConfigError for a stage whose needs no stage before it meets, and for a name that cannot be meant.
    """
    bound: dict[str, Bound] = {}
    before: list[str] = []
    for name in stages:
        stage, named = find_stage(name), reads.get(name, {})
        if unknown := sorted(named.keys() - stage.reads.keys()):
            near = get_close_matches(unknown[0], stage.reads, n=1, cutoff=0.5)
            hint = f'did you mean "{near[0]}"? ' if near else ""
            known = ", ".join(stage.reads) or "nothing"
            raise ConfigError(f"{name}.reads.{unknown[0]}: no such role; {hint}{name} reads {known}")
        made = [(other, kind) for other in before for kind in find_stage(other).kinds_with(settings[other])]
        bound[name] = {
            role: (_named(name, role, wanted, named[role], made, stages),)
            if role in named
            else _latest(name, wanted, made)
            for role, wanted in stage.reads.items()
        }
        before.append(name)
    return bound


def _latest(stage: str, wanted: Need, made: Sequence[tuple[str, str]]) -> tuple[Source, ...]:
    for kind in wanted.kinds:
        if found := [Source(kind, other) for other, its in made if its == kind]:
            return tuple(found) if wanted.many else (found[-1],)
    if wanted.optional:
        return ()
    makers = [other for other in stage_names() if find_stage(other).makes.keys() & set(wanted.kinds)]
    raise ConfigError(
        f"stages: {stage} needs {wanted} before it, which {' or '.join(makers) or 'no stage'} makes; add that to the "
        f"recipe's stages, or name it in [{stage}.reads]"
    )


def _named(
    stage: str, role: str, wanted: Need, name: str, made: Sequence[tuple[str, str]], stages: Sequence[str]
) -> Source:
    kinds = (*wanted.kinds, *wanted.named)
    if name not in stages:
        return Source(wanted.kinds[0], name=name)
    for kind in kinds:
        if (name, kind) in made:
            return Source(kind, name)
    raise ConfigError(f"{stage}.reads.{role}: stage {name} makes no {' or '.join(kinds)} before {stage}")


def parents_of(bound: Bound) -> list[str]:
    """The stages whose work a stage reads, each once."""
    return list(dict.fromkeys(source.stage for sources in bound.values() for source in sources if source.stage))


def bring(stage: str, role: str, source: Source, workspace: Workspace, ledger: Ledger) -> Brought:
    """Find what a recipe names. Raises ConfigError where nothing has that name, or it is of another kind."""
    where = f"{stage}.reads.{role}: {source.name}"
    path = Path(source.name)
    if source.name in model_names(workspace):
        path = model_folder(workspace, source.name)
    elif not path.exists():
        path = _of_run(where, source, ledger)
    parts = _parts_at(path, source.kind)
    if not parts:
        raise ConfigError(f"{where}: holds no {source.kind}")
    return Brought(Given(source.kind, role, parts), path)


def _of_run(where: str, source: Source, ledger: Ledger) -> Path:
    """What a run made, by the run's id or by a hash."""
    try:
        found = ledger.lineage(source.name)
    except WorkspaceError:
        raise ConfigError(f"{where}: no stage, model, run, hash or path has this name") from None
    made = found.artefact or ledger.artefacts_of(found.run.id).get("out")
    if made is None or not made.path.exists():
        raise ConfigError(f"{where}: what it made is not here")
    return made.path


def _parts_at(path: Path, kind: str) -> dict[str, Path]:
    """The parts of a kind in a file or folder: as a stage that makes it lays them out, or the file itself."""
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
