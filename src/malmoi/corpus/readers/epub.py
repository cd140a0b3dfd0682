"""Books: one document per chapter, read as a web page."""

import io
import zipfile
from collections.abc import Iterator

from malmoi.corpus.archive import attributes, local_name, open_archive, parse_part, read_part, resolved
from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader, Unreadable
from malmoi.corpus.readers.html import readable_text
from malmoi.text import is_blank

CONTAINER, ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def read(file: InputFile) -> Iterator[Document | Unreadable]:
    archive = open_archive(file)
    number, encrypted = 0, _encrypted(file, archive)
    for name in _chapters(file, archive):
        if name in encrypted:
            raise Unreadable("locked by its publisher", f"{file.path}: locked by its publisher (DRM); leave it out")
        page = InputFile(file.path, file.source, io.BytesIO(read_part(file, archive, name)), file.fallback)
        text = readable_text(page)
        if not is_blank(text):
            number += 1
            yield Document(text, file.source, place=f"chapter {number}")


def _chapters(file: InputFile, archive: zipfile.ZipFile) -> list[str]:
    """The parts that are read one after the other, without the table of contents."""
    roots = (attributes(element) for element in parse_part(file, archive, CONTAINER).iter())
    package = next((facts["full-path"] for facts in roots if "full-path" in facts), "")
    items, order = dict[str, str](), list[str]()
    for element in parse_part(file, archive, package).iter():
        tag, facts = local_name(element.tag), attributes(element)
        is_contents = "nav" in facts.get("properties", "").split()
        if tag == "item" and facts.get("media-type") in PAGES and not is_contents:
            items[facts.get("id", "")] = resolved(package, facts.get("href", ""))
        elif tag == "itemref":
            order.append(facts.get("idref", ""))
    return [items[key] for key in dict.fromkeys(order) if key in items]


def _encrypted(file: InputFile, archive: zipfile.ZipFile) -> set[str]:
    """The parts that are encrypted: fonts often are, and then it does not matter."""
    if ENCRYPTION not in archive.namelist():
        return set()
    found = (attributes(element).get("URI", "") for element in parse_part(file, archive, ENCRYPTION).iter())
    return {resolved("", uri) for uri in found if uri}


READER = Reader((".epub",), read, has_rows=True, is_guarded=True)
