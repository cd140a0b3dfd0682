"""What a corpus is built from: archives, folders, lists and addresses -> parts, each read by one worker."""

import glob
import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from malmoi.corpus.addresses import public
from malmoi.corpus.documents import OF_PAGE
from malmoi.corpus.folder import Errors, ReadReport, read_files
from malmoi.corpus.form import Settings
from malmoi.corpus.readers import reader_of
from malmoi.corpus.remote import WEB, fetch, find_remote, is_remote
from malmoi.corpus.steps.archive import GZIP, Passed, Record, is_archive, read_archive
from malmoi.corpus.steps.page import Dropped, Page
from malmoi.errors import DataError, printable

PART_BYTES, PART_FILES = 32 << 20, 2000
PAGES = (".html", ".htm", ".xhtml")
ROWS = (".parquet",)
LINK = "link that leads out of its folder"


@dataclass(frozen=True)
class Source:
    """A file to read. name: what pages call it: its path below what was given, or its address without its secrets"""

    path: str
    name: str
    n_bytes: int

    def absolute(self) -> "Source":
        """The same file for a process in another folder, or on another machine."""
        return self if is_remote(self.path) else replace(self, path=os.path.abspath(self.path))


def find_sources(given: Sequence[str]) -> tuple[list[Source], dict[str, int]]:
    """(files in a fixed order, suffix -> files that are not read) of paths, folders, patterns, addresses, and lists.

    A file whose name ends with .list names one of these in each line. Raises DataError if something is not there.
    """
    found: dict[str, Source] = {}
    passed: dict[str, int] = {}
    for source in _listed(given):
        for one in _files(source, passed):
            found.setdefault(one.path, one)
    return _named_apart(sorted(found.values(), key=lambda one: (one.name, one.path))), passed


def identity(given: Sequence[str], settings: Settings, of_file: Callable[[Path], str]) -> str:
    """SHA-256 over the files that a corpus is built of, with those that its settings name; of what is remote the size.

    of_file: returns a file's SHA-256
    """
    digest = hashlib.sha256()
    for one in find_sources(given)[0]:
        known = str(one.n_bytes) if is_remote(one.path) else of_file(Path(one.path))
        digest.update(f"{one.name}\0{known}\n".encode())
    for path in (*settings.evaluation_sets, *settings.labels):
        if not Path(path).is_file():
            raise DataError(f"{path}: no such file; evaluation_sets and labels name files of JSON lines")
        digest.update(f"{of_file(Path(path))}\n".encode())
    return digest.hexdigest()


def _named_apart(sources: list[Source]) -> list[Source]:
    """The same files, with other names where two addresses differ only in what is secret."""
    seen: Counter[str] = Counter()
    apart = []
    for one in sources:
        seen[one.name] += is_remote(one.path)
        apart.append(replace(one, name=f"{one.name}#{seen[one.name]}") if seen[one.name] > 1 else one)
    return apart


def _listed(given: Sequence[str]) -> Iterator[str]:
    for source in given:
        if source.endswith(".list") and Path(source).is_file():
            yield from (line.strip() for line in Path(source).read_text("utf-8").splitlines() if line.strip())
        else:
            yield source


def _files(source: str, passed: dict[str, int]) -> Iterator[Source]:
    if is_remote(source):
        for address, n_bytes in find_remote(source):
            if address == source or _is_read(address):
                yield Source(address, public(address), n_bytes)
            else:
                _pass(address, passed)
        return
    path = Path(source)
    matches = [path] if path.exists() else sorted(map(Path, glob.glob(source, recursive=True)))
    if not matches:
        raise DataError(f"{source}: no such file or folder, and no pattern that fits one")
    for match in matches:
        root, files = (match, sorted(match.rglob("*"))) if match.is_dir() else (match.parent, [match])
        for file in files:
            name = file.relative_to(root).as_posix()
            if not file.is_file() or any(part.startswith(".") for part in Path(name).parts):
                continue
            if match.is_dir() and not file.resolve().is_relative_to(match.resolve()):
                passed[LINK] = passed.get(LINK, 0) + 1
                continue
            if _is_read(name):
                yield Source(str(file), printable(name), file.stat().st_size)
            else:
                _pass(name, passed)


