"""The workspace: one folder that holds one team's assistant. Each run's folder has a lock of its own.

The lock is held alone while the run is at work or is being removed, and shared by those who read what it made.
"""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from malmoi import __version__
from malmoi.config import read_toml
from malmoi.errors import WorkspaceError
from malmoi.files import disk_errors, write_text

FORMAT = 1
LOCK = ".lock"
LOG = "log.txt"
"""In a run's folder: what was said while it ran."""
PATIENCE = 5


class InUseError(WorkspaceError):
    """Another process holds `what`, a run or a folder. holder: that process, in words."""

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(f"{what}: is in use by {holder}; wait for it or stop it")
        self.what, self.holder = what, holder


@dataclass(frozen=True)
class Workspace:
    """`malmoi.toml` says which layout this is; `runs/`, `models/` and `malmoi.db` hold what was made."""

    path: Path

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def database(self) -> Path:
        return self.path / "malmoi.db"

    @classmethod
    def open(cls, path: str | Path, create: bool = True) -> "Workspace":
        """Open a workspace, or lay one out where there is none yet.

        Raises WorkspaceError when the path is a file, holds no workspace and none may be created, or was written
        by a Malmoi with a newer layout.
        """
        workspace = cls(Path(path).resolve())
        with disk_errors(workspace.path):
            existing = next(part for part in (workspace.path, *workspace.path.parents) if part.exists())
        if not existing.is_dir():
            raise WorkspaceError(f"{existing}: is a file; a workspace is a folder, choose another path")
        with disk_errors(workspace.path):
            marker = workspace.path / "malmoi.toml"
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
        """Hold a run's folder, made when it is missing, while the run is at work; `is_running` then says so.

        Raises InUseError when another process holds it.
        """
        with holding(self.runs / run_id / LOCK, run_id):
            yield

    @contextlib.contextmanager
    def keeping(self, made: Path) -> Iterator[None]:
        """Share the folder of a finished run with others who read what it made, so that nobody removes it meanwhile.

        What no run of this workspace made is not held.
        Raises WorkspaceError when it is gone.
        """
        run = self.run_of(made)
        with contextlib.ExitStack() as held:
            if run is not None and run.is_dir():
                held.enter_context(_sharing(run / LOCK))
            if not made.exists():
                raise WorkspaceError(f"{made}: was removed meanwhile; run the same command again")
            yield

    def run_of(self, made: Path) -> Path | None:
        """The folder of the run in which a path lies."""
        return self.runs / made.relative_to(self.runs).parts[0] if self.runs in made.parents else None

    def is_running(self, run_id: str) -> bool:
        """Whether a process is at work on this run; a killed one is not."""
        return is_held(self.runs / run_id / LOCK)


@contextlib.contextmanager
def holding(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file, as the only one of all processes; the operating system frees it however the process ends.

    Raises InUseError that names the process which holds it.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            _lock(handle)
        except BlockingIOError:
            raise InUseError(what, _holder(handle)) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
            # Just closing would leave the lock with any child that was forked meanwhile.
            fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _sharing(path: Path) -> Iterator[None]:
    """Hold a lock file together with others; one who holds it alone is waited for."""
    with disk_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _lock(handle: int) -> None:
    """Alone. A process that asks `is_held` shares the lock for a moment, which is waited for."""
    for _ in range(PATIENCE):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.02)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Whether some process holds this lock file; asking takes no right to write."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _holder(handle: int) -> str:
    """The process that holds a lock: one that holds it alone has written its id; Linux knows those that share it."""
    pid, _, host = os.pread(handle, 1024, 0).decode(errors="replace").strip().partition(" ")
    if pid:
        return f"process {pid}" if host == socket.gethostname() else f"process {pid} on {host}"
    pids = _flock_pids(os.fstat(handle))
    return f"process {pids[0]}" if pids else "another process"


def _flock_pids(file: os.stat_result) -> list[str]:
    """Of this machine, as far as it tells."""
    where = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return []
    # 7: FLOCK  ADVISORY  READ 1417 fe:00:5563356 0 EOF
    return [line[4] for line in lines if len(line) > 5 and line[1] == "FLOCK" and line[5] == where]


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
