"""The C code as a library. It is compiled on first use and cached; if that fails, PyTorch is used instead.

The library is in a folder that only its user can write to, named by the hash of source, compiler and processor. A JSON
note next to it holds its SHA-256, so that a damaged file is never loaded. If compiling failed, the note holds the
compiler's output instead, and compiling is tried again when source or compiler change.
"""

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import json
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from malmoi import device
from malmoi.errors import ConfigError

SOURCES = tuple(Path(__file__).with_name(name) for name in ("products.h", "products.c", "decode.c", "weights.c"))
# Sums may be reordered. The whole of -ffast-math would also change the rounding of the whole process.
REORDERED = ("-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno", "-freciprocal-math")
OPTIONS = ("-O3", *REORDERED, "-ffp-contract=fast", "-fPIC", "-shared", "-std=gnu11", "-Wno-psabi")
NATIVE = "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native"
# Apple's Clang has no OpenMP, and some compilers do not know this processor.
ATTEMPTS = ((NATIVE, "-fopenmp"), (NATIVE,), ())
LONGEST_COMPILATION_S = 600


class State(NamedTuple):
    """What is known about the library without compiling it.

    is_used: whether C is or will be used; text: one line for people; is_made: whether it is compiled already
    """

    is_used: bool
    text: str
    is_made: bool = False


class _FailedError(Exception):
    """Compiling failed, now or earlier, or no folder can hold the library."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled code; None without a compiler, if compiling failed, or with MALMOI_NATIVE=0 (see `state`)."""
    if _obstacle() is not None:
        return None
    try:
        found = ctypes.CDLL(str(_found_or_made(_compiler())))
    except (OSError, _FailedError):
        return None
    for function in (found.scratch_size, found.multiplies_bf16):
        function.restype = ctypes.c_int64
    return found


def state() -> State:
    """Whether answers are computed in C, or why not. Compiles nothing."""
    if (obstacle := _obstacle()) is not None:
        return State(False, f"by PyTorch: {obstacle}")
    compiler = _compiler()
    for folder in safe_folders():
        note = note_of(folder / _name(compiler))
        if "failure" in note:
            where = (folder / _name(compiler)).with_suffix(".json")
            return State(
                False, f"by PyTorch: {compiler[0]} does not compile the code in C: {note['failure']} ({where})"
            )
        if _is_whole(folder / _name(compiler)):
            return State(True, "in C" + note.get("lacks", ""), is_made=True)
    return State(True, f"in C, which {compiler[0]} compiles when it is first needed")


def _obstacle() -> str | None:
    if os.environ.get("MALMOI_NATIVE") == "0":
        return "MALMOI_NATIVE=0 forbids C"
    if not _compiler():
        return "there is no C compiler (cc, gcc or clang); with one, answers come several times faster"
    return None


def _compiler() -> list[str]:
    """$CC with its options, or the first of the usual names; empty if there is no compiler."""
    with contextlib.suppress(ValueError):  # of shlex: an unclosed quotation mark
        named = shlex.split(os.environ.get("CC", ""))
        if named and shutil.which(named[0]):
            return named
    return [name for name in ("cc", "gcc", "clang") if shutil.which(name)][:1]


def _wanted_options() -> list[str]:
    """The compiler options in MALMOI_CFLAGS. Raises ConfigError for an unclosed quotation mark."""
    wanted = os.environ.get("MALMOI_CFLAGS", "")
    try:
        return shlex.split(wanted)
    except ValueError as error:
        raise ConfigError(f"MALMOI_CFLAGS={wanted}: {error}; expected options of the C compiler, or nothing") from None


def _left_out() -> tuple[str, ...]:
    """Options for the instructions that this processor has but PyTorch was told not to use. C leaves them out too, so
    that both compute in the same dtype. Older compilers do not know these options, nor such processors."""
    capability, features = torch.backends.cpu.get_cpu_capability(), processor().split()
    if capability == "DEFAULT" and "avx2" in features:
        return ("-mno-avx2",)
    if capability == "AVX2" and "avx512f" in features:
        return ("-mno-avx512f",)
    if "avx512_bf16" in features and not device.cpu_multiplies_bf16():
        return ("-mno-avx512bf16",)
    return ()


