"""Models by name: `models/NAME` in a workspace points at what a run made. `transfer.py` brings them in and out."""

import contextlib
import re
import shutil
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from malmoi.errors import UserError, WorkspaceError
from malmoi.formats.inspect import ABOUT, inspect_model, kind_of
from malmoi.formats.locate import CONFIG
from malmoi.tokenizer.jinja import read_settings
from malmoi.workspace.folder import Workspace
from malmoi.workspace.known import KNOWN
from malmoi.workspace.locks import LOCK, holding

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
IMPORT = "import"
"""Stage of the runs that bring in models from elsewhere."""
_HASH = re.compile(r"(sha256-)?[0-9a-f]{40,64}")


def check_name(name: str) -> str:
    """The name, if it is one. Raises WorkspaceError."""
    if NAME.fullmatch(name) is None:
        raise WorkspaceError(f"{name!r}: not a model's name; use small letters, digits, '.', '_' and '-', no folders")
    return name


def name_for(source: str) -> str:
    """A name made from a model's source: the last part of a path or hub id, in small letters.

    A snapshot in a hub's cache is named after the model, not after its commit.
    """
    *above, last = source.rstrip("/").split("/")
    if len(above) > 1 and above[-1] == "snapshots":
        last = above[-2]
    if last.startswith("models--"):
        last = last.rpartition("--")[2]
    for suffix in (".gguf", ".safetensors"):
        last = last.lower().removesuffix(suffix)
    stem = re.sub(r"[^a-z0-9._-]+", "-", last).strip("._-")[:100]
    if NAME.fullmatch(stem) is None or _HASH.fullmatch(stem):
        raise WorkspaceError(f"{source}: gives no name for the model; choose one with --name")
    return stem


def model_names(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.models.glob("*") if NAME.fullmatch(path.name))


def policy_names(workspace: Workspace) -> list[str]:
    """Names of the models that can write, the one to use by default last.

    It is the one that the latest run made. Models from elsewhere come before those that were made here.
    """
    folders = [path.parent for path in workspace.models.glob(f"*/{CONFIG}")]
    names = (folder.name for folder in folders if _can_write(folder))
    return sorted(names, key=lambda name: (*made_by(workspace, name), name))


def _can_write(folder: Path) -> bool:
    try:
        return kind_of(folder) == "policy"
    except UserError:  # broken: when it is asked for by name, the error is shown
        return False


def made_by(workspace: Workspace, name: str) -> tuple[bool, int]:
    """Whether a run of a recipe made the model, and the number of the run; 0 if no run made it."""
    run = workspace.run_of(workspace.models / name)
    number, _, stage = ("" if run is None else run.name).partition("-")
    return (stage != IMPORT, int(number)) if number.isdecimal() else (False, 0)


def find_model(workspace: Workspace, name: str | None) -> tuple[str, Path]:
    """A model's name and folder.

    name: a model of the workspace, or the path of any model folder; None: the newest model that can write
    Raises UserError that names the nearest model, WorkspaceError as `model_folder` does.
    """
    models, names = workspace.models, policy_names(workspace)
    if name is None and not names:
        raise UserError(f"{models}: no model here yet; make one with `malmoi demo`, or give a folder or --workspace")
    name = name or names[-1]
    if name in (path.name for path in models.glob("*")):
        _check_inside(workspace, models / name)
        return name, models / name
    if Path(name).is_dir():
        return Path(name).resolve().name, Path(name)
    known = f"it has {', '.join(names)}" if names else "it has none"
    near = _to_pull(workspace, name) or _did_you_mean(name, names)
    raise UserError(f"{name}: no such model folder, nor a model in {models}; {near}{known}")


def model_folder(workspace: Workspace, name: str) -> Path:
    """The folder of the workspace's model of this name. Raises WorkspaceError if there is none, or if it is outside."""
    path = workspace.models / check_name(name)
    if not path.is_symlink() and not path.exists():
        names = model_names(workspace)
        known = ", ".join(names) or "none"
        raise WorkspaceError(f"{name}: no such model here; {_did_you_mean(name, names)}there is {known}")
    return _check_inside(workspace, path)


def _check_inside(workspace: Workspace, path: Path) -> Path:
    """The folder that a name of the workspace points at, if the workspace holds it."""
    target = path.resolve()
    if not target.is_relative_to(workspace.path.resolve()):
        raise WorkspaceError(f"{path}: points outside the workspace, at {target}; give that folder itself")
    if not target.is_dir():
        raise WorkspaceError(f"{path}: its folder {target} is gone; malmoi models remove {path.name}")
    return target


def _to_pull(workspace: Workspace, name: str) -> str:
    """How a model with a short name, typed right or nearly, comes in; "" for others."""
    near = get_close_matches(name.lower(), KNOWN, n=1, cutoff=0.8)
    is_here = not near or near[0] in model_names(workspace)
    return "" if is_here else f"malmoi models pull {near[0]} --workspace {workspace.path} brings it; "


def _did_you_mean(name: str, names: Collection[str]) -> str:
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    return f'did you mean "{near[0]}"? ' if near else ""


def list_models(workspace: Workspace) -> list[dict[str, Any]]:
    """Every model of the workspace; one whose folder is gone or outside has an `error` that says so."""
    return [_row(workspace, name) for name in model_names(workspace)]


def _row(workspace: Workspace, name: str) -> dict[str, Any]:
    try:
        return {"name": name, **inspect_model(model_folder(workspace, name))}
    except UserError as error:
        return {"name": name, "error": str(error)}


def show_model(workspace: Workspace, name: str) -> dict[str, Any]:
    """What a model is, where it came from, and its settings under the names of its `config.json`."""
    folder = model_folder(workspace, name)
    about, config = read_settings(folder / ABOUT), read_settings(folder / CONFIG)
    return {"name": name, **inspect_model(folder), "made": about, "config": config}


def check_free(workspace: Workspace, name: str, reserved: Collection[str]) -> None:
    """Raises WorkspaceError if a model cannot come in under this name. reserved: names that recipes give."""
    if check_name(name) in reserved:
        raise WorkspaceError(f"{name}: recipes call their own models {', '.join(reserved)}; choose another --name")
    path = workspace.models / name
    if path.is_symlink() or path.exists():
        raise WorkspaceError(f"{name}: there is such a model; choose another --name, or malmoi models remove {name}")


def remove_model(workspace: Workspace, name: str) -> bool:
    """Remove a model's name, and its weights if no other name has them and a run made them; True if the weights went.

    What the ledger says of it stays. Raises InUseError when a recipe reads the weights, or a run still writes them.
    """
    path = workspace.models / check_name(name)
    if not path.is_symlink():
        model_folder(workspace, name)
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
