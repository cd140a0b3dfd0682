"""A folder as one file that is sent while it is read, so that it takes neither memory nor disk."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

CHUNK = 1 << 20
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
"""Two empty blocks end a tar."""


def tar_size(folder: Path) -> int:
    """Bytes of `tar` of the same folder."""
    return sum(len(_header(folder, path)) + _padded(path.stat().st_size) for path in _files(folder)) + len(END)


def tar(folder: Path) -> Iterator[bytes]:
    """The files of a folder as a tar, in parts of at most 1 MB. Equal folders give equal bytes: no times, no owners.

    Raises OSError if a file becomes shorter meanwhile.
    """
    for path in _files(folder):
        size = left = path.stat().st_size
        yield _header(folder, path)
        with path.open("rb") as file:
            while chunk := file.read(min(CHUNK, left)):
                left -= len(chunk)
                yield chunk
        if left:
            raise OSError(f"{path}: became shorter while it was read")
        yield bytes(_padded(size) - size)
    yield END


def _header(folder: Path, path: Path) -> bytes:
    about = tarfile.TarInfo(path.relative_to(folder.parent).as_posix())
    about.size = path.stat().st_size
    return about.tobuf(tarfile.GNU_FORMAT)


def _files(folder: Path) -> list[Path]:
    """What is in the folder; links are not followed."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // BLOCK) * BLOCK
