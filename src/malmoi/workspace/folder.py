"""The workspace: one folder for one team's assistant. Each run's folder has its own lock.

One process holds the lock exclusively while it works on the run or removes it. Processes that read what the run made
share the lock.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from malmoi import __version__
from malmoi.config import read_toml
from malmoi.errors import WorkspaceError
from malmoi.files import disk_errors, write_text
from malmoi.workspace.locks import LOCK, holding, is_held, sharing

FORMAT = 1
MARKER = "malmoi.toml"
LOG = "log.txt"
"""A file in a run's folder: what was printed while it ran."""


@dataclass(frozen=True)
class Workspace:
    """The folder's `malmoi.toml` names the layout; `runs/`, `models/`, `indexes/` and `malmoi.db` hold the work."""

    path: Path

    @property
    def exists(self) -> bool:
        """Whether there is a workspace in the folder."""
        return (self.path / MARKER).exists()

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def indexes(self) -> Path:
        return self.path / "indexes"

    @property
    def database(self) -> Path:
        return self.path / "malmoi.db"

    @classmethod
    def open(cls, path: str | Path, create: bool = True) -> "Workspace":
        """Open a workspace. If there is none, create one, unless `create` is false.

        Raises WorkspaceError if the path is a file, if it has no workspace and none may be created, or if a newer
        version of Malmoi has written it with a newer layout.
        """
        workspace = cls(Path(path).resolve())
        with disk_errors(workspace.path):
            existing = next(part for part in (workspace.path, *workspace.path.parents) if part.exists())
        if not existing.is_dir():
            raise WorkspaceError(f"{existing}: is a file; a workspace is a folder, choose another path")
        with disk_errors(workspace.path):
            marker = workspace.path / MARKER
            if marker.exists():
                _check_format(marker)
            elif create:
                write_text(marker, f'format = {FORMAT}\nversion = "{__version__}"\n')
            else:
                raise WorkspaceError(f"{path}: no workspace here (malmoi.toml is missing); check the path")
            if create:
                workspace.runs.mkdir(exist_ok=True)
                workspace.models.mkdir(exist_ok=True)
        return workspace

    @contextlib.contextmanager
    def running(self, run_id: str) -> Iterator[None]:
        """Hold a run's folder while the run is at work; meanwhile `is_running` is true. The folder is made if needed.

        Raises InUseError if another process holds it.
        """
        with holding(self.runs / run_id / LOCK, run_id):
            yield

    @contextlib.contextmanager
    def keeping(self, made: Path) -> Iterator[None]:
        """Protect what a finished run made from being removed; other processes may read it at the same time.

        made: a path that exists; if no run of this workspace made it, nothing is locked
        Raises WorkspaceError if it has been removed, InUseError if its run is still at work.
        """
        run = self.run_of(made)
        with contextlib.ExitStack() as held:
            if run is not None and run.is_dir():
                held.enter_context(sharing(run / LOCK, run.name))
            if not made.exists():
                raise WorkspaceError(f"{made}: was removed meanwhile; run the same command again")
            yield

    def run_of(self, made: Path) -> Path | None:
        """The folder of the run in which a path is, or to which its links lead; None if that is not in a run."""
        runs, real = self.runs.resolve(), made.resolve()
        return self.runs / real.relative_to(runs).parts[0] if runs in real.parents else None

    def is_running(self, run_id: str) -> bool:
        """Whether a process is at work on this run. False if that process was killed."""
        return is_held(self.runs / run_id / LOCK)


def _check_format(marker: Path) -> None:
    table = read_toml(marker)
    found = table.get("format")
    if type(found) is not int or found < 1:
        raise WorkspaceError(f"{marker}: format: expected a whole number such as {FORMAT}, got {found!r}")
    if found > FORMAT:
        raise WorkspaceError(
            f"{marker.parent}: workspace format {found}, made by Malmoi {table.get('version', '(unknown)')}, is newer "
            f"than this Malmoi {__version__} reads (format {FORMAT}); upgrade Malmoi or choose another workspace"
        )
