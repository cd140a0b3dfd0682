"""A folder of files -> documents, one at a time. Each format has a module in `malmoi.corpus.readers`."""

import contextlib
import gzip
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from malmoi import progress
from malmoi.corpus.documents import Document
from malmoi.corpus.encodings import UTF8
from malmoi.corpus.guard import Guard
from malmoi.corpus.input_file import InputFile, Reader, Unreadable
from malmoi.corpus.readers import all_readers, reader_of
from malmoi.errors import DataError, printable
from malmoi.files import sha256_of
from malmoi.text import is_blank

Errors = Literal["strict", "skip"]
"""What to do with a file or row that cannot be used: raise DataError, or count it and go on."""
EXAMPLES_PER_REASON = 3
LOCK_MARKS = ("~$", ".~lock.")
"""Names of files that office programs make next to an open one begin with these."""
_SAVE_AS = "save as {} in the program that made it"
_SCAN = "OCR makes text of a picture"
ADVICE = {
    ".hwp": "save as .hwpx or .pdf in Hangul",
    **{old: _SAVE_AS.format(f"{old}x or .pdf") for old in (".doc", ".xls", ".ppt")},
    **{other: _SAVE_AS.format(".docx or .pdf") for other in (".odt", ".rtf", ".pages", ".wpd")},
    **{other: _SAVE_AS.format(".xlsx or .csv") for other in (".ods", ".numbers", ".xlsb")},
    **{other: _SAVE_AS.format(".pptx or .pdf") for other in (".odp", ".key")},
    ".mobi": "convert it to .epub",
    ".zip": "unpack it",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".heic", ".webp"), _SCAN),
}
"""What to do with files that are not read."""


@dataclass
class ReadReport:
    """What was read, and what was skipped and why.

    skipped: reason -> files or rows; examples: the first few of each reason, with file and line
    converted: the encoding that the user named -> files that were read in it
    notes: what is worth knowing about text that was read -> how often, such as "formula without a value"
    """

    n_files: int = 0
    n_documents: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    converted: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


def read_folder(
    path: Path, errors: Errors = "strict", report: ReadReport | None = None, encoding: str = UTF8
) -> Iterator[Document]:
    """Documents of a file, or of all files below a folder, sorted by name; hidden files are ignored.

    The source of a document is its row's "source", else the file's path below `path` (for a titled row, "FILE#TITLE").
    errors: "strict" raises DataError for a file or row that cannot be read; "skip" counts it in `report` and goes on.
        Both count blank texts and files of unknown formats, and skip them
    encoding: of files that have no byte-order mark and are not UTF-8
    Raises DataError if there is nothing to read at all.
    """
    report = ReadReport() if report is None else report
    files = find_files(path, errors, report)
    return _or_nothing(path, read_files(path, progress.track(files, "files"), errors, report, encoding), report)


def _or_nothing(root: Path, documents: Iterator[Document], report: ReadReport) -> Iterator[Document]:
    yield from documents
    if not report.n_documents:
        said = ", ".join(f"{n} {reason}" for reason, n in report.skipped.items())
        suffixes = " ".join(all_readers())
        raise DataError(f"{root}: no text in it ({said or 'nothing to read'}); give files with text: {suffixes}")


def find_files(path: Path, errors: Errors, report: ReadReport) -> list[Path]:
    """The files that `read_folder` reads, in its order; others are counted in `report`."""
    return list(_find_files(path, errors, report))


def identity(path: Path, of_file: Callable[[Path], str] = sha256_of) -> str:
    """SHA-256 over the names and contents of exactly the files that `read_folder` would read; links are followed.

    of_file: returns a file's SHA-256; the default reads the file
    """
    digest = hashlib.sha256()
    for file in _find_files(path, "skip", ReadReport()):
        name = os.fsencode(file.name if file == path else file.relative_to(path).as_posix())
        content = of_file(file) if os.access(file, os.R_OK) else "cannot be opened"
        digest.update(name + f"\0{content}\n".encode())
    return digest.hexdigest()


