"""Paragraphs, headings and tables of office files, from XML that is read as a stream.

WordprocessingML, DrawingML and OWPML call a paragraph `p`, its text `t`, a table `tbl` with `tr` and `tc`: one walk
serves all three. It sees what libraries that list a document's paragraphs pass over: text boxes, content controls,
footnotes, inserted text.
"""

import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from malmoi.corpus.archive import local_name, part_events
from malmoi.corpus.documents import Document
from malmoi.corpus.tables import table_text

PART_CHARS = 20_000
MAX_LEVEL = 6
SPACES = {"tab": "\t", "br": "\n", "cr": "\n", "lineBreak": "\n", "noBreakHyphen": "-", "nbSpace": " ", "fwSpace": " "}


@dataclass
class Paragraph:
    """level: 1 to 6 of a heading, else 0; is_left_out: no text, such as a page number; after: what is anchored in it"""

    pieces: list[str] = field(default_factory=list)
    level: int = 0
    is_item: bool = False
    is_left_out: bool = False
    is_deleted: bool = False
    after: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        text = "".join(self.pieces).strip()
        if self.level:
            text = " ".join(text.split())
        mark = "#" * min(self.level, MAX_LEVEL) + " " if self.level else "- " if self.is_item else ""
        return [mark + text] * bool(text and not self.is_left_out) + self.after


Describe = Callable[[str, Element, Paragraph | None], None]
"""Called at the end of every element, with its name and the paragraph around it: sets the paragraph's level and so on.

The last call for a paragraph is that of its own element.
"""


@dataclass
class _Table:
    rows: list[list[str]] = field(default_factory=list)


@dataclass
class _Cell:
    lines: list[str] = field(default_factory=list)


_Open = Paragraph | _Table | _Cell


def blocks(
    archive: zipfile.ZipFile, name: str, describe: Describe, left_out: frozenset[str] = frozenset()
) -> Iterator[str]:
    """The paragraphs and tables of a part, in order; headings begin with "# ". left_out: elements whose text is not"""
    opened: list[_Open] = []
    parents: list[Element] = []
    n_left_out = 0
    for event, element in part_events(archive, name):
        tag = local_name(element.tag)
        if event == "start":
            n_left_out += bool(n_left_out or tag in left_out)
            if not n_left_out:
                _open(tag, opened)
            parents.append(element)
            continue
        parents.pop()
        if n_left_out:
            n_left_out -= 1
        else:
            around = opened[-1] if opened and isinstance(opened[-1], Paragraph) else None
            if around is not None and not (parents and local_name(parents[-1].tag) == "t"):
                _add(tag, element, around)
            describe(tag, element, around)
            yield from _close(tag, opened)
        if parents and tag in ("p", "r", "run", "tbl", "tr"):
            parents[-1].remove(element)  # it is done with: memory holds what is open


def _open(tag: str, opened: list[_Open]) -> None:
    if tag == "p":
        opened.append(Paragraph())
    elif tag == "tbl":
        opened.append(_Table())
    elif opened and isinstance(opened[-1], _Table):
        if tag == "tr":
            opened[-1].rows.append([])
        elif tag == "tc" and opened[-1].rows:
            opened.append(_Cell())


def _add(tag: str, element: Element, paragraph: Paragraph) -> None:
    """Add the text of an element to its paragraph. A `t` may have line breaks, tabs and marks in it."""
    if tag in SPACES:
        paragraph.pieces.append(SPACES[tag])
    if tag != "t":
        return
    for kind, text in (("", element.text), *((local_name(part.tag), part.tail) for part in element)):
        if kind in ("deleteBegin", "deleteEnd"):
            paragraph.is_deleted = kind == "deleteBegin"
        if not paragraph.is_deleted:
            paragraph.pieces += (SPACES.get(kind, ""), text or "")


def _close(tag: str, opened: list[_Open]) -> Iterator[str]:
    last = opened[-1] if opened else None
    if tag == "p" and isinstance(last, Paragraph):
        opened.pop()
        yield from _give(last.lines(), opened)
    elif tag == "tbl" and isinstance(last, _Table):
        opened.pop()
        yield from _give([table_text(last.rows)], opened)
    elif tag == "tc" and isinstance(last, _Cell):
        opened.pop()
        table = opened[-1]
        assert isinstance(table, _Table)
        table.rows[-1].append("\n".join(last.lines))


def _give(lines: list[str], opened: list[_Open]) -> Iterator[str]:
    """Lines that are done: to the cell or the paragraph around them, else to the caller."""
    lines = [line for line in lines if line.strip()]
    around = next((part for part in reversed(opened) if isinstance(part, Paragraph | _Cell)), None)
    if around is None:
        yield from lines
    elif isinstance(around, _Cell):
        around.lines += lines
    else:
        around.after += lines


def joined(found: Iterable[str]) -> str:
    """Blocks as one text: items of a list on neighbouring lines, a blank line between others."""
    text, before = "", ""
    for block in found:
        is_list = block.startswith("- ") and before.startswith("- ")
        text += ("\n" if is_list else "\n\n" if text else "") + block
        before = block
    return text


def documents(found: Iterable[str], source: str, place: str = "") -> Iterator[Document]:
    """Blocks as documents of at most PART_CHARS, if no block is longer. Each goes on under the heading before it."""
    part, n_chars, heading = list[str](), 0, ""
    for block in found:
        if n_chars + len(block) > PART_CHARS and part:
            yield Document(joined(part), source, place=place)
            part = [heading] * bool(heading and not block.startswith("#"))
            n_chars = len(heading)
        heading = block if block.startswith("#") else heading
        part.append(block)
        n_chars += len(block)
    if part:
        yield Document(joined(part), source, place=place)
