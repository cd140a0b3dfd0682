"""Files at addresses: `s3://`, `https://`, and what else fsspec knows."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from malmoi.corpus.addresses import public
from malmoi.errors import DataError
from malmoi.files import disk_errors

WEB = ("http://", "https://")
CHUNK = 1 << 20


def is_remote(path: str) -> bool:
    return "://" in path


def find_remote(address: str) -> list[tuple[str, int]]:
    """(address, bytes) of the file at an address, of the files below a folder, or of those that fit a pattern.

    The web has neither folders nor patterns: there an address is one file. Its bytes are 0 if its server does not say.
    Raises DataError if there is nothing, or if it cannot be reached.
    """
    import fsspec
    from fsspec.core import url_to_fs

    with _told(address):
        if not address.startswith(WEB):
            system, path = url_to_fs(address)
            found = {}
            if any(mark in path for mark in "*?["):
                found = system.glob(path, detail=True)
            elif system.isdir(path):
                found = system.find(path, detail=True)
            files = [
                (str(system.unstrip_protocol(name)), int(about.get("size") or 0))
                for name, about in sorted(found.items())
                if about.get("type") == "file"
            ]
            if files:
                return files
        with fsspec.open(address, "rb") as file:
            return [(address, int(getattr(file, "size", None) or 0))]


def fetch(address: str, n_bytes: int, to: Path) -> None:
    """Copy the file at an address into a new file. n_bytes: how long it was when it was found; 0: not known

    Raises DataError if it cannot be read, or is of another length; UserError if the disk is full.
    """
    n_read = 0
    with disk_errors(to), to.open("wb") as file:
        for chunk in _chunks(address):
            n_read += len(chunk)
            file.write(chunk)
    if n_bytes and n_read != n_bytes:
        raise DataError(f"{public(address)}: {n_read:,} bytes came instead of {n_bytes:,}; run the same command again")


def _chunks(address: str) -> Iterator[bytes]:
    import fsspec

    again = "; run the same command again: what was read before stays"
    with _told(address, again), fsspec.open(address, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


@contextlib.contextmanager
def _told(address: str, more: str = "") -> Iterator[None]:
    """Errors of libraries and servers, of a hundred kinds, as a DataError in one line, with no secret of an address."""
    shown = public(address)
    try:
        yield
    except ImportError as error:
        what = f"needs {error.name}" if error.name else str(error)
        raise DataError(f"{shown}: {what}; pip install 'malmoi[remote]'") from None
    except Exception as error:
        while isinstance(error.__cause__, Exception):  # "not found" is often a certificate or a name
            error = error.__cause__
        said = public(" ".join(f"{type(error).__name__}: {error}".replace(address, shown).split()))[:300]
        raise DataError(f"{shown}: cannot be read ({said}){more}") from None
