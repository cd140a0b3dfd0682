"""Zip files of XML, as .docx, .pptx, .xlsx, .epub and .hwpx are: checked before anything is unpacked.

Nothing is ever written to disk, so names with ".." or a leading "/" are names like any other.
"""

import mmap
import posixpath
import zipfile
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from malmoi.corpus.input_file import InputFile, Unreadable

MAX_ENTRIES = 50_000
MAX_UNPACKED_BYTES = 2 * 2**30
MAX_RATIO = 200
"""Text of office files is packed 3 to 50 times. Small files may be packed better: RATIO_COUNTS_FROM_BYTES."""
RATIO_COUNTS_FROM_BYTES = 20 * 2**20
MAX_PART_BYTES = 256 * 2**20
"""Largest part that is unpacked into memory as a whole."""
MAX_DEPTH = 1000
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_LOCKED = "EncryptedPackage".encode("utf-16-le")


def open_archive(file: InputFile) -> zipfile.ZipFile:
    """The zip file. Raises Unreadable if it is none, is locked by a password, or would unpack to too much."""
    ending = file.path.suffix.lower()
    head = file.stream.read(len(_OLE))
    file.stream.seek(0)
    if not head:
        raise Unreadable("empty file", f"{file.path}: empty; copy or download it again")
    if head == _OLE:
        with mmap.mmap(file.stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            is_locked = data.find(_LOCKED) >= 0
        raise locked(file) if is_locked else Unreadable("of another format", f"{file.path}: {_older(ending)}")
    try:
        archive = zipfile.ZipFile(file.stream)
    except zipfile.BadZipFile:
        message = f"{file.path}: no {ending} file, or damaged or cut short; copy, download or save it again"
        raise Unreadable("damaged", message) from None
    _check_size(file, archive.infolist())
    return archive


def locked(file: InputFile) -> Unreadable:
    return Unreadable("locked by a password", f"{file.path}: locked by a password; save a copy without one")


def _older(ending: str) -> str:
    return f"a file of an older format under the name {ending}; save it as {ending} in the program that made it"


def _check_size(file: InputFile, entries: list[zipfile.ZipInfo]) -> None:
    unpacked, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    ratio = unpacked / max(1, packed)
    what = ""
    if len(entries) > MAX_ENTRIES:
        what = f"{len(entries):,} parts; at most {MAX_ENTRIES:,} are allowed"
    elif unpacked > MAX_UNPACKED_BYTES:
        what = f"{unpacked / 2**30:.1f} GB when unpacked; at most {MAX_UNPACKED_BYTES / 2**30:g} are allowed"
    elif ratio > MAX_RATIO and unpacked > RATIO_COUNTS_FROM_BYTES:
        what = f"{unpacked / 2**20:,.0f} MB packed {ratio:,.0f} times smaller, as in a zip bomb"
    if what:
        raise Unreadable("too large when unpacked", f"{file.path}: {what}; split it, or leave it out")
    if any(entry.flag_bits & 1 for entry in entries):
        raise locked(file)


def read_part(file: InputFile, archive: zipfile.ZipFile, name: str) -> bytes:
    """A part, unpacked. Raises Unreadable if it is not there or too large."""
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise Unreadable("damaged", f"{file.path}: its part {name} is missing; save it again") from None
    if entry.file_size > MAX_PART_BYTES:
        what = (
            f"its part {name} has {entry.file_size / 2**20:,.0f} MB; at most {MAX_PART_BYTES / 2**20:.0f} are allowed"
        )
        raise Unreadable("too large when unpacked", f"{file.path}: {what}; split it, or leave it out")
    return archive.read(entry)


def parse_part(file: InputFile, archive: zipfile.ZipFile, name: str) -> Element:
    """The root of an XML part. Entities are refused, so nothing can be expanded without end."""
    from defusedxml.ElementTree import fromstring

    root: Element = fromstring(read_part(file, archive, name))
    return root


def part_events(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[str, Element]]:
    """("start" or "end", element) of an XML part, while it is read. The caller clears what it is done with."""
    from defusedxml.ElementTree import iterparse

    depth = 0
    with archive.open(name) as stream:
        for event, element in iterparse(stream, ("start", "end")):
            depth += 1 if event == "start" else -1
            if depth > MAX_DEPTH:
                raise RecursionError
            yield event, element


def local_name(name: str) -> str:
    """A tag or attribute without its namespace."""
    return name.rpartition("}")[2]


def attributes(element: Element) -> dict[str, str]:
    """An element's attributes by their local names."""
    return {local_name(name): value for name, value in element.attrib.items()}


def related(file: InputFile, archive: zipfile.ZipFile, name: str) -> dict[str, tuple[str, str]]:
    """Relationships of a part of an Open Packaging file: id -> (last word of the type, name of the part).

    name: "" for the package itself. Parts outside the file are left out.
    """
    folder, _, base = name.rpartition("/")
    relationships = posixpath.join(folder, "_rels", f"{base}.rels")
    if relationships not in archive.namelist():
        return {}
    found = {}
    for element in parse_part(file, archive, relationships):
        facts = attributes(element)
        if facts.get("TargetMode") != "External":
            kind, target = facts.get("Type", "").rpartition("/")[2], facts.get("Target", "")
            found[facts.get("Id", "")] = (kind, resolved(name, target))
    return found


def main_part(file: InputFile, archive: zipfile.ZipFile, usual: str) -> str:
    """The name of an Open Packaging file's main part."""
    return next((name for kind, name in related(file, archive, "").values() if kind == "officeDocument"), usual)


def resolved(base: str, target: str) -> str:
    """The name of the part that `target`, a relative URL in the part `base`, points to."""
    path = unquote(target.partition("#")[0])
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(base), path)).lstrip("/")
