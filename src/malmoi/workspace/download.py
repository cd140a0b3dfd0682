"""What every download shares, wherever it comes from.

Everything is written into a folder that the caller throws away when something goes wrong. A file counts as arrived
when its length and, where the source names one, its SHA-256 are right.
"""

from collections.abc import Callable
from pathlib import Path
from typing import IO

from malmoi.errors import UserError
from malmoi.files import disk_errors

CHUNK = 1 << 20
Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, its bytes so far, and all its bytes where that is known."""


def check_sha256(path: Path, expected: str | None, found: str) -> None:
    if expected is not None and found != expected:
        raise UserError(f"{path.name}: its SHA-256 is {found[:12]}…, not {expected[:12]}…; nothing was kept")


def write(file: IO[bytes], path: Path, chunk: bytes) -> None:
    """Write, so that what the disk refuses is not taken for what the network does."""
    try:
        with disk_errors(path):
            file.write(chunk)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
