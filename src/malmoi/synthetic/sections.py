"""A document in parts that can be asked about: sections with headings, sentences, lists, lines "key: value"."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from malmoi.corpus.documents import Document
from malmoi.text import ends_in_abbreviation

WRAPPED_CHARS = 40
"""Lines from this length on, without an end of a sentence, were broken by hand: the next line goes on."""
HEADING_CHARS, TITLE_CHARS = 60, 2_000
KEY_CHARS, VALUE_CHARS = 30, 120

_CLOSING = "\"'”’»)\\]」』》〉"
_ENDED = re.compile(rf"[.?!…。！？][{_CLOSING}]*$")
# A mark before a space, any East Asian mark, and a mark that Korean follows without a space (했다.그는).
_BORDER = re.compile(
    rf"((?<![.?!…])[.?!…]++[{_CLOSING}]*+(?=\s|$)|[。！？]+[{_CLOSING}]*|(?<=[가-힣]{{2}})[.?!]+(?=[가-힣]))\s*"
)
_BEGUN = re.compile(r"[\"'“‘「『《(]?[^\W_]")
_ODD = re.compile(r"[|{}<>=_*#~\\^`\[\]\n]|https?:|www\.|\.\.\.\.")
_HEADING = re.compile(r"#{1,6}\s+(.+?)\s*#*$")
_ITEM = re.compile(r"(?:[-*+•·▪◦]|\d{1,2}[.)])\s+(?:\[[ xX]\]\s+)?(\S.*)$")
_PAIR = re.compile(rf"([^\s:：][^:：.?!]{{0,{KEY_CHARS - 1}}})\s*[:：]\s+(\S.{{0,{VALUE_CHARS - 1}}})$")
_MARKS = re.compile(r"\*\*|__|`|(?<=\])\([^)\s]*\)|[\[\]](?!\d)")
_FENCE = ("```", "~~~")


@dataclass
class Section:
    """What is under one heading. title: of the document; pairs: key and value"""

    title: str
    heading: str
    sentences: list[str] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)


def sections(document: Document, most_chars: int) -> list[Section]:
    """The sections of a document's first `most_chars` characters, in order; code is left out.

    A heading is a line with # or a short line without a full stop above other text. The title is the first heading if
    it begins the document, else the file's name, or the last part of a longer source.
    """
    found = [Section(_name_of(document.source), "")]
    held: list[str] = []
    lines = document.text[:most_chars].split("\n")
    in_code = False

    def close() -> None:
        found[-1].sentences += sentences("\n".join(held))
        held.clear()

    for number, raw in enumerate(lines):
        line = _MARKS.sub("", raw.strip()) if not in_code else raw
        if line.startswith(_FENCE) or raw.strip().startswith(_FENCE):
            in_code = not in_code
        elif in_code:
            continue
        elif heading := _heading(raw.strip(), line, lines, number):
            close()
            is_first = len(found) == 1 and not (found[0].sentences or found[0].items or found[0].pairs)
            title = heading if is_first else found[0].title
            if is_first:
                found[0].title = title
            found.append(Section(title, heading))
        elif (pair := _pair(line)) is not None:
            close()
            found[-1].pairs.append(pair)
        elif (item := _ITEM.match(line)) and not _ENDED.search(item.group(1)):
            close()
            found[-1].items.append(item.group(1).strip())
        else:
            held.append(item.group(1) if item else line)
            if item:
                close()
    close()
    return [one for one in found if one.sentences or one.items or one.pairs]


def title_of(document: Document) -> str:
    """The first heading, if it begins the document, else the file's name."""
    found = sections(document, TITLE_CHARS)
    return found[0].title if found else _name_of(document.source)


def _name_of(source: str) -> str:
    path, _, row = source.partition("#")
    return row.strip() or PurePosixPath(path).stem


def _heading(raw: str, line: str, lines: list[str], number: int) -> str:
    """The text of a heading; empty if the line is none."""
    if marked := _HEADING.match(raw):
        return _MARKS.sub("", marked.group(1)).strip()
    is_alone = not (lines[number - 1].strip() if number else "") and not "".join(lines[number + 1 : number + 2]).strip()
    has_more = any(other.strip() for other in lines[number + 1 :])
    is_short = 2 <= len(line) <= HEADING_CHARS and any(map(str.isalpha, line))
    is_plain = not _ENDED.search(line) and line[-1:] not in ",;:：" and not _ITEM.match(raw) and _pair(line) is None
    return line if is_alone and has_more and is_short and is_plain else ""


def _pair(line: str) -> tuple[str, str] | None:
    marked = _ITEM.match(line)
    found = _PAIR.match(marked.group(1) if marked else line)
    if found is None or "://" in line or len(found.group(1).split()) > 4 or _ODD.search(line):
        return None
    key, value = found.group(1).strip(), found.group(2).strip()
    is_sentence = _ENDED.search(value) and len(value.split()) > 5
    return None if is_sentence or key.count("(") != key.count(")") else (key, value)


def sentences(text: str) -> list[str]:
    """The sentences of a text in order. Hard-wrapped lines are joined; a heading is a sentence without an end."""
    found = []
    for paragraph in _paragraphs(text):
        start = 0
        for border in _BORDER.finditer(paragraph):
            candidate = paragraph[start : border.end()].strip()
            if not ends_in_abbreviation(candidate) or border.end() == len(paragraph):
                found.append(candidate)
                start = border.end()
        found.append(paragraph[start:].strip())
    return [sentence for sentence in found if sentence]


def _paragraphs(text: str) -> Iterator[str]:
    held: list[str] = []
    last = ""
    for line in map(str.strip, text.split("\n")):
        if not (line and len(last) >= WRAPPED_CHARS and not _ENDED.search(last)):
            yield " ".join(held)
            held = []
        held.append(line)
        last = line
    yield " ".join(held)


def is_prose(sentence: str, longest: int) -> bool:
    """Whether this is one whole sentence: beginning, end, a fair length, mostly letters, closed quotes."""
    return (
        8 <= len(sentence) <= longest
        and bool(_BEGUN.match(sentence) and _ENDED.search(sentence) and not _ODD.search(sentence))
        and not sentence[0].islower()
        and sum(c.isalpha() or c == " " for c in sentence) >= 0.6 * len(sentence)
        and sentence.count('"') % 2 == 0
        and all(sentence.count(a) == sentence.count(b) for a, b in ("()", "“”", "「」", "『』", "《》"))
    )


def is_korean(text: str) -> bool:
    """Whether more than half of the letters are Korean syllables."""
    return 2 * len(re.findall(r"[가-힣]", text)) > sum(map(str.isalpha, text))


def is_english(text: str) -> bool:
    """Whether nearly all letters are of the English alphabet, and words that only English has are among them."""
    n_letters = sum(map(str.isalpha, text))
    n_latin = len(re.findall(r"[A-Za-z]", text))
    words = set(re.findall(r"[a-z]+", text.lower()))
    return n_latin >= 0.95 * n_letters > 0 and (len(text) < 60 or bool(words & _ENGLISH))


_ENGLISH = frozenset("the of and is are was were to with for that this it its by from has have can will not".split())
