"""Indexes by name: `indexes/NAME` in a workspace is an index of a folder, or points at what a recipe made."""

import contextlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from malmoi.errors import UserError, WorkspaceError
from malmoi.files import read_json
from malmoi.retrieval.update import Updated, update_index
from malmoi.retrieval.writer import FACTS
from malmoi.workspace.folder import Workspace
from malmoi.workspace.locks import LOCK, holding_for_now
from malmoi.workspace.opening import opened

NAME = re.compile(r"[^\W_][\w.-]{0,99}")
INDEX = "index"
"""Kind of what a recipe makes, and the name that `indexes` has for it."""


@dataclass(frozen=True)
class Indexed:
    """An index of the workspace that was made or updated."""

    name: str
    folder: Path
    updated: Updated


def index_folder(workspace: Workspace, source: Path, name: str | None = None, encoding: str | None = None) -> Indexed:
    """Make the workspace's index of a file or a folder of files, or bring it up to date; a workspace, if there is none.

    name: by default that of the file or folder; encoding: as `update_index`
    Raises WorkspaceError if the name is not one or is taken, InUseError if another process makes the index, and what
    `update_index` raises.
    """
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    name = _name_for(source) if name is None else name
    if NAME.fullmatch(name) is None:
        raise WorkspaceError(f"{name!r}: not an index's name; use letters, digits, '.', '_' and '-', no folders")
    folder = workspace.indexes / name
    if name == INDEX or folder.is_symlink():
        raise WorkspaceError(f"{name}: recipes call their own index so; choose another --name")
    # Next to the folder, not in it: the lock's file names a process, and the folder's hash shall not.
    lock = workspace.indexes / f".{name}{LOCK}"
    with opened(workspace.path), holding_for_now(lock, f"index {name}"):
        _check_source(folder, source)
        return Indexed(name, folder, update_index(source, folder, encoding))


def find_index(workspace: Workspace, name: str | None = None) -> Path | None:
    """The folder of the index of this name, or of the one that was made or updated last; None if there is none.

    Raises WorkspaceError if there is none of this name.
    """
    made = {path.parent.name: path for path in workspace.indexes.glob(f"*/{FACTS}")}
    if name is not None:
        if name not in made:
            raise WorkspaceError(f"{name}: no such index here; there is {', '.join(sorted(made)) or 'none'}")
        return made[name].parent
    return max(made.values(), key=lambda path: (path.stat().st_mtime_ns, path)).parent if made else None


def index_state(workspace: Workspace) -> tuple[str, int] | None:
    """What tells whether the index that answers is still the same, and as it was; None if there is none."""
    with contextlib.suppress(OSError):  # another process replaces it just now
        found = find_index(workspace)
        return None if found is None else (str(found), (found / FACTS).stat().st_mtime_ns)
    return None


def _name_for(source: Path) -> str:
    stem = unicodedata.normalize("NFC", source.resolve().name.lower())
    name = re.sub(r"[^\w.-]+", "-", stem).strip("._-")[:100]
    if not NAME.fullmatch(name):
        raise WorkspaceError(f"{source}: gives no name for the index; choose one with --name")
    return f"{name}-files" if name == INDEX else name


def _check_source(folder: Path, source: Path) -> None:
    """Raises WorkspaceError if there is an index of this name of another folder, which is still there."""
    if (folder / FACTS).exists():
        before = str(read_json(folder / FACTS).get("source", ""))
        if before and before != str(source.resolve()) and Path(before).exists():
            raise WorkspaceError(f"{folder.name}: is the index of {before}; choose another --name for {source}")
