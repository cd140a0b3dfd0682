"""Archives of the web -> records: WARC and WET by fastwarc, ARC by warcio, each plain or compressed.

A damaged archive loses only what is damaged: after an error, the reader looks for the next record and goes on there.
Memory does not grow with the archive; a record larger than `MAX_RECORD_BYTES` is passed over.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MAX_RECORD_BYTES = 32 << 20
CHUNK_BYTES = 1 << 20
GZIP, ZSTD, PLAIN = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"WARC/"
SUFFIXES = (".warc", ".warc.gz", ".warc.zst", ".wet", ".wet.gz", ".arc", ".arc.gz")
_ARC_HEAD = re.compile(rb"\n[a-z]{2,20}:[^ \n]{1,2000} [0-9a-fA-F.:]{3,45} \d{14} [^ \n]{1,200} \d{1,12}\r?\n")
"""The head of a record in ARC 1: address, IP, date, kind, length."""
MAX_ARC_HEAD = 2400
HTML, TEXT = ("text/html", "application/xhtml+xml"), ("text/plain", "text/markdown")


@dataclass(frozen=True)
class Record:
    """What an archive holds of one page.

    offset: byte in the archive at which its record begins; headers: of HTTP, names in lower case
    charset: as HTTP declares it; is_text: the body is text that somebody has extracted (WET), or plain text
    """

    url: str
    offset: int
    body: bytes
    date: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    charset: str = ""
    is_text: bool = False


@dataclass(frozen=True)
class Passed:
    """A record that is passed over, or a damage. reason: what is counted; offset: where in the archive"""

    reason: str
    offset: int
    url: str = ""


def is_archive(name: str) -> bool:
    """Whether a file's name is that of a web archive."""
    return name.lower().endswith(SUFFIXES)


def read_archive(path: Path) -> Iterator[Record | Passed]:
    """The records of an archive in order, and what was passed over and why. Raises OSError if it cannot be opened.

    Every record of the archive comes once, as one or the other. A damage comes in addition, with reason "damaged".
    """
    with path.open("rb") as file:
        if path.name.lower().endswith((".arc", ".arc.gz")) or _is_arc(file):
            yield from _read_arc(file, path)
        else:
            yield from _read_warc(file, path.stat().st_size)


def _is_arc(file: IO[bytes]) -> bool:
    import zlib

    head = file.read(CHUNK_BYTES)
    file.seek(0)
    if head.startswith(GZIP):
        try:
            head = zlib.decompressobj(31).decompress(head, 64)
        except zlib.error:
            return False
    return head.startswith(b"filedesc:")


def _read_warc(file: IO[bytes], n_bytes: int) -> Iterator[Record | Passed]:
    head = file.read(8)
    magic = next((mark for mark in (GZIP, ZSTD) if head.startswith(mark)), PLAIN)
    begin = 0
    if magic == PLAIN and not head.startswith(PLAIN):
        begin = _find(file, magic, 0)
        if begin < 0:
            yield Passed("not a web archive", 0)
            return
        yield Passed("damaged", 0)
    while 0 <= begin < n_bytes:
        after, end, error = begin, -1, False
        for offset, ends, found in _records_from(file, begin):
            if offset >= 0:
                after, end = offset, ends
            if found is None:
                error = True
                break
            yield found
        # A complete record may hold other archives' records: the search begins after it.
        goes_on = _find(file, magic, max(after + 1, 0 if error else end))
        if goes_on < 0:
            if error:
                yield Passed("damaged", after)
            return
        if error or magic == PLAIN:
            yield Passed("damaged", after)
        elif not _begins_record(file, goes_on):
            return
        begin = goes_on


def _records_from(file: IO[bytes], begin: int) -> Iterator[tuple[int, int, Record | Passed | None]]:
    """(offset, where it ends at the earliest, record) from one place on; None for the record if it cannot be read."""
    from fastwarc.warc import ArchiveIterator

    file.seek(begin)
    offset = end = -1
    try:
        for record in ArchiveIterator(_Unclosed(file), parse_http=False):
            offset = begin + record.stream_pos
            declared = record.content_length
            url = record.headers.get("WARC-Target-URI") or ""
            if declared > MAX_RECORD_BYTES:
                yield offset, offset + 1, Passed(f"larger than {MAX_RECORD_BYTES >> 20} MB", offset, url)
                continue
            record.freeze()
            body = record.reader.read()
            record.reader.seek(0)
            end = offset + len(body)
            if len(body) < declared:
                yield offset, offset + 1, Passed("cut short", offset, url)
                continue
            yield offset, end, _of_record(record, offset, url)
    except Exception:  # whatever a damaged archive makes a parser raise
        yield offset, end, None


def _of_record(record: Any, offset: int, url: str) -> Record | Passed:
    kind = str(record.record_type)
    date = record.headers.get("WARC-Date") or ""
    if kind == "conversion":
        return Record(url, offset, record.reader.read(), date, charset="utf-8", is_text=True)
    if kind not in ("response", "resource"):
        return Passed(f"a record of kind {kind}", offset, url)
    headers: tuple[tuple[str, str], ...] = ()
    content, charset = record.headers.get("Content-Type") or "", ""
    try:
        if record.is_http:
            record.parse_http(auto_decode="all")
            status = record.http_headers.status_code
            if status != 200:
                return Passed(f"status {status}", offset, url)
            headers = tuple((str(name).lower(), str(value)) for name, value in record.http_headers)
            content, charset = record.http_content_type or "", record.http_charset or ""
        body = _at_most(record.reader)
    except Exception:
        return Passed("its HTTP cannot be read", offset, url)
    if len(body) > MAX_RECORD_BYTES:
        return Passed(f"larger than {MAX_RECORD_BYTES >> 20} MB", offset, url)
    return _of_page(url, offset, body, date, headers, content, charset)


