"""Documents -> passages: a few sentences each, with the heading they belong to and the line in which they begin."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from malmoi.corpus.documents import Document
from malmoi.corpus.readers import reader_of
from malmoi.text import keeping_lines

MAX_CHARS = 600
"""Longest passage; a paragraph of more is cut between sentences, a sentence of more between words."""
MAX_HEADING_CHARS = 100
PATH = " > "
"""Between a heading and those below it."""
Path = list[tuple[int, str]]
"""(level, words) of a heading, after those above it."""
_ATX = re.compile(r"(#{1,6})[ \t]+(\S.*)")
_UNDERLINE = re.compile(r"""([=\-~^"*+#`:.'_])\1{2,}""")
_FENCE = re.compile(r"[ ]{0,3}(```+|~~~+)")
_LIST = re.compile(r"([-*+•·>|]|\d+[.)]|[가-힣][.)])[ \t]")
_SENTENCE_END = re.compile(r"""[.!?…。！？]["'”’)\]]*(?=\s)|\n(?=[ \t]*(?:[-*+•·|]|\d+[.)])[ \t])""")
_SPACE = re.compile(r"\s*")
_PARAGRAPH = re.compile(r"\S[^\n]*(?:\n(?![ \t]*\n)[^\n]*)*")


@dataclass(frozen=True)
class Passage:
    """A few sentences that can be quoted.

    text: as the file has them, in Unicode NFC and with \\n for newlines: line `line + n` of the file is line n of it
    file: the document's source, without the title of a row
    heading: of its section, after those above it: "Install > On Windows"; "" if there is none
    line: in which it begins, from 1; 0 if the file has no lines, or it is unknown
    place: where in the file, if the document is a part with a name: "page 3", "sheet Sales, row 12"
    document: id of the document
    """

    text: str
    file: str
    heading: str
    line: int
    place: str
    document: str

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


class _Section(NamedTuple):
    """Lines of a document below one heading. start: index of the first line"""

    heading: str
    start: int
    lines: list[str]


def passages(documents: Iterable[Document]) -> Iterator[Passage]:
    """The passages of all documents, in order. None crosses a heading; none is longer than MAX_CHARS.

    A file that was read in parts goes on under the heading at which its last part ended.
    """
    path: Path = []
    source, place, line = "", "", 0
    for document in documents:
        is_next_part = (document.source, document.place) == (source, place) and document.line > line > 0
        path = path if is_next_part else []
        source, place, line = document.source, document.place, document.line
        yield from passages_of(document, path)


def passages_of(document: Document, path: Path | None = None) -> Iterator[Passage]:
    """The passages of one document. A heading with nothing below it is a passage of its own.

    path: headings that the document begins under; afterwards those that it ends under
    """
    file, title = _file_and_title(document.source)
    starts = {at for at, _ in document.gaps}
    for section in _sections(keeping_lines(document.text), document.source, title, [] if path is None else path):
        for offset, text in _cut(section.lines, {at - section.start for at in starts}):
            line = document.line_at(section.start + offset)
            yield Passage(text, file, section.heading, line, document.place, document.id)


def _file_and_title(source: str) -> tuple[str, str]:
    """The file of a document, and the title of its row: readers of rows name "FILE#TITLE"."""
    file, _, title = source.partition("#")
    reader = reader_of(file)
    return (file, title) if title and reader is not None and reader.has_rows else (source, "")


def _sections(text: str, source: str, title: str, path: Path) -> Iterator[_Section]:
    """The text cut at its headings. A heading with nothing below it, also no heading, is a section of itself."""
    lines = text.split("\n")
    if source.startswith("python:") and any(map(str.strip, lines[1:])):  # the first line: a name with its parameters
        yield _Section(lines[0], 1, lines[1:])
        return
    name, begin, body = PATH.join(words for _, words in path) or title, 0, 0
    for at, level, words, n_lines in _headings(lines):
        if any(map(str.strip, lines[body:at])):
            yield _Section(name, body, lines[body:at])
        elif body > begin and level <= path[-1][0]:
            yield _Section(name, begin, lines[begin : begin + 1])
        path[:] = [above for above in path if above[0] < level] + [(level, words)]
        name, begin, body = PATH.join(words for _, words in path), at, at + n_lines
    if any(map(str.strip, lines[body:])):
        yield _Section(name, body, lines[body:])
    elif body > begin:
        yield _Section(name, begin, lines[begin : begin + 1])


def _headings(lines: list[str]) -> Iterator[tuple[int, int, str, int]]:
    """(index, level, words, lines that it takes) of every heading outside of code."""
    after, in_code, drawn = 0, False, list[str]()
    for at, line in enumerate(lines):
        in_code ^= _FENCE.match(line) is not None
        if in_code or at < after or not line.strip() or line.startswith(("    ", "\t")):
            continue
        if (found := _heading(lines, at, line.strip(), drawn)) is not None:
            yield at, *found
            after = at + found[2]


def _heading(lines: list[str], at: int, line: str, drawn: list[str]) -> tuple[int, str, int] | None:
    """drawn: characters that underlined headings so far; as in reStructuredText, their order gives the level"""
    if (marked := _ATX.fullmatch(line)) is not None:
        words = marked[2].rstrip("#")
        is_closed = not words or words[-1] in " \t"  # "C#" is a name
        return len(marked[1]), words.rstrip(" \t") or "#" if is_closed else marked[2], 1
    below = lines[at + 1].strip() if at + 1 < len(lines) else ""
    is_short = len(line) <= MAX_HEADING_CHARS and re.search(r"\w", line) is not None and not _LIST.match(line)
    if is_short and (underline := _UNDERLINE.fullmatch(below)) is not None and _underlines(below, line):
        if underline[1] not in drawn:
            drawn.append(underline[1])
        return 1 + drawn.index(underline[1]), line, 2
    if is_short and not below and _looks_like_a_title(lines, at, line):
        return _PLAIN_LEVEL, line, 1
    return None


def _underlines(marks: str, line: str) -> bool:
    """Whether marks below a line make it a heading: of Markdown always, else if they are as long, as in
    reStructuredText; "..." below a line of an interactive session is none."""
    return marks[0] in "=-" or len(marks) >= len(line)


_PLAIN_LEVEL = 20
"""Of a title without marks: below all marked ones."""


def _looks_like_a_title(lines: list[str], at: int, line: str) -> bool:
    """Whether a line between blank lines is a title: short, begins like one, and is no sentence."""
    before = lines[at - 1].strip() if at else ""
    is_alone = not before and at + 1 < len(lines) and any(map(str.strip, lines[at + 1 : at + 4]))
    is_short = len(line) <= 60 and len(line.split()) <= 8
    begins = line[0].isupper() or line[0].isdigit() or "가" <= line[0] <= "힣"
    ends = line[-1].isalnum() or line[-1] in ")]\"'?"
    is_sentence = re.search(r"[다요죠]$|[.!。]\s", line) is not None or _tells_something(line)
    return is_alone and is_short and begins and ends and not is_sentence


def _tells_something(line: str) -> bool:
    """Whether a line says something of what it begins with: "Present: Ruth, Ahmed", but not "Part 1: Boats"."""
    begin, colon, rest = line.partition(":")
    return bool(colon and rest[:1].isspace()) and not any(character.isdigit() for character in begin)


def _cut(lines: list[str], starts: Collection[int]) -> Iterator[tuple[int, str]]:
    """Passages of a section: (index of the first line, text). Whole paragraphs together while there is room.

    starts: indices of lines at which a passage has to begin, as lines before them were left out
    """
    borders = sorted({0, len(lines), *(at for at in starts if 0 < at < len(lines))})
    for before, after in pairwise(borders):
        for offset, text in _together("\n".join(lines[before:after])):
            yield before + offset, text


def _together(text: str) -> Iterator[tuple[int, str]]:
    start = end = None
    for first, last in _pieces(text):
        if start is not None and end is not None and last - start > MAX_CHARS:
            yield text.count("\n", 0, start), text[start:end]
            start = None
        start, end = first if start is None else start, last
    if start is not None:
        yield text.count("\n", 0, start), text[start:end]


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of what stays whole: paragraphs, or the sentences of long ones, or the parts of long sentences."""
    for paragraph in _PARAGRAPH.finditer(text):
        first, last = paragraph.start(), paragraph.start() + len(paragraph.group().rstrip())
        if last - first <= MAX_CHARS:
            yield first, last
        else:
            for start, end in _sentences(text, first, last):
                yield from _parts(text, start, end)


def _sentences(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    start = first
    for border in _SENTENCE_END.finditer(text, first, last):
        if border.end() > start:
            yield start, border.end() - (border.group() == "\n")
        start = _SPACE.match(text, border.end(), last).end()  # type: ignore[union-attr]
    if start < last:
        yield start, last


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > MAX_CHARS:
        cut = max(text.rfind(border, start + MAX_CHARS // 2, start + MAX_CHARS) for border in ("\n", " "))
        cut = cut if cut > 0 else start + MAX_CHARS
        yield start, cut
        start = cut + (text[cut].isspace() if cut < end else 0)
    if start < end:
        yield start, end