def _name(compiler: list[str]) -> str:
    program = Path(shutil.which(compiler[0]) or "").resolve().stat()
    made_of = (
        *(source.read_text() for source in SOURCES), *compiler, str(program.st_size), str(program.st_mtime_ns),
        *OPTIONS, *map(str, ATTEMPTS), *_left_out(), *_wanted_options(), processor(),
    )  # fmt: skip
    named = hashlib.sha256("\0".join(made_of).encode()).hexdigest()
    return f"decode-{named[:16]}.so"


def processor() -> str:
    """The processor's features, which -march=native depends on: several machines may share a home folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="ignore").splitlines()
    except OSError:
        lines = []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _folders() -> Iterator[Path]:
    """Folders for the library: the user's cache, then a temporary folder for users without a writable home."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(cache):
        yield Path(cache) / "malmoi"
    else:
        with contextlib.suppress(RuntimeError):  # a user without a home
            yield Path.home() / ".cache" / "malmoi"
    yield Path(tempfile.gettempdir()) / f"malmoi-{os.getuid()}"


def safe_folders() -> Iterator[Path]:
    """The folders that only this user can write to; they are created if needed and possible."""
    return filter(_is_safe, _folders())


def _is_safe(folder: Path) -> bool:
    """A library is code, so nobody else may be able to put one there."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _is_ours(folder, stat.S_ISDIR)
    return False


def _is_ours(path: Path, is_kind: Any) -> bool:
    found = path.lstat()
    return is_kind(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def note_of(path: Path) -> dict[str, str]:
    """The JSON note of a library. path: of the library or of the note. Empty if there is no usable note."""
    with contextlib.suppress(OSError, ValueError):
        note = path.with_suffix(".json")
        found = json.loads(note.read_bytes()) if _is_ours(note, stat.S_ISREG) else None
        if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
            return found
    return {}


def _is_whole(path: Path) -> bool:
    with contextlib.suppress(OSError):
        expected = note_of(path).get("sha256")
        return _is_ours(path, stat.S_ISREG) and hashlib.sha256(path.read_bytes()).hexdigest() == expected
    return False


def _found_or_made(compiler: list[str]) -> Path:
    """Raises _FailedError."""
    name = _name(compiler)
    folders = list(safe_folders())
    for folder in folders:
        if "failure" in note_of(folder / name):
            raise _FailedError
        if _is_whole(folder / name):
            return folder / name
    for folder in folders:
        with contextlib.suppress(OSError), _one_at_a_time(folder / name):
            if not _is_whole(folder / name) and "failure" not in note_of(folder / name):
                _make(compiler, folder / name)
            if not _is_whole(folder / name):
                raise _FailedError
            return folder / name
    raise _FailedError


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """One process compiles; the others wait for it."""
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(compiler: list[str], path: Path) -> None:
    """Compile, and write the library with its note, or a note with the compiler's output. Raises OSError."""
    print(f"compiling the decoder in C with {compiler[0]}, once: some seconds", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as partial:
        made, noted = Path(partial) / path.name, Path(partial) / path.with_suffix(".json").name
        failure = ""
        for options in ATTEMPTS:
            output = _run(compiler, options, made)
            if output is None:
                lacks = "" if "-fopenmp" in options else f", on one thread: {compiler[0]} lacks OpenMP"
                note = {"sha256": hashlib.sha256(made.read_bytes()).hexdigest(), "lacks": lacks}
                break
            failure = failure or output
        else:
            note = {"failure": _first_error(failure), "output": failure}
            print(f"compiling failed, so PyTorch computes answers: {note['failure']}", file=sys.stderr, flush=True)
        noted.write_text(json.dumps(note))
        for file in (noted, made):
            if file.exists():
                file.chmod(0o600)
                file.replace(path.parent / file.name)


def _run(compiler: list[str], options: tuple[str, ...], made: Path) -> str | None:
    """The compiler's error output; None if it succeeded."""
    sources = [str(source) for source in SOURCES if source.suffix == ".c"]
    left_out = _left_out() if NATIVE in options else ()
    command = [*compiler, *OPTIONS, *options, *left_out, *_wanted_options(), "-o", str(made), *sources, "-lm"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST_COMPILATION_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"error: it took more than {LONGEST_COMPILATION_S} seconds"
    output = done.stderr.decode(errors="replace")[-4000:]
    return None if done.returncode == 0 and made.exists() else output or f"error: it ended with {done.returncode}"


def _first_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0])[:200]
