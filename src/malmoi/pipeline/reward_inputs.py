"""What a reward model was trained from and on, and the rankings held out from it, as far as they are still there."""

from pathlib import Path

from malmoi.errors import UserError, WorkspaceError
from malmoi.files import read_json, sha256_of
from malmoi.formats.inspect import kind_of
from malmoi.formats.locate import CONFIG
from malmoi.pipeline.plan import parts_at
from malmoi.stage import ONLY
from malmoi.stages import find_stage
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

KINDS = ("judge rankings", "rankings")
SETTINGS = {"policy": "model", "train": "data"}
"""Of `malmoi train reward`."""


def reward_inputs(workspace: Workspace, folder: Path) -> dict[str, Path]:
    """Paths of a reward model's `policy`, `train` and `heldout` rankings, each if it is known and there.

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
    with Ledger.open(workspace, only_read=True) as ledger:
        for sha256 in made["inputs"].values():
            try:
                artefact = ledger.lineage(sha256).artefact
            except WorkspaceError:
                continue
            if artefact is not None and artefact.path.exists():
                found |= _parts_of(artefact.path, wanted)
    return found


def _parts_of(made: Path, wanted: str) -> dict[str, Path]:
    """What is read of one parent. wanted: the kind of rankings that were trained on"""
    found: dict[str, Path] = {}
    model = parts_at(made, "policy")[ONLY]
    if (model / CONFIG).exists() and kind_of(model) == "policy":
        found["policy"] = model
    for kind in ("rankings", wanted):  # the judge's own rankings replace those of the reward model
        parts = parts_at(made, kind)
        found |= {"train" if part == ONLY else part: path for part, path in parts.items() if path.is_file()}
    return {part: path for part, path in found.items() if part in ("policy", "train", "heldout")}


def _of_training(folder: Path) -> dict[str, Path]:
    """Of `malmoi train reward`, whose config is next to the model."""
    path = folder.resolve().parent / "config.json"
    made = read_json(path) if path.exists() else {}
    named = {part: Path(made.get("settings", {}).get(name) or "") for part, name in SETTINGS.items()}
    hashes = made.get("inputs", {})
    return {part: path for part, path in named.items() if _is_same(path, hashes.get(SETTINGS[part]))}


def _is_same(path: Path, sha256: str | None) -> bool:
    return path != Path() and path.exists() and sha256_of(path) == sha256
