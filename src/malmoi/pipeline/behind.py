"""The rankings that a reward model was trained on, and those held out from it, as far as they are still there."""

import contextlib
from pathlib import Path

from malmoi.errors import UserError, WorkspaceError
from malmoi.files import read_json, sha256_of
from malmoi.pipeline.plan import parts_at
from malmoi.stages import find_stage
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import OUT, Ledger

KINDS = ("judge rankings", "rankings")


def rankings_behind(workspace: Workspace, folder: Path) -> dict[str, Path]:
    """Paths of `train` and `heldout` rankings of a reward model, each if it is known and there.

    folder: the model's: of a run of the workspace, or what `malmoi train` made
    """
    run = workspace.run_of(folder)
    try:
        found = _of_training(folder) if run is None else _of_run(workspace, run)
    except UserError:  # an older or damaged record; then they are not known
        return {}
    return {part: path for part, path in found.items() if path.exists()}


def _of_run(workspace: Workspace, run: Path) -> dict[str, Path]:
    made = read_json(run / "config.json")
    wanted = next((kind for kind in find_stage(made["stage"]).reads["rankings"].kinds if kind in KINDS), KINDS[-1])
    found: dict[str, Path] = {}
    with contextlib.closing(Ledger.open(workspace, only_read=True)) as ledger:
        for sha256 in made["inputs"].values():
            try:
                artefact = ledger.lineage(sha256).artefact
            except WorkspaceError:
                continue
            if artefact is None or artefact.name != OUT:
                continue
            for kind in ("rankings", wanted):  # the judge's own rankings replace those of the reward model
                parts = parts_at(artefact.path, kind)
                found |= {"train" if part == "" else part: path for part, path in parts.items() if path.is_file()}
    return {part: found[part] for part in ("train", "heldout") if part in found}


def _of_training(folder: Path) -> dict[str, Path]:
    """Of `malmoi train reward`, whose config is next to the model."""
    path = folder.resolve().parent / "config.json"
    made = read_json(path) if path.exists() else {}
    data = Path(made.get("settings", {}).get("data") or "")
    is_same = data.is_file() and sha256_of(data) == made.get("inputs", {}).get("data")
    return {"train": data} if is_same else {}
