"""A workspace for a command that may be refused: of one that is new, nothing is left then."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from malmoi.errors import UserError
from malmoi.workspace.folder import MARKER, Workspace


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    """Open a workspace; if there is none, create one.

    A new one is removed again if the work ends in a UserError before anything was recorded. Close its ledger before.
    """
    path = folder.resolve()
    is_new = not Workspace(path).exists
    made = [part for part in (path, *path.parents) if not part.exists()]
    try:
        yield Workspace.open(folder)
    except UserError:
        if is_new:
            with contextlib.suppress(OSError, sqlite3.Error):
                _take_back(Workspace(path), made)
        raise


def _take_back(workspace: Workspace, made: list[Path]) -> None:
    """Remove a workspace in which nothing is recorded, and the folders that were made for it, the innermost first."""
    database = workspace.database
    files = [workspace.path / MARKER, database, database.with_name(f"{database.name}-queue")]
    folders = [workspace.runs, workspace.models, workspace.indexes]
    # SQLite's log lies next to the database as long as somebody has it open: then it is not ours to remove.
    if set(workspace.path.iterdir()) - {*files, *folders} or any(
        part.is_dir() and any(part.iterdir()) for part in folders
    ):
        return
    if database.exists() and _has_rows(database):
        return
    for file in files:
        file.unlink(missing_ok=True)
    for part in (*filter(Path.is_dir, folders), *made):
        part.rmdir()


def _has_rows(database: Path) -> bool:
    """Whether anything was written into it since its tables were made."""
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        names = {name for (name,) in tables} - {"alembic_version"}
        return any(connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in names)
