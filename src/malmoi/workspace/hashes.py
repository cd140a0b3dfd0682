"""SHA-256 of files that were hashed before is not computed again while they are as they were."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from malmoi.errors import UserError
from malmoi.files import sha256_of, write_text

SETTLED_NS = 2_000_000_000
"""A file changed later than this before it was read could change again within one tick of the disk's clock."""


class Hashes:
    """Remembers the hash of every file by its inode, size and time of change, in a file next to the runs.

    It saves reading, and is no check: who wants to know whether contents are still what they were asks `sha256_of`.
    A file that cannot be read back or written is as none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, str] = {}
        self.fresh: dict[str, str] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError):
            read = json.loads(path.read_bytes())
            self.known = {key: value for key, value in read.items() if isinstance(value, str)}

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
            with contextlib.suppress(OSError, UserError):
                write_text(self.path, json.dumps(self.known, indent=0))

    def _of_file(self, path: Path) -> str:
        stat = path.stat()
        key = f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"
        # What this process hashed it also made, or read once: two hashes of one run must agree.
        found = self.known.get(key) or self.fresh.get(key)
        if found is None:
            found = self.fresh[key] = sha256_of(path)
            if time.time_ns() - stat.st_mtime_ns > SETTLED_NS:
                self.known[key] = found
        return found
