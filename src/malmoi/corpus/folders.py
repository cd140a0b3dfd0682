"""A folder of text, Markdown, JSON lines and web pages -> documents, one at a time.

Plain text longer than PART_CHARS becomes several documents, cut at blank lines where there are any: the memory that
it takes stays small, and a single large file has parts to hold out.
"""

import codecs
import gzip
import hashlib
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path
from typing import IO, Any, Literal

from malmoi import progress
from malmoi.corpus.documents import Document
from malmoi.corpus.encodings import CHUNK_BYTES, UTF8, BadText, broken, conversion, encoding_of, likely, utf8_lines
from malmoi.errors import DataError, spelt_out
from malmoi.files import parsed_json, sha256_of
from malmoi.text import is_empty

Errors = Literal["strict", "skip"]
KINDS = (".txt", ".md", ".markdown", ".jsonl", ".jsonl.gz", ".html", ".htm")
PART_CHARS = 20_000
EXAMPLES_PER_REASON = 3


@dataclass
class ReadReport:
    """What was read, and what was not and why.

    skipped: reason -> files or rows; examples: the first few of each reason, naming file and line
    converted: encoding that the user named -> files that were read in it
    """

    n_files: int = 0
    n_documents: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    converted: Counter[str] = field(default_factory=Counter)


