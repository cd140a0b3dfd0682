"""Web pages: their prose with its headings ("# …"), without navigation, headers, footers, scripts and menus."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import groupby

from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader, Unreadable

FURNITURE_TAGS = {"nav", "header", "footer", "aside"}
INVISIBLE_TAGS = {"title", "script", "style", "noscript", "template", "svg", "button", "select", "iframe"}
PROSE_TAGS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "pre", "blockquote", "dd", "dt", "td", "th", "figcaption"}
BLOCK_TAGS = PROSE_TAGS | {"div", "section", "article", "main", "ul", "ol", "dl", "table", "tr", "hr", "body", "figure"}
MIN_CHARS = 40
MAX_DEPTH = 512  # as in browsers: a page nested deeper takes no longer


@dataclass
class _Block:
    """tag: the innermost of PROSE_TAGS around the text, or ""; n_linked: characters that are links"""

    tag: str
    text: str
    n_linked: int
    is_furniture: bool

    def is_readable(self) -> bool:
        """Prose, or anything else of a fair length; at most half of it links, unless it is a heading or code."""
        if self.is_furniture or (not self.tag and len(self.text) < MIN_CHARS):
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
        tag = next((tag for tag in reversed(self.opened) if tag in PROSE_TAGS), "")
        text = "".join(self.pieces).strip("\n")
        if tag != "pre":
            lines = "\n".join(" ".join(line.split()) for line in text.split("\n"))
            text = re.sub(r"\n{3,}", "\n\n", lines).strip()
        if text.strip():
            mark = "- " if tag == "li" else "#" * int(tag[1]) + " " if re.fullmatch("h[1-6]", tag) else ""
            text = " ".join(text.split()) if mark.startswith("#") else text
            self.blocks.append(_Block(tag, mark + text, self.n_linked, bool(self.dropped)))
        self.pieces, self.n_linked = [], 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in FURNITURE_TAGS | INVISIBLE_TAGS | BLOCK_TAGS:
            self.end_block()
            if self.opened[-1:] == ["p"]:  # its end tag may be left out before any other block
                self.opened.pop()
            nested = self.opened if tag in BLOCK_TAGS else self.dropped
            nested += [tag] * (len(nested) < MAX_DEPTH)
        self.pieces += ["\n"] * (tag == "br")
        self.is_link |= tag == "a"

    def handle_endtag(self, tag: str) -> None:
        if tag in FURNITURE_TAGS | INVISIBLE_TAGS | BLOCK_TAGS:
            self.end_block()
        for opened in (self.dropped, self.opened):
            if tag in opened:
                del opened[len(opened) - 1 - opened[::-1].index(tag) :]
        self.is_link &= tag != "a"

    def handle_data(self, data: str) -> None:
        if INVISIBLE_TAGS.isdisjoint(self.dropped):
            self.pieces.append(data if "pre" in self.opened else re.sub(r"\s+", " ", data))
            self.n_linked += len(data.strip()) * self.is_link


def read(file: InputFile) -> Iterator[Document]:
    yield Document(readable_text(file), file.source)


def readable_text(file: InputFile) -> str:
    """The readable text of a page; all of its text if none of it is readable."""
    page = _Page()
    try:
        for chunk in file.chunks():
            page.feed(chunk)
        page.close()
    except AssertionError as error:  # html.parser raises it on malformed declarations
        raise Unreadable("not HTML", f"{file.path}: not valid HTML ({error}); repair it or move it away") from None
    page.end_block()
    blocks = [block for block in page.blocks if block.is_readable()] or page.blocks
    groups = groupby(blocks, key=lambda block: "\n" if block.tag == "li" else "\n\n")
    return "\n\n".join(border.join(block.text for block in group) for border, group in groups)


READER = Reader((".html", ".htm"), read)
