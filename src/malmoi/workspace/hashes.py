"""Remember the SHA-256 of files, so that a file is not read again as long as it has not changed."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from malmoi.errors import UserError
from malmoi.files import sha256_of, write_text
from malmoi.workspace.folder import Workspace

NAME = ".hashes.json"
"""The file next to the runs."""
SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read could change again without getting a later time."""


class Known(NamedTuple):
    """A file's hash, and where the file was when it was last asked for."""

    sha256: str
    path: str


class Hashes:
    """Remembers the hash of every file by its inode, size and time of change, in a file next to the runs.

    It saves reading, and checks nothing: `files.sha256_of` reads the contents and tells whether they changed.
    Errors are ignored: without the file in which the hashes are kept, all files are read. Several processes may
    write it; a hash that gets lost between two of them is computed again. Entries of files that are gone or have
    changed are dropped when a new entry is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Known] = {}
        self.fresh: dict[str, str] = {}
        self.is_swept = False
        self._read()

    def sha256_of(self, path: Path) -> str:
        """Of a file or folder: what `files.sha256_of` gives."""
        with self.keeping() as of_file:
            return sha256_of(path, of_file)

    @contextlib.contextmanager
    def keeping(self) -> Iterator[Callable[[Path], str]]:
        """Give a function that hashes a file. The new hashes are written once, when the block ends."""
        n_known = len(self.known)
        yield self._of_file
        if len(self.known) != n_known:
            self._read()  # what other processes have added
            self._sweep()
            with contextlib.suppress(OSError, UserError):
                write_text(self.path, json.dumps(self.known, indent=0))

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            read = {key: Known(*pair) for key, pair in json.loads(self.path.read_bytes()).items()}
            whole = {key: one for key, one in read.items() if all(isinstance(part, str) for part in one)}
            self.known = whole | self.known

    def _of_file(self, path: Path) -> str:
        stat, where = path.stat(), self._stored(path)
        key = _key_of(stat)
        if (known := self.known.get(key)) is not None:
            self.known[key] = Known(known.sha256, where)
            return known.sha256
        # A file that this process has hashed is not hashed again: two hashes within one run must agree.
        found = self.fresh.get(key)
        if found is None:
            found = self.fresh[key] = sha256_of(path)
            if time.time_ns() - stat.st_mtime_ns > SETTLED_NS:
                self.known[key] = Known(found, where)
        return found

    def _stored(self, path: Path) -> str:
        """Relative to the workspace if the file is in it: a workspace that is moved keeps its hashes."""
        root, absolute = self.path.parent.parent.absolute(), path.absolute()
        return str(absolute.relative_to(root) if absolute.is_relative_to(root) else absolute)

    def _sweep(self) -> None:
        """Drop the files that are no longer where they were. Once for each process, as it looks at every file."""
        if self.is_swept:
            return
        self.is_swept = True
        for key, known in list(self.known.items()):
            try:
                is_there = _key_of((self.path.parent.parent / known.path).stat()) == key
            except (OSError, ValueError):
                is_there = False
            if not is_there:
                del self.known[key]


def sha256_in(workspace: Workspace, path: Path) -> str:
    """The hash of a file or folder, remembered in a workspace if there is one."""
    return Hashes(workspace.runs / NAME).sha256_of(path) if workspace.exists else sha256_of(path)


def _key_of(stat: os.stat_result) -> str:
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"
