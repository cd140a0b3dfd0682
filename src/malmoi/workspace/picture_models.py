"""The models of a workspace that draw."""

from pathlib import Path
from typing import Any

from malmoi.errors import UserError, WorkspaceError
from malmoi.formats.locate import LORA_WEIGHTS, PICTURES
from malmoi.tokenizer.jinja import read_settings
from malmoi.workspace.folder import Workspace
from malmoi.workspace.models import made_by, model_folder, model_names

HOW = "make one with `malmoi run picture`, or take one in with `malmoi models import FOLDER`"


def picture_model_names(workspace: Workspace) -> list[str]:
    """Names of the models that draw, the one to use by default last: the one that the latest run made, of those that
    can take many steps if there is one."""
    names = (path.parent.name for path in workspace.models.glob(f"*/{PICTURES}"))

    def rank(name: str) -> tuple[Any, ...]:
        is_quick = bool(read_settings(workspace.models / name / PICTURES).get("few_steps"))
        return (not is_quick, *made_by(workspace, name), name)

    return sorted(names, key=rank)


def lora_names(workspace: Workspace) -> list[str]:
    """Names of the LoRAs that the workspace has."""
    return sorted(path.parent.name for path in workspace.models.glob(f"*/{LORA_WEIGHTS}"))


def find_picture_model(workspace: Workspace, name: str | None) -> tuple[str, Path]:
    """A picture model's name and folder. name: of the workspace, or the path of any folder; None: the newest

    Raises UserError that says which there are, WorkspaceError as `model_folder`.
    """
    names = picture_model_names(workspace)
    if name is None and not names:
        raise UserError(f"{workspace.models}: no picture model here yet; {HOW}")
    name = names[-1] if name is None else name
    if name in names:
        return name, model_folder(workspace, name)
    known = f"the workspace has {', '.join(names)}" if names else f"the workspace has none; {HOW}"
    if name in model_names(workspace):
        raise WorkspaceError(f"{name}: does not draw; {known}")
    if (Path(name) / PICTURES).is_file():
        return Path(name).resolve().name, Path(name)
    raise UserError(f"{name}: no such picture model; {known}")
