"""SHA-256 of files that were hashed before is not computed again while they are as they were."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from malmoi.errors import UserError
from malmoi.files import sha256_of, write_text

SETTLED_NS = 2_000_000_000
"""A file changed later than this before it was read could change again within one tick of the disk's clock."""


class Known(NamedTuple):
    """A file's hash, and where the file was when it was last asked for."""

    sha256: str
    path: str


class Hashes:
    """Remembers the hash of every file by its inode, size and time of change, in a file next to the runs.

    It saves reading, and is no check: who wants to know whether contents are still what they were asks `sha256_of`.
    A file that cannot be read back or written is as none. What is remembered of files that are gone or have changed
    is dropped when the next new one is written down.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Known] = {}
        self.fresh: dict[str, str] = {}
        self.is_swept = False
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            read = {key: Known(*pair) for key, pair in json.loads(path.read_bytes()).items()}
            self.known = {key: one for key, one in read.items() if all(isinstance(part, str) for part in one)}

    def sha256_of(self, path: Path) -> str:
        """Of a file or folder: what `files.sha256_of` gives."""
        with self.keeping() as of_file:
            return sha256_of(path, of_file)

    @contextlib.contextmanager
    def keeping(self) -> Iterator[Callable[[Path], str]]:
        """Gives what hashes a file; at the end, what is new is written once for all the files that it hashed."""
        n_known = len(self.known)
        yield self._of_file
        if len(self.known) != n_known:
            self._sweep()
            with contextlib.suppress(OSError, UserError):
                write_text(self.path, json.dumps(self.known, indent=0))

    def _of_file(self, path: Path) -> str:
        stat, where = path.stat(), self._stored(path)
        key = _key_of(stat)
        if (known := self.known.get(key)) is not None:
            self.known[key] = Known(known.sha256, where)
            return known.sha256
        # What this process hashed it also made, or read once: two hashes of one run must agree.
        found = self.fresh.get(key)
        if found is None:
            found = self.fresh[key] = sha256_of(path)
            if time.time_ns() - stat.st_mtime_ns > SETTLED_NS:
                self.known[key] = Known(found, where)
        return found

    def _stored(self, path: Path) -> str:
        """Relative to the workspace where the file lies in it, so that a moved workspace keeps what it knows."""
        root, absolute = self.path.parent.parent.absolute(), path.absolute()
        return str(absolute.relative_to(root) if absolute.is_relative_to(root) else absolute)

    def _sweep(self) -> None:
        """Drop what no longer lies where it was, once for each process: it asks the disk about every file."""
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


def _key_of(stat: os.stat_result) -> str:
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"
