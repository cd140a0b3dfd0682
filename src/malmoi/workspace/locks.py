"""Locks between processes: a file that one process holds exclusively, or several share.

The operating system frees a lock when its process ends, however it ends.
"""

import contextlib
import fcntl
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from malmoi.errors import WorkspaceError
from malmoi.files import disk_errors

LOCK = ".lock"
"""The name of the lock file of a folder."""
ASK_EVERY_S = 0.2
ALONE_WITHIN_S = 0.1
"""A process that calls `is_held` has the lock for a moment."""
SHARED_WITHIN_S = 10.0
QUEUE_EVERY_S = 0.002


class InUseError(WorkspaceError):
    """Another process holds the lock of `what`. holder: that process, in words."""

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(f"{what}: is in use by {holder}; wait for it or stop it")
        self.what, self.holder = what, holder

    @property
    def waits(self) -> str:
        """A line that says what is waited for."""
        return f"waits for {self.what}, which {self.holder} works on; Ctrl-C ends the wait"


@contextlib.contextmanager
def holding(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file exclusively. The file, and its folder, are made if they are missing.

    Raises InUseError that names the process which holds it.
    """
    with _named(path, what, []):
        yield


@contextlib.contextmanager
def holding_for_now(path: Path, what: str) -> Iterator[None]:
    """`holding`, and at the end the lock file is removed, with the folders made for it that nothing else is in."""
    made = list[Path]()
    with _named(path, what, made):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()
                for folder in made:
                    folder.rmdir()


@contextlib.contextmanager
def _named(path: Path, what: str, made: list[Path]) -> Iterator[None]:
    with _locked(path, what, made) as handle:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)


@contextlib.contextmanager
def waiting(path: Path, what: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock file exclusively, and wait for each process that holds it. tell: is given a line before each wait"""
    with contextlib.ExitStack() as held:
        while True:
            try:
                held.enter_context(holding(path, what))
                break
            except InUseError as error:
                tell(error.waits)
                until_free(path)
        yield


@contextlib.contextmanager
def sharing(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file together with others. A process that just ends its work, or removes it, is waited for.

    Raises InUseError if another process holds it exclusively for longer.
    """
    with disk_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _lock(handle, fcntl.LOCK_SH, within_s=SHARED_WITHIN_S):
            raise InUseError(what, _holder(handle))
        yield
    finally:
        _free(handle)


@contextlib.contextmanager
def queueing(path: Path, within_s: float) -> Iterator[bool]:
    """Be the one who is next: nobody who was served just now comes before. Gives whether the turn came in this time."""
    with disk_errors(path):
        handle = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        yield _lock(handle, fcntl.LOCK_EX, within_s, every_s=QUEUE_EVERY_S)
    finally:
        _free(handle)


def is_held(path: Path) -> bool:
    """Whether a process holds this lock file exclusively. Needs no right to write."""
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


def until_free(path: Path) -> None:
    """Wait until nobody holds this lock file exclusively."""
    while is_held(path):
        time.sleep(ASK_EVERY_S)


@contextlib.contextmanager
def _locked(path: Path, what: str, made: list[Path]) -> Iterator[int]:
    """The open lock file. Another process may remove the file before it is locked; then a new one is made.

    made: gets the folders that were missing, the innermost first
    """
    while True:
        with disk_errors(path):
            made[:] = list(itertools.takewhile(lambda folder: not folder.exists(), path.parents)) or made
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # the folder was removed just now
                continue
        try:
            if not _lock(handle, fcntl.LOCK_EX, within_s=ALONE_WITHIN_S):
                raise InUseError(what, _holder(handle))
            if _is_at(handle, path):
                yield handle
                return
        finally:
            _free(handle)


def _lock(handle: int, kind: int, within_s: float, every_s: float = 0.01) -> bool:
    """Try to lock. kind: LOCK_EX (exclusive) or LOCK_SH"""
    until = time.monotonic() + within_s
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return True
        if time.monotonic() > until:
            return False
        time.sleep(every_s)


def _free(handle: int) -> None:
    # If the file were only closed, a child that was forked meanwhile would keep the lock.
    fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(handle: int) -> str:
    """The process that has a lock. It has written its id if it holds the lock exclusively; Linux knows the others."""
    pid, _, host = os.pread(handle, 1024, 0).decode(errors="replace").strip().partition(" ")
    if pid:
        return f"process {pid}" if host == socket.gethostname() else f"process {pid} on {host}"
    pids = _flock_pids(os.fstat(handle))
    return f"process {pids[0]}" if pids else "another process"


def _flock_pids(file: os.stat_result) -> list[str]:
    where = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return []
    # A line: "7: FLOCK  ADVISORY  READ 1417 fe:00:5563356 0 EOF"
    return [line[4] for line in lines if len(line) > 5 and line[1] == "FLOCK" and line[5] == where]
