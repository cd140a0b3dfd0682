"""reStructuredText, line by line: headings become "# …", markup that is not text becomes a blank line.

So every line keeps its number. A full parser (docutils) would need to know each project's roles and directives, and
reads other files where a text says so.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader
from malmoi.corpus.readers.text import text_documents

MAX_LEVEL = 6
_ADORNMENT = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}\s*")
_BORDER = re.compile(r"\s*(\+[-=+]{3,}\+|={2,}( +={2,})+|-{2,}( +-{2,})+)\s*")
_DIRECTIVE = re.compile(r"(\s*)\.\.\s+(?:\|[^|]+\|\s+)?([\w:+.-]+)::(?:\s+(.*))?$")
_NOTE = re.compile(r"(\s*)\.\.\s+\[[^\]]+\]\s+(.*)$")
_COMMENT = re.compile(r"(\s*)\.\.(\s|$)")
_OPTION = re.compile(r"\s+:[\w-]+:(\s|$)")
_NO_TEXT = frozenset(
    {"contents", "csv-table", "currentmodule", "default-role", "highlight", "image", "include", "index", "math", "meta"}
    | {"literalinclude", "module", "only", "raw", "replace", "role", "sectionauthor", "sectnum", "tabularcolumns"}
    | {"target-notes", "toctree", "unicode"}
)
_CODE = frozenset({"code", "code-block", "doctest", "parsed-literal", "sourcecode", "testcode", "testoutput"})
_INLINE = (
    (re.compile(r":[\w:+.-]+:`[~!]?([^`<]*?)\s*(?:<[^`>]*>)?`"), r"\1"),  # :role:`text <target>`
    (re.compile(r"(?<!`)`([^`<]+?)\s*<[^`>]*>`__?"), r"\1"),  # `text <url>`_
    (re.compile(r"(?<!`)`([^`]+)`__?(?!\w)"), r"\1"),  # `text`_
    (re.compile(r"``(.+?)``"), r"`\1`"),
    (re.compile(r"(?<![\w|])\|(\w[^|]*?)\|_?(?![\w|])"), r"\1"),  # |substitution|
    (re.compile(r"\\(?:\s|(?=[*`|_\\]))"), ""),
)


def read(file: InputFile) -> Iterator[Document]:
    return text_documents(plain_lines(file.text_lines()), file.source)


@dataclass
class _State:
    """What is open at a line.

    levels: adornment of headings, with "above" if there is one above too -> level
    left_out, code: the indentation of the markup whose indented block is not text, or is code; None outside of one
    title: the adornment of the heading that the next line is
    """

    levels: dict[str, int] = field(default_factory=dict)
    left_out: int | None = None
    code: int | None = None
    is_option: bool = False
    title: str = ""


def plain_lines(lines: Iterable[str]) -> Iterator[str]:
    """As many lines of plain text. lines: each but the last ends with \\n"""
    state, is_underline = _State(), False
    for line, second, third in _with_following(lines):
        text, newline = line.rstrip("\n"), "\n" * line.endswith("\n")
        if is_underline:
            is_underline = False
            yield newline
            continue
        is_block = _is_in_block(text, state)
        if not is_block and _is_adorned(second, text) and second.strip() and third[:1] == text[0]:
            state.title = f"above {text[0]}"  # a line above the heading and one below
            yield newline
        elif not is_block and text.strip() and (state.title or _is_adorned(text, second)):
            level = state.levels.setdefault(state.title or second[0], len(state.levels) + 1)
            state.title, is_underline = "", True
            yield "#" * min(level, MAX_LEVEL) + " " + _inline(text.strip()) + newline
        else:
            is_markup = state.left_out is not None or state.is_option
            yield (_plain(text, state) if not is_block else "" if is_markup else text) + newline


def _with_following(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Each line with the two after it."""
    ahead = chain(lines, ("", ""))
    first, second = next(ahead), next(ahead)
    for third in ahead:
        yield first, second, third
        first, second = second, third


def _is_adorned(title: str, line: str) -> bool:
    """Whether a line of one mark is as long as the title (or nearly so, in wide letters)."""
    line = line.rstrip()
    return bool(_ADORNMENT.fullmatch(line)) and len(line) >= min(len(title.strip()), 4)


def _is_in_block(text: str, state: _State) -> bool:
    """Whether a line is in an indented block that is left out, or in code. A line that is not ends the block."""
    opened = state.left_out if state.left_out is not None else state.code
    if opened is None:
        return False
    if not text.strip() or len(text) - len(text.lstrip()) > opened:
        state.is_option &= bool(_OPTION.match(text))
        return True
    state.left_out = state.code = None
    return False


def _plain(text: str, state: _State) -> str:
    """A line outside of code."""
    is_option, state.is_option = state.is_option and bool(_OPTION.match(text)), False
    indent = len(text) - len(text.lstrip())
    if is_option:
        state.is_option = True
        return ""
    if found := _DIRECTIVE.match(text):
        name, words = found[2].rpartition(":")[2], found[3] or ""
        state.is_option = True
        if name in _NO_TEXT:
            state.left_out = indent
            return ""
        if name in _CODE:
            state.code = indent
            return ""
        return found[1] + _inline(words)
    if found := _NOTE.match(text):
        return found[1] + _inline(found[2])
    if _COMMENT.match(text):
        state.left_out = indent
        return ""
    if _BORDER.fullmatch(text) or _ADORNMENT.fullmatch(text.strip()):
        return ""
    if text.rstrip().endswith("::"):
        state.code = indent
        text = text.rstrip()[:-1] if text.strip() != "::" else ""
    return _inline(text)


def _inline(text: str) -> str:
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text


READER = Reader((".rst",), read)