def read_files(
    root: Path, files: Iterable[Path], errors: Errors, report: ReadReport, encoding: str = UTF8
) -> Iterator[Document]:
    """As `read_folder`, of files below `root`. The next file is asked for when all of one has been read."""
    with Guard() as guard:
        for file in files:
            report.n_files += 1
            found = None
            for found in _documents(file, root, encoding, report, guard):
                if isinstance(found, Unreadable):
                    _pass_over(found, errors, report)
                elif is_blank(found.text):
                    report.skipped["no text in it"] += 1
                else:
                    report.n_documents += 1
                    yield found
            if found is None:
                report.skipped["no text in it"] += 1


def _pass_over(problem: Unreadable, errors: Errors, report: ReadReport) -> None:
    if errors == "strict":
        raise problem
    report.skipped[problem.reason] += 1
    if report.skipped[problem.reason] <= EXAMPLES_PER_REASON:
        report.examples.append(str(problem))


def _find_files(root: Path, errors: Errors, report: ReadReport) -> Iterator[Path]:
    """The files to read, sorted. Each folder is entered once, so that circular links end."""

    def refused(error: OSError) -> None:
        _pass_over(Unreadable("cannot be opened", f"{error.filename}: {error.strerror}"), errors, report)

    if not root.exists():
        raise DataError(f"{root}: no such file or folder")
    is_folder = root.is_dir()
    files, entered = [] if is_folder else [root], set()
    for folder, names, file_names in os.walk(root, followlinks=True, onerror=refused) if is_folder else ():
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            names.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if not name.startswith("."))
        files += (Path(folder, name) for name in file_names if not name.startswith("."))
    if not any(reader_of(file.name) and not file.name.startswith(LOCK_MARKS) for file in files):
        advised = sorted({_not_read(file) for file in files if file.suffix.lower() in ADVICE})
        said = f" ({'; '.join(advised)})" if advised else ""
        raise DataError(f"{root}: nothing to read{said}; the suffixes that are read are {' '.join(all_readers())}")
    for file in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        if file.name.startswith(LOCK_MARKS):
            report.skipped["lock file of an office program"] += 1
        elif reader_of(file.name) is None:
            report.skipped[_not_read(file)] += 1
        elif file.exists() and not file.is_file():
            report.skipped["not a regular file"] += 1
        else:
            yield file


def _not_read(file: Path) -> str:
    """Why a file of an unknown format is passed over, with what to do if its text can be had."""
    advice = ADVICE.get(file.suffix.lower())
    return f"not a format that is read ({file.suffix or 'no ending'}{f': {advice}' if advice else ''})"


def _documents(
    path: Path, root: Path, encoding: str, report: ReadReport, guard: Guard
) -> Iterator[Document | Unreadable]:
    reader = reader_of(path.name)
    assert reader is not None
    source = printable(path.name if path == root else path.relative_to(root).as_posix())
    before = _state(path)
    if reader.is_guarded:
        yield from guard.documents(path, source, report.notes)
    else:
        yield from _plain_documents(reader, path, source, encoding, report)
    if before and _state(path) != before:
        report.notes["file that changed while it was read"] += 1


def _state(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written; None if there is none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_mtime_ns, status.st_size
    return None


def _plain_documents(
    reader: Reader, path: Path, source: str, encoding: str, report: ReadReport
) -> Iterator[Document | Unreadable]:
    opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rb") as stream:
            file = InputFile(path, source, stream, encoding, report.notes)
            try:
                yield from reader.read(file)
            finally:
                report.converted[encoding] += file.is_converted
    except Unreadable as problem:
        yield problem
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield Unreadable("damaged gzip", f"{path}: cut short or damaged ({error}); copy or download it again")
    except OSError as error:
        yield Unreadable("cannot be opened", f"{path}: cannot be read ({error.strerror}); repair or move it")