class _Unreadable(DataError):
    """A file, the rest of one, or a row that cannot be read; `reason` is what the report counts."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_folder(
    path: Path, errors: Errors = "strict", report: ReadReport | None = None, encoding: str = UTF8
) -> Iterator[Document]:
    """Documents of a file, or of all files below a folder in the order of their names; hidden ones are left alone.

    A document's source is its row's "source", else the file's path below `path` (for a titled row, "FILE#TITLE").
    errors: what to do with a file or row that cannot be read: "strict" raises DataError, "skip" counts it in
    `report` and goes on. Blank texts and files of other kinds are counted and passed over in both.
    encoding: of files that have no mark and are not UTF-8
    Raises DataError when there is nothing to read at all.
    """
    report = ReadReport() if report is None else report
    return _read(path, list(_find_files(path, errors, report)), errors, report, encoding)


def identity(path: Path, of_file: Callable[[Path], str] = sha256_of) -> str:
    """SHA-256 over the names and contents of the files that `read_folder` would read, links followed, and no others.

    of_file: gives a file's SHA-256, by default by reading it
    """
    digest = hashlib.sha256()
    for file in _find_files(path, "skip", ReadReport()):
        name = os.fsencode(file.name if file == path else file.relative_to(path).as_posix())
        content = of_file(file) if os.access(file, os.R_OK) else "cannot be opened"
        digest.update(name + f"\0{content}\n".encode())
    return digest.hexdigest()


def _read(root: Path, files: list[Path], errors: Errors, report: ReadReport, encoding: str) -> Iterator[Document]:
    for file in progress.each(files, "files"):
        report.n_files += 1
        for found in _documents(file, root, encoding, report):
            if isinstance(found, _Unreadable):
                _pass_over(found, errors, report)
            elif is_empty(found.text):
                report.skipped["no text in it"] += 1
            else:
                report.n_documents += 1
                yield found
    if not report.n_documents:
        said = ", ".join(f"{n} {reason}" for reason, n in report.skipped.items())
        raise DataError(f"{root}: no text in it ({said or 'nothing to read'}); give files with text: {' '.join(KINDS)}")


def _pass_over(problem: _Unreadable, errors: Errors, report: ReadReport) -> None:
    if errors == "strict":
        raise problem
    report.skipped[problem.reason] += 1
    if report.skipped[problem.reason] <= EXAMPLES_PER_REASON:
        report.examples.append(str(problem))


def _find_files(root: Path, errors: Errors, report: ReadReport) -> Iterator[Path]:
    """The files to read, sorted; each folder is entered once, so that links in a circle end."""

    def refused(error: OSError) -> None:
        _pass_over(_Unreadable("cannot be opened", f"{error.filename}: {error.strerror}"), errors, report)

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
    if not any(map(_kind, files)):
        raise DataError(f"{root}: nothing to read; the kinds that are read are {' '.join(KINDS)}")
    for file in sorted(files, key=lambda file: file.relative_to(root).as_posix()):
        if not _kind(file):
            report.skipped[f"not a kind that is read ({file.suffix or 'no ending'})"] += 1
        elif file.exists() and not file.is_file():
            report.skipped["not a regular file"] += 1
        else:
            yield file


def _kind(file: Path) -> str:
    return next((kind for kind in KINDS if file.name.lower().endswith(kind)), "")


def _documents(file: Path, root: Path, encoding: str, report: ReadReport) -> Iterator[Document | _Unreadable]:
    source = spelt_out(file.name if file == root else file.relative_to(root).as_posix())
    opened: Any = gzip.open if file.name.lower().endswith(".gz") else open
    try:
        with opened(file, "rb") as stream:
            found = encoding_of(stream, encoding)
            report.converted[encoding] += found == encoding != UTF8
            if _kind(file).startswith(".jsonl"):
                yield from _rows(file, stream, source, found)
            elif _kind(file).startswith(".htm"):
                yield Document(_page_text(file, stream, found), source)
            else:
                yield from (Document(part, source) for part in _parts(_chunks(file, stream, found)))
    except _Unreadable as problem:
        yield problem
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        yield _Unreadable("damaged gzip", f"{file}: cut short or damaged ({error}); copy or download it again")
    except OSError as error:
        yield _Unreadable("cannot be opened", f"{file}: cannot be read ({error.strerror}); mend or move it")


def _not_utf8(where: str, at: int, data: bytes, file: Path) -> _Unreadable:
    encoding = likely(data)
    looks = f", and looks like {encoding.upper()}" if encoding else ""
    message = (
        f"{where}: not UTF-8 at byte {at} (0x{data[0]:02x}){looks}; pass --encoding {encoding or 'NAME'} (in a recipe "
        f"corpus.encoding), or convert it: {conversion(encoding, file)}; --errors skip leaves it out"
    )
    return _Unreadable("not UTF-8", message)


def _chunks(file: Path, stream: IO[bytes], encoding: str) -> Iterator[str]:
    """The text of a file piece by piece, without its byte-order mark."""
    n_read, data = 0, b"\n"
    decoder = codecs.getincrementaldecoder(encoding)()
    while data:
        data = stream.read(CHUNK_BYTES)
        n_pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            at = n_read - n_pending + error.start
            if encoding == UTF8:
                raise _not_utf8(str(file), at, error.object[error.start :], file) from None
            raise _Unreadable(f"not {encoding}", f"{file}: {broken(error, encoding, at)}") from None
        yield text if n_read else text.removeprefix("\ufeff")
        n_read += len(data)


def _parts(chunks: Iterator[str]) -> Iterator[str]:
    rest = ""
    for chunk in chunks:
        rest += chunk
        while len(rest) > PART_CHARS:
            borders = (rest.rfind(border, 1, PART_CHARS) for border in ("\n\n", "\n\r\n", "\n", " "))
            cut = next((at for at in borders if at > 0), PART_CHARS)
            yield rest[:cut]
            rest = rest[cut:]
    yield rest


def _rows(file: Path, stream: IO[bytes], source: str, encoding: str) -> Iterator[Document | _Unreadable]:
    n_read = 0
    try:
        for number, data in enumerate(utf8_lines(stream, encoding), start=1):
            where = f"{file}:{number}"
            try:
                line = data.decode().removeprefix("\ufeff" if number == 1 else "")
                if line.strip():
                    yield _document(parsed_json(line), source)
            except UnicodeDecodeError as error:
                yield _not_utf8(where, n_read + error.start, data[error.start :], file)
            except DataError as error:
                yield _Unreadable("unusable row", f"{where}: {error}")
            except (ValueError, RecursionError) as error:
                yield _Unreadable("not JSON", f"{where}: not valid JSON ({error}); write one object per line")
            n_read += len(data)
    except BadText as problem:
        yield _Unreadable(f"not {encoding}", f"{file}: {problem}")


def _document(row: Any, source: str) -> Document:
    if not isinstance(row, dict):
        raise DataError(f"a row is an object, this is a {type(row).__name__}")
    facts = {}
    for name in ("title", "source", "license", "licence", "origin"):
        facts[name] = row.get(name) or ""
        if not isinstance(facts[name], str):
            raise DataError(f'"{name}" is a {type(row[name]).__name__}, not text')
    text, title = _row_text(row), facts["title"].strip()
    if title and text.strip() and not text.lstrip().startswith(title):
        text = f"{title}\n\n{text}"
    return Document(
        text=text,
        source=facts["source"] or (f"{source}#{title}" if title else source),
        license=facts["license"] or facts["licence"] or "unknown",
        origin=facts["origin"] or "unknown",
    )


def _row_text(row: dict[str, Any]) -> str:
    """Its text, or the turns of a conversation with a blank line between them."""
    messages = row["messages"] if isinstance(row.get("messages"), list) else []
    turns = [turn.get("content") if isinstance(turn, dict) else None for turn in messages]
    for candidate in ([row.get("text")], [row.get("content")], turns, [row.get("prompt"), row.get("response")]):
        texts = [text for text in candidate if isinstance(text, str)]
        if texts and len(texts) == len(candidate):
            return "\n\n".join(texts)
    raise DataError('no text; a row needs "text", "content", "messages", or "prompt" and "response"')


FURNITURE = {"nav", "header", "footer", "aside"}
UNSEEN = {"title", "script", "style", "noscript", "template", "svg", "button", "select", "iframe"}
PROSE = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "pre", "blockquote", "dd", "dt", "td", "th", "figcaption"}
BLOCKS = PROSE | {"div", "section", "article", "main", "ul", "ol", "dl", "table", "tr", "hr", "body", "figure"}
FEWEST_CHARS = 40
DEEPEST = 512  # as in browsers: a page nested deeper takes no longer


@dataclass
class _Block:
    """tag: the innermost of PROSE that it stands in, or ""; n_linked: characters that are links"""

    tag: str
    text: str
    n_linked: int
    is_furniture: bool

    def is_readable(self) -> bool:
        """Prose, or a fair length of anything else; at most half of it links, unless it is a heading or code."""
        if self.is_furniture or (not self.tag and len(self.text) < FEWEST_CHARS):
            return False
        return self.n_linked <= len(self.text) / 2 or self.tag.startswith(("h", "pre"))


class _Page(HTMLParser):
    """Collects the blocks of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[_Block] = []
        self.dropped, self.opened, self.pieces = list[str](), list[str](), list[str]()
        self.n_linked, self.is_link = 0, False

    def end_block(self) -> None:
        tag = next((tag for tag in reversed(self.opened) if tag in PROSE), "")
        text = "".join(self.pieces).strip("\n")
        if tag != "pre":
            lines = "\n".join(" ".join(line.split()) for line in text.split("\n"))
            text = re.sub(r"\n{3,}", "\n\n", lines).strip()
        if text.strip():
            self.blocks.append(_Block(tag, f"- {text}" if tag == "li" else text, self.n_linked, bool(self.dropped)))
        self.pieces, self.n_linked = [], 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in FURNITURE | UNSEEN | BLOCKS:
            self.end_block()
            if self.opened[-1:] == ["p"]:  # its end tag may be left out before any other block
                self.opened.pop()
            nested = self.opened if tag in BLOCKS else self.dropped
            nested += [tag] * (len(nested) < DEEPEST)
        self.pieces += ["\n"] * (tag == "br")
        self.is_link |= tag == "a"

    def handle_endtag(self, tag: str) -> None:
        if tag in FURNITURE | UNSEEN | BLOCKS:
            self.end_block()
        for opened in (self.dropped, self.opened):
            if tag in opened:
                del opened[len(opened) - 1 - opened[::-1].index(tag) :]
        self.is_link &= tag != "a"

    def handle_data(self, data: str) -> None:
        if UNSEEN.isdisjoint(self.dropped):
            self.pieces.append(data if "pre" in self.opened else re.sub(r"\s+", " ", data))
            self.n_linked += len(data.strip()) * self.is_link


def _page_text(file: Path, stream: IO[bytes], encoding: str) -> str:
    """The readable text of a web page, or all of its text when there is nothing of the kind."""
    page = _Page()
    try:
        for chunk in _chunks(file, stream, encoding):
            page.feed(chunk)
        page.close()
    except AssertionError as error:  # html.parser raises it on malformed declarations
        raise _Unreadable("not HTML", f"{file}: not valid HTML ({error}); mend it, or pass --errors skip") from None
    page.end_block()
    blocks = [block for block in page.blocks if block.is_readable()] or page.blocks
    groups = groupby(blocks, key=lambda block: "\n" if block.tag == "li" else "\n\n")
    return "\n\n".join(border.join(block.text for block in group) for border, group in groups)
