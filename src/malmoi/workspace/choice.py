"""What answers where a model is named, and where none is: the version in service, else the newest policy."""

from dataclasses import dataclass
from pathlib import Path

from malmoi.errors import WorkspaceError
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.models import find_model
from malmoi.workspace.versions import NAME, Version, find_version, in_service


@dataclass(frozen=True)
class Choice:
    """A policy, and the version that it is chosen as. version: None if a model was named, or there is no version"""

    name: str
    folder: Path
    version: Version | None = None


def choose(workspace: Workspace, name: str | None) -> Choice:
    """The model or version of this name; None: the version in service, else the newest policy.

    A model that is called as versions are, such as v2, comes before the version.
    Raises UserError as `find_model`, and WorkspaceError if the version's weights are gone.
    """
    if workspace.exists and (name is None or (NAME.fullmatch(name) and not _is_model(workspace, name))):
        with Ledger.open(workspace, only_read=True) as ledger:
            version = in_service(ledger) if name is None else find_version(ledger, name)
        if version is not None:
            if version.missing:
                raise WorkspaceError(f"{version.name}: {version.missing}; malmoi versions rollback, or name a model")
            return Choice(version.name, version.policy, version)
    return Choice(*find_model(workspace, name))


def _is_model(workspace: Workspace, name: str) -> bool:
    return (workspace.models / name).exists() or Path(name).is_dir()
