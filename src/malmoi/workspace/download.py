"""What all downloads share.

Files are written into a folder that the caller deletes after an error. A file is accepted if its length and, if the
source gives one, its SHA-256 are right.
"""

from collections.abc import Callable
from pathlib import Path
from typing import IO

from malmoi.errors import UserError
from malmoi.files import disk_errors

CHUNK = 1 << 20
Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, its bytes so far, and its size if that is known."""


def check_sha256(path: Path, expected: str | None, found: str) -> None:
    if expected is not None and found != expected:
        raise UserError(f"{path.name}: its SHA-256 is {found[:12]}…, not {expected[:12]}…; nothing was kept")


def write(file: IO[bytes], path: Path, chunk: bytes) -> None:
    """Write, and tell errors of the disk from those of the network."""
    try:
        with disk_errors(path):
            file.write(chunk)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
