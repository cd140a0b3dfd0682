"""Atomic writing: a file is written under a temporary name, synced and renamed, so nobody ever sees half of it."""

import contextlib
import errno
import glob
import gzip
import hashlib
import json
import math
import os
import shutil
import socket
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from malmoi.errors import DataError, UserError

DISK_FULL = "the disk is full; free some space and run the same command again"


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk caused this. Databases, and libraries that are not Python's, tell it by their text."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "disk is full" in str(error) or os.strerror(errno.ENOSPC) in str(error)


@contextlib.contextmanager
def room_kept(path: Path, n_bytes: int = 1 << 18) -> Iterator[None]:
    """Take room on the disk for the block: when it ends, that much is free to say why, though the disk is full."""
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(bytes(n_bytes))
                file.flush()
                os.fsync(file.fileno())
        yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a lack of permission into a UserError that names the file."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise UserError(f"{path}: {DISK_FULL}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            done = "read" if _is_unreadable(Path(error.filename or path)) else "written"
            raise UserError(f"{path}: may not be {done} ({error.strerror}); choose another place") from error
        raise


def _is_unreadable(path: Path) -> bool:
    """Whether a path, or the nearest existing folder above it, cannot be read."""
    nearest = next((part for part in (path, *path.absolute().parents) if os.path.exists(part)), path)
    return not os.access(nearest, os.R_OK | os.X_OK if os.path.isdir(nearest) else os.R_OK)


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for binary writing. It appears under `path` only when the block ends without an error."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_partials(path)
        partial = partial_name(path)
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            _sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """A new empty folder to write into. It appears under `path` only when the block ends without an error.

    It then replaces what was there before.
    """
    partial, replaced = partial_name(path), partial_name(path.with_name(f"{path.name}.old"))
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_stale_partials(path)
            partial.mkdir()
            yield partial
            if path.exists():
                path.rename(replaced)
            partial.rename(path)
            _sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def partial_name(path: Path) -> Path:
    """The temporary name under which this thread writes what will appear under `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_machine()}.{threading.get_native_id()}.partial")


def _machine() -> str:
    """Process ids name a process on one machine; several machines may share a disk."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def is_partial(name: str) -> bool:
    """Whether this is the name of a file or folder that a process is writing, or was writing when it was killed."""
    return name.startswith(".") and name.endswith(".partial")


def remove_stale_partials(path: Path) -> None:
    """Remove partial files for `path` that dead processes of this machine left."""
    for name in (path.name, f"{path.name}.old"):
        for left in path.parent.glob(f".{glob.escape(name)}.*.partial"):
            pid, _, machine = left.name.removeprefix(f".{name}.").partition(".")[0].partition("-")
            if pid.isdecimal() and machine in ("", _machine()) and not _is_alive(int(pid)):
                _remove(left)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def remove_partials(folder: Path) -> None:
    """Remove all partial files below a folder. Only call it while nobody else can write there."""
    for path in sorted(folder.rglob(".*.partial")):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a rename in it survives a power cut; ignored if the system cannot do that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    with open_atomic(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def to_json(value: Any, indent: int | None = None) -> str:
    """A value as standard JSON. JSON has no NaN and no infinity, so these become null."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    except ValueError:
        return json.dumps(_nan_to_null(value), ensure_ascii=False, indent=indent, allow_nan=False)


def _nan_to_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _nan_to_null(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_nan_to_null(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    write_text(path, to_json(value, indent=2) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON object per line; returns the number of lines."""
    n_rows = 0
    with open_atomic(path) as file:
        for row in rows:
            file.write(to_json(row).encode() + b"\n")
            n_rows += 1
    return n_rows


def parse_json(text: str) -> Any:
    """Parse JSON that people wrote. Also raises ValueError if an object has a key twice, since one value would be lost,
    or if a number is too long."""
    try:
        return json.loads(text, object_pairs_hook=_unique_keys)
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise ValueError("a number of more than 4,300 digits; write it as text") from None
        raise


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for at, (key, _) in enumerate(pairs) if key in dict(pairs[:at]))
        raise ValueError(f'"{twice}" is there twice; remove one')
    return found


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None


def read_jsonl(path: Path) -> list[Any]:
    """All rows of a JSON-lines file. Raises DataError, with file and line, for a broken line."""
    return list(iterate_jsonl(path))


def iterate_jsonl(path: Path) -> Iterator[Any]:
    """As `read_jsonl`, one row at a time. A file whose name ends with .gz is unpacked."""
    opened: Any = gzip.open if path.name.endswith(".gz") else open
    try:
        with opened(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except ValueError as error:
                        raise DataError(f"{path}:{number}: not valid JSON ({error})") from None
                    yield row
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: cut short or damaged ({error}); copy or download it again") from None


def sha256_of(path: Path, of_file: Callable[[Path], str] | None = None) -> str:
    """SHA-256 of a file, or of a folder: of the sorted relative names and the contents of its files.

    Partial files do not count.
    of_file: returns a file's hash; the default reads the file
    """
    of_file = of_file or _sha256_of_file
    if path.is_file():
        return of_file(path)
    digest = hashlib.sha256()
    for file_path in files_in(path):
        digest.update(f"{file_path.relative_to(path).as_posix()}\0{of_file(file_path)}\n".encode())
    return digest.hexdigest()


def files_in(folder: Path) -> list[Path]:
    """All files below a folder, sorted, without partial files."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not any(map(is_partial, path.relative_to(folder).parts)))


def _sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
