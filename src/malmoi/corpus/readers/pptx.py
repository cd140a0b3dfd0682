"""PowerPoint files: one document per slide, its title as a heading; with tables, diagrams and the speaker's notes."""

import zipfile
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from malmoi.corpus.archive import attributes, local_name, main_part, open_archive, parse_part, related
from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader, Unreadable
from malmoi.corpus.office import Describe, Paragraph, blocks, joined

TITLES = {"title", "ctrTitle"}
LISTS = {"slide": ("", "body", "obj"), "diagramData": (None,), "notesSlide": ()}
"""Kind of a part -> the placeholders whose paragraphs are points of a list; None: a shape without a placeholder."""
NOT_TEXT = {"sldNum", "dt", "ftr", "hdr", "sldImg"}


def read(file: InputFile) -> Iterator[Document | Unreadable]:
    archive = open_archive(file)
    main = main_part(file, archive, "ppt/presentation.xml")
    parts = related(file, archive, main)
    listed = (element for element in parse_part(file, archive, main).iter() if local_name(element.tag) == "sldId")
    slides = [parts[key][1] for key in map(_relationship, listed) if key in parts]
    for number, name in enumerate(slides, start=1):
        yield Document(joined(_slide(file, archive, name)), file.source, place=f"slide {number}")


def _relationship(element: Element) -> str:
    """The relationship of a slide, whose attribute `id` is in a namespace; a number of the same name is in none."""
    return next((value for name, value in element.attrib.items() if name.endswith("}id")), "")


def _slide(file: InputFile, archive: zipfile.ZipFile, name: str) -> Iterator[str]:
    more = [
        (kind, part) for kind, part in related(file, archive, name).values() if kind in ("diagramData", "notesSlide")
    ]
    for kind, part in (("slide", name), *sorted(more)):
        yield from blocks(archive, part, _describe(kind))


def _describe(kind: str) -> Describe:
    """Knows the placeholder of the shape that it is in."""
    placeholder: str | None = None

    def describe(tag: str, element: Element, paragraph: Paragraph | None) -> None:
        nonlocal placeholder
        if tag == "ph":
            placeholder = attributes(element).get("type", "")
        elif tag == "sp":
            placeholder = None
        elif tag == "p" and paragraph is not None:
            paragraph.level, paragraph.is_item = int(placeholder in TITLES), placeholder in LISTS[kind]
            paragraph.is_left_out = placeholder in NOT_TEXT

    return describe


READER = Reader((".pptx", ".pptm"), read, has_rows=True, is_guarded=True)