def _is_read(name: str) -> bool:
    return is_archive(name) or reader_of(name) is not None or name.lower().endswith((*PAGES, *ROWS))


def _pass(name: str, passed: dict[str, int]) -> None:
    suffix = Path(name).suffix or "without ending"
    passed[suffix] = passed.get(suffix, 0) + 1


def parts_of(sources: Sequence[Source]) -> list[list[Source]]:
    """Groups of files of about 32 MB, in order; a large archive is a part of its own."""
    parts: list[list[Source]] = []
    n_bytes = 0
    for source in sources:
        if not parts or n_bytes + source.n_bytes > PART_BYTES or len(parts[-1]) >= PART_FILES:
            parts.append([])
            n_bytes = 0
        parts[-1].append(source)
        n_bytes += source.n_bytes
    return parts


Found = Record | Page | Dropped
"""A page that is still to be extracted, a text, or what cannot be read."""


def read_source(source: Source, scratch: Path) -> Iterator[Found]:
    """What a file holds. What the web has without a known ending is a page.

    scratch: a folder for a file that is fetched first, and removed again
    """
    if not is_remote(source.path):
        yield from _read(Path(source.path), source.name)
        return
    ending = _name_at(source.path)
    # Another part may fetch a file of the same name at this time.
    local = scratch / f"fetched-{secrets.token_hex(8)}-{ending}"
    try:
        fetch(source.path, source.n_bytes, local)
        if not _is_read(ending) and _is_binary(local):
            yield Dropped("read", f"not a format that is read ({Path(ending).suffix or 'no ending'})", url=source.name)
        else:
            yield from _read(local, source.name, ending if _is_read(ending) else PAGES[0])
    finally:
        local.unlink(missing_ok=True)


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(1024)
    return b"\0" in head or head.startswith(GZIP)


def _name_at(address: str) -> str:
    """The end of the last part of an address's path, which says what kind of file is there."""
    path = urlsplit(address).path if address.startswith(WEB) else address
    return path.rpartition("/")[2][-100:]


def _read(path: Path, name: str, ending: str = "") -> Iterator[Found]:
    """ending: what tells the kind of the file, if its name does not"""
    lower = (ending or name).lower()
    if is_archive(lower):
        yield from (_as_found(found) for found in read_archive(path))
    elif lower.endswith(PAGES):
        yield Record(name, 0, path.read_bytes())
    elif lower.endswith(ROWS):
        yield from _parquet(path, name)
    else:
        yield from _documents(path, name, "skip")


def _as_found(found: Record | Passed) -> Found:
    if isinstance(found, Record):
        return found
    return Dropped("read", found.reason, url=found.url)


def _documents(path: Path, name: str, errors: Errors) -> Iterator[Found]:
    report = ReadReport()
    number = 0
    for number, document in enumerate(read_files(path.parent, [path], errors, report), start=1):
        said = {name: getattr(document, name) for name in ("license", "origin", "place", *OF_PAGE)}
        url = document.source if is_remote(document.source) else ""
        yield Page.of(document.text, name, document.line or number, url, **said)
    for reason, n in report.skipped.items():
        yield from (Dropped("read", reason, url=name) for _ in range(n))


def _parquet(path: Path, name: str) -> Iterator[Found]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(f"{name}: Parquet needs pyarrow; pip install 'malmoi[parquet]'") from None
    try:
        table = parquet.ParquetFile(path)
        for number, row in enumerate(row for batch in table.iter_batches() for row in batch.to_pylist()):
            yield _of_row(row, name, number)
    except Exception as error:
        yield Dropped("read", f"Parquet that cannot be read ({type(error).__name__})", url=name)


def _of_row(row: dict[str, Any], name: str, number: int) -> Found:
    text = row.get("text") or row.get("content")
    if not isinstance(text, str):
        return Dropped("read", 'a row without "text"', url=name)
    more = row.get("metadata")
    known = {**(more if isinstance(more, dict) else {}), **row}
    said = {key: str(known[key]) for key in ("license", "date", "title", "author", "origin") if known.get(key)}
    return Page.of(text, name, number, str(known.get("url") or ""), **said)
