"""Files that people send, kept aside until it is decided what becomes of them."""

import contextlib
import re
import secrets
import shutil
import time
import unicodedata
from pathlib import Path

from malmoi.errors import DataError
from malmoi.files import disk_errors
from malmoi.text import nfc
from malmoi.workspace.folder import Workspace

LONGEST_NAME = 200
"""Bytes of a name; file systems allow 255."""
KEPT_S = 24 * 3600
MOST = 100
ID = re.compile(r"[0-9a-f]{32}")


def safe_name(name: str) -> str:
    """The name of a file, fit to be one here. Raises DataError if it leads elsewhere or cannot be seen."""
    name = nfc(name).strip()
    if not name or len(name.encode("utf-8", "surrogatepass")) > LONGEST_NAME:
        raise DataError(f"name: expected 1 to {LONGEST_NAME} bytes; rename the file")
    hidden = name.startswith(".") or any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co") for one in name)
    if hidden or "/" in name or "\\" in name:
        raise DataError("name: is no plain name of a file; rename the file")
    return name


def begin_upload(workspace: Workspace, name: str) -> tuple[str, Path]:
    """A place for a file that is kept for a day: the id by which it is found, and the path to write it to.

    Raises DataError for a name that cannot be used, or if too many files wait.
    """
    name = safe_name(name)
    _remove_old(workspace)
    if len(list(_folder(workspace).glob("*"))) >= MOST:
        raise DataError(f"{MOST} files wait to be added; add or leave them first")
    id = secrets.token_hex(16)
    with disk_errors(workspace.path):
        (_folder(workspace) / id).mkdir(parents=True)
    return id, _folder(workspace) / id / name


def find_upload(workspace: Workspace, id: str) -> Path:
    """A file that was kept. Raises DataError if there is none."""
    found = list((_folder(workspace) / id).glob("*")) if ID.fullmatch(id) else []
    if not found:
        raise DataError("the file is not here any more; choose it again")
    return found[0]


def drop_upload(workspace: Workspace, id: str) -> None:
    """Forget a file that was kept."""
    if ID.fullmatch(id):
        shutil.rmtree(_folder(workspace) / id, ignore_errors=True)


def _folder(workspace: Workspace) -> Path:
    return workspace.path / "uploads"


def _remove_old(workspace: Workspace) -> None:
    for folder in _folder(workspace).glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)
