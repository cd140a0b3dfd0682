"""Files of Hangul (OWPML): paragraphs, headings, lists, tables, text boxes, notes; no page headers, no deleted text."""

import re
import zipfile
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from malmoi.corpus.archive import attributes, local_name, locked, open_archive, part_events, read_part
from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader, Unreadable
from malmoi.corpus.office import Describe, Paragraph, blocks, documents

LEFT_OUT = frozenset({"header", "footer", "hiddenComment", "secPr", "masterPage"})
MANIFEST = "META-INF/manifest.xml"
ITEM = -1


def read(file: InputFile) -> Iterator[Document | Unreadable]:
    archive = open_archive(file)
    names = archive.namelist()
    if MANIFEST in names and b"encryption-data" in read_part(file, archive, MANIFEST):
        raise locked(file)
    sections = {
        int(found[1]): found[0] for name in names if (found := re.fullmatch(r"Contents/section(\d+)\.xml", name))
    }
    if not sections:
        raise Unreadable("damaged", f"{file.path}: no .hwpx file: it has no Contents/section0.xml; save it again")
    describe = _describe(_levels(archive) if "Contents/header.xml" in names else {})
    for number, (_, name) in enumerate(sorted(sections.items()), start=1):
        place = f"section {number}" if len(sections) > 1 else ""
        yield from documents(blocks(archive, name, describe, LEFT_OUT), file.source, place)


def _describe(levels: dict[str, int]) -> Describe:
    def describe(tag: str, element: Element, paragraph: Paragraph | None) -> None:
        if tag == "p" and paragraph is not None:
            level = levels.get(attributes(element).get("paraPrIDRef", ""), 0)
            paragraph.level, paragraph.is_item = max(level, 0), level == ITEM

    return describe


def _levels(archive: zipfile.ZipFile) -> dict[str, int]:
    """The level of each shape of paragraphs: its outline level from 1, ITEM for a list, 0 for plain text."""
    levels, level = dict[str, int](), 0
    for event, element in part_events(archive, "Contents/header.xml"):
        facts, tag = attributes(element), local_name(element.tag)
        if event == "start" and tag == "paraPr":
            level = 0
        elif event == "end" and tag == "heading":
            kind, depth = facts.get("type"), facts.get("level", "0")
            level = int(depth) + 1 if kind == "OUTLINE" and depth.isdecimal() else ITEM * (kind in ("NUMBER", "BULLET"))
        elif event == "end" and tag == "paraPr":
            levels[facts.get("id", "")] = level
    return levels


READER = Reader((".hwpx",), read, is_guarded=True)