def _at_most(reader: Any) -> bytes:
    """What a body holds when it is unpacked, a little more than `MAX_RECORD_BYTES` at most: it may be a bomb."""
    parts, n = list[bytes](), 0
    while n <= MAX_RECORD_BYTES and (part := reader.read(CHUNK_BYTES)):
        parts.append(part)
        n += len(part)
    return b"".join(parts)


def _of_page(
    url: str, offset: int, body: bytes, date: str, headers: tuple[tuple[str, str], ...], content: str, charset: str
) -> Record | Passed:
    kind = content.partition(";")[0].strip().lower()
    if kind and kind not in (*HTML, *TEXT):
        return Passed(f"not a page ({kind})", offset, url)
    if not body.strip():
        return Passed("empty", offset, url)
    return Record(url, offset, body, date, headers, charset, kind in TEXT)


def _read_arc(file: IO[bytes], path: Path) -> Iterator[Record | Passed]:
    head = file.read(len(GZIP))
    zipped = head == GZIP or (path.suffix.lower() == ".gz" and not head.isalpha())
    begin, told = 0, False
    while 0 <= begin < path.stat().st_size:
        last, end, held, error = begin, begin, list[Record | Passed](), False
        for offset, ends, found in _arc_records_from(file, begin):
            if found is None:
                error = True
                break
            yield from held
            last, end, held, told = offset, ends, [found], False
        goes_on = -1 if not error else _find(file, GZIP, last + 1) if zipped else _find_arc(file, last + 1)
        # A wrong length makes a record take the next ones for its own text: then it is the one that is damaged.
        if not (error and held and not zipped and 0 <= goes_on < end):
            yield from held
        if error and not told:
            yield Passed("damaged", last)
            told = True
        begin = goes_on


def _arc_records_from(file: IO[bytes], begin: int) -> Iterator[tuple[int, int, Record | Passed | None]]:
    """(offset, where its length ends if nothing is zipped, record) from one place on; None if it cannot be read."""
    from warcio.archiveiterator import ArchiveIterator

    file.seek(begin)
    archive = ArchiveIterator(_Unclosed(file))
    while True:
        try:
            # It prints what it finds wrong, such as a length that is not right, and goes on somewhere.
            with contextlib.redirect_stderr(io.StringIO()) as wrong:
                record = next(archive, None)
                if wrong.getvalue():
                    yield begin, begin, None
                    return
                if record is None:
                    return
                offset, url = archive.offset, record.rec_headers.get_header("uri") or ""
                if record.rec_type == "response":
                    found = _of_arc_record(record, offset, url)
                else:
                    found = Passed(f"a record of kind {record.rec_type}", offset, url)
        except Exception:  # whatever a damaged archive makes a parser raise
            yield begin, begin, None
            return
        yield offset, offset + int(record.rec_headers.get_header("length") or 0), found


def _of_arc_record(record: Any, offset: int, url: str) -> Record | Passed:
    date = record.rec_headers.get_header("archive-date") or ""
    declared = int(record.rec_headers.get_header("length") or 0)
    if declared > MAX_RECORD_BYTES:
        return Passed(f"larger than {MAX_RECORD_BYTES >> 20} MB", offset, url)
    raw = record.http_headers
    status = raw.get_statuscode() if raw is not None else "200"
    if status.isdecimal() and status != "200":
        return Passed(f"status {status}", offset, url)
    body = record.content_stream().read(MAX_RECORD_BYTES)
    if getattr(record.raw_stream, "limit", 0) > 0:
        return Passed("cut short", offset, url)
    headers = tuple((name.lower(), value) for name, value in raw.headers) if raw is not None else ()
    content = next((value for name, value in headers if name == "content-type"), "")
    charset = content.lower().partition("charset=")[2].strip(" \"';")
    return _of_page(url, offset, body, date, headers, content, charset)


def _begins_record(file: IO[bytes], at: int) -> bool:
    """Whether a record can be read from there: the bytes that begin one may also be some of its data."""
    return next(((found is not None) for _, _, found in _records_from(file, at)), False)


def _find(file: IO[bytes], mark: bytes, start: int) -> int:
    """The first byte of a mark at or after `start`; -1 if it does not come."""
    file.seek(start)
    at, kept = start, b""
    while chunk := file.read(CHUNK_BYTES):
        found = (kept + chunk).find(mark)
        if found >= 0:
            return at - len(kept) + found
        at += len(chunk)
        kept = (kept + chunk)[-(len(mark) - 1) :]
    return -1


def _find_arc(file: IO[bytes], start: int) -> int:
    """Where the first line at or after `start` begins that can be the head of an ARC record; -1 if none comes."""
    file.seek(start)
    at, kept = start, b""
    while chunk := file.read(CHUNK_BYTES):
        kept += chunk
        if found := _ARC_HEAD.search(kept):
            return at + found.start() + 1
        n_gone = max(0, len(kept) - MAX_ARC_HEAD)
        at, kept = at + n_gone, kept[n_gone:]
    return -1


class _Unclosed(io.RawIOBase):
    """A file that a parser reads and does not close."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def read(self, n: int = -1) -> bytes:
        return self.file.read(n)

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.file.tell()
