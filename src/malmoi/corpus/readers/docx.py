"""Word files: paragraphs, headings, lists, tables, text boxes, footnotes.

Page headers, tables of contents, comments and deleted text are left out.
"""

import re
import zipfile
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from malmoi.corpus.archive import attributes, local_name, main_part, open_archive, parse_part, related
from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader, Unreadable
from malmoi.corpus.office import Describe, Paragraph, blocks, documents

LEFT_OUT = frozenset({"Fallback", "moveFrom", "del", "tabs"})
ITEM, CONTENTS = -1, -2
"""Levels of styles that are no headings: lists and entries of a table of contents."""


def read(file: InputFile) -> Iterator[Document | Unreadable]:
    archive = open_archive(file)
    main = main_part(file, archive, "word/document.xml")
    parts = dict(related(file, archive, main).values())
    describe = _describe(_levels(file, archive, parts["styles"]) if "styles" in parts else {})
    yield from documents(_all_blocks(archive, main, parts, describe), file.source)


def _all_blocks(archive: zipfile.ZipFile, main: str, parts: dict[str, str], describe: Describe) -> Iterator[str]:
    yield from blocks(archive, main, describe, LEFT_OUT)
    for kind in ("footnotes", "endnotes"):
        if kind in parts:
            yield from blocks(archive, parts[kind], describe, LEFT_OUT)


def _describe(levels: dict[str, int]) -> Describe:
    def describe(tag: str, element: Element, paragraph: Paragraph | None) -> None:
        if paragraph is None:
            return
        if tag == "pStyle":
            level = levels.get(attributes(element).get("val", ""), 0)
            paragraph.level, paragraph.is_item, paragraph.is_left_out = max(level, 0), level == ITEM, level == CONTENTS
        elif tag == "outlineLvl":
            paragraph.level = _level(attributes(element).get("val", ""))
        elif tag == "numPr":
            paragraph.is_item = True

    return describe


def _level(outline: str) -> int:
    """Word counts levels from 0; 9 is body text."""
    return int(outline) + 1 if re.fullmatch("[0-8]", outline) else 0


def _levels(file: InputFile, archive: zipfile.ZipFile, name: str) -> dict[str, int]:
    """The level of each style: that of its name or outline, else of the style that it is based on."""
    own, based_on = dict[str, int](), dict[str, str]()
    for style in parse_part(file, archive, name):
        identity = attributes(style).get("styleId", "")
        for element in style.iter():
            tag, value = local_name(element.tag), attributes(element).get("val", "")
            if tag == "name" and (found := re.fullmatch(r"heading ([1-9])", value, re.IGNORECASE)):
                own[identity] = int(found[1])
            elif tag == "name" and value.lower() in ("title", "toc heading"):
                own[identity] = 1 if value.lower() == "title" else CONTENTS
            elif tag == "name" and re.match(r"toc [1-9]", value, re.IGNORECASE):
                own[identity] = CONTENTS
            elif tag == "outlineLvl" and identity not in own:
                own[identity] = _level(value)
            elif tag == "numPr" and identity not in own:
                own[identity] = ITEM
            elif tag == "basedOn":
                based_on[identity] = value
    levels = {}
    for identity in own.keys() | based_on.keys():
        ancestor, seen = identity, set[str]()
        while ancestor not in own and ancestor in based_on and ancestor not in seen:
            seen.add(ancestor)
            ancestor = based_on[ancestor]
        levels[identity] = own.get(ancestor, 0)
    return levels


READER = Reader((".docx", ".docm"), read, is_guarded=True)
