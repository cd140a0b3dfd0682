"""Files that were not made to be read by a stranger (PDF, office files) are read in another process, which is watched.

A damaged or hostile file can make a parser loop, crash, or fill the memory. It then costs one file: the process is
stopped, the file is counted as not read, and the next file gets a new process.
"""

import contextlib
import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from malmoi.corpus.documents import Document
from malmoi.corpus.encodings import UTF8
from malmoi.corpus.input_file import InputFile, Unreadable
from malmoi.corpus.readers import reader_of
from malmoi.errors import DataError

PART_LIMIT_S = 60.0
FILE_LIMIT_S = 1800.0
MEMORY_LIMIT_BYTES = 4 * 2**30
_LENGTH = struct.Struct("<I")


class Guard:
    """Reads files in a process of its own, one after the other; the process starts with the first file.

    part_limit_s: seconds that the reader may take for one part of a file: a page, a row
    file_limit_s: seconds that it may take for a whole file; the time that the caller takes does not count
    """

    def __init__(self, part_limit_s: float = PART_LIMIT_S, file_limit_s: float = FILE_LIMIT_S) -> None:
        self.part_limit_s, self.file_limit_s = part_limit_s, file_limit_s
        self._process: _Process | None = None

    def __enter__(self) -> "Guard":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def documents(self, path: Path, source: str, notes: Counter[str]) -> Iterator[Document | Unreadable]:
        """The documents of a file, an Unreadable for each part that cannot be read, and one if reading was stopped.

        notes: gets what the reader has to say about the file
        """
        process = self._process = self._process or _Process()
        done, left_s = False, self.file_limit_s
        try:
            process.ask({"path": os.fspath(path), "source": source})
            while not done:
                limit_s = min(self.part_limit_s, left_s)
                began = time.monotonic()
                frame = process.next_frame(limit_s)
                left_s -= time.monotonic() - began
                if frame is None:
                    limit_s = self.part_limit_s if limit_s == self.part_limit_s else self.file_limit_s
                    yield _stopped(path, process.exit_code(), limit_s)
                    return
                done = "notes" in frame
                notes.update(frame.get("notes", {}))
                if not done:
                    yield _found(frame)
        finally:
            if not done:
                self._stop()


class _Process:
    """The watched process and the frames that it sends."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", "from malmoi.corpus.guard import serve; serve()"]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONUTF8": "1",
            "OPENPYXL_LXML": "False",  # without lxml it parses through defusedxml, which refuses entities
        }
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._received = bytearray()

    def stop(self) -> None:
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def ask(self, request: dict[str, str]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended: `next_frame` will say so
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()

    def next_frame(self, limit_s: float) -> dict[str, Any] | None:
        """What the process says next; None if it says nothing in time, or has ended."""
        until = time.monotonic() + limit_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while (data := self._received_frame()) is None:
                if not selector.select(max(0.0, until - time.monotonic())):
                    return None
                received = os.read(self._answers.fileno(), 2**16)
                if not received:
                    return None
                self._received += received
        return json.loads(data)

    def _received_frame(self) -> bytes | None:
        begin = _LENGTH.size
        if len(self._received) < begin:
            return None
        end = begin + _LENGTH.unpack(self._received[:begin])[0]
        if len(self._received) < end:
            return None
        data = bytes(self._received[begin:end])
        del self._received[:end]
        return data

    def exit_code(self) -> int | None:
        """Its exit code if it has ended, or is about to."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(0.5)
        return None


def _found(frame: dict[str, Any]) -> Document | Unreadable:
    return Document.from_row(frame["document"]) if "document" in frame else Unreadable(**frame["unreadable"])


def _stopped(path: Path, code: int | None, limit_s: float) -> Unreadable:
    if code is None:
        what = f"took longer than {limit_s:g} s"
        return Unreadable(
            what, f"{path}: reading it {what}; save it again in the program that made it, or leave it out"
        )
    how = f"signal {-code}" if code < 0 else f"code {code}"
    return Unreadable("damaged", f"{path}: its reader broke down ({how}); save it again in the program that made it")


def serve() -> None:
    """The watched process: read one file after the other, as asked on stdin, and answer on stdout in frames of JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks; it stops this one
    _limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints does not disturb the frames
    read, write = os.pipe()
    threading.Thread(target=_pass_on_requests, args=(write,), daemon=True).start()
    with os.fdopen(read, "rb") as requests:
        for line in requests:
            request = json.loads(line)
            path, notes = Path(request["path"]), Counter[str]()
            for found in read_guarded(path, request["source"], notes):
                if isinstance(found, Document):
                    _send(answers, {"document": found.to_row()})
                else:
                    _send(answers, {"unreadable": {"reason": found.reason, "message": str(found)}})
            _send(answers, {"notes": notes})


def _pass_on_requests(write: int) -> None:
    """Pass stdin on, and end the process with it: nobody waits for the answer when the asking process is gone."""
    while data := os.read(0, 2**16):
        os.write(write, data)
    os._exit(0)


def _send(answers: IO[bytes], frame: dict[str, Any]) -> None:
    data = json.dumps(frame).encode()
    answers.write(_LENGTH.pack(len(data)) + data)
    answers.flush()


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))


def read_guarded(path: Path, source: str, notes: Counter[str]) -> Iterator[Document | Unreadable]:
    """As `Guard.documents`, in this process: any exception of a parser becomes an Unreadable."""
    reader = reader_of(path.name)
    assert reader is not None
    kind = path.suffix.lower()
    try:
        with path.open("rb") as stream:
            file = InputFile(path, source, stream, UTF8, notes)
            yield from reader.read(file)
    except Unreadable as problem:
        yield problem
    except ModuleNotFoundError as error:
        yield Unreadable("a package is missing", f"{path}: reading {kind} needs {error.name}: pip install {error.name}")
    except OSError as error:
        yield Unreadable("cannot be opened", f"{path}: cannot be read ({error.strerror or error}); repair or move it")
    except MemoryError:
        size = f"{MEMORY_LIMIT_BYTES / 2**30:g} GB"
        yield Unreadable(
            "too large", f"{path}: reading it takes more than {size} of memory; split it into smaller files"
        )
    except RecursionError:
        yield Unreadable("damaged", f"{path}: nested too deeply for a {kind} file; save it again")
    except Exception as error:  # a parser's answer to damage may be any exception
        while error.__cause__ is not None and isinstance(error.__cause__, Exception):
            error = error.__cause__  # libraries wrap what was wrong in long advice
        what = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        what = " ".join(what.split())[:200]
        yield Unreadable("damaged", f"{path}: cannot be read as {kind} ({what}); save it again, or copy it again")
