"""Pictures with captions from a folder or archive of one's own: whatever cannot be used is counted and named.

Captions are in a text file of the same name (`cat.png`, `cat.txt`; `cat.en.txt` and `cat.ko.txt` for both languages),
in a file `metadata.jsonl` (`file_name`, `text`, as Hugging Face's imagefolder), or in the tar files of WebDataset
(https://github.com/webdataset/webdataset), where the members of a sample share a name. Archives are never unpacked.
"""

import contextlib
import hashlib
import os
import re
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar

from malmoi.errors import DataError, printable
from malmoi.files import parse_json, sha256_of
from malmoi.image.files import MOST_BYTES, Given, Pixels, decode, read_picture
from malmoi.text import is_blank, nfc

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
ARCHIVES = (".tar", ".tar.gz", ".tgz")
METADATA = "metadata.jsonl"
LANGUAGES = ("en", "ko")
MOST_CHARS = 1000
"""Of a caption; what is longer is cut. No model here reads more."""
MOST_TEXT_BYTES = 1_000_000
EXAMPLES_PER_REASON = 3
UNKNOWN = "not stated"
"""The licence of pictures that come without one."""
_HANGUL = re.compile("[가-힣]")
_FORMATS = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
Captions = Mapping[str, str]
P = TypeVar("P", bound=PurePath)


@dataclass(frozen=True)
class Captioned:
    """A picture and what it shows. captions: language -> text; concept: what is held out as a whole"""

    pixels: Pixels
    captions: Captions
    source: str
    concept: str
    licence: str = UNKNOWN
    attribution: str = ""


@dataclass
class Report:
    """left_out, notes: reason -> pictures; examples: the first few of each reason, with their files"""

    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def leave_out(self, name: str, reason: str) -> None:
        self._count(self.left_out, name, reason)

    def note(self, name: str, reason: str) -> None:
        self._count(self.notes, name, reason)

    def _count(self, counts: Counter[str], name: str, reason: str) -> None:
        counts[reason] += 1
        if counts[reason] <= EXAMPLES_PER_REASON:
            self.examples.append(f"{printable(name)}: {reason}")


def find_files(root: Path, report: Report | None = None) -> list[Path]:
    """Pictures, captions and archives below a folder, or the archive itself. Each folder is entered once, so that
    circular links end; hidden files are ignored. Raises DataError if there is no such file or folder."""
    report = Report() if report is None else report
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; give shapes, emoji, or a folder of pictures with captions")
    if not root.is_dir():
        if not _is_archive(root.name):
            raise DataError(f"{root}: not a folder and not a tar file; give the folder in which the pictures are")
        return [root]

    def refused(error: OSError) -> None:
        report.leave_out(str(error.filename), "folder that cannot be opened")

    found, entered = [], set()
    for folder, names, files in os.walk(root, followlinks=True, onerror=refused):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            names.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        names[:] = [name for name in names if not name.startswith((".", "__MACOSX"))]
        for path in (Path(folder, name) for name in files if not name.startswith(".")):
            if not path.is_file():  # to read from a pipe may never end
                report.leave_out(_below(path, root), "no plain file, or a link to nothing")
            elif path.suffix.lower() in (*SUFFIXES, ".txt") or _is_archive(path.name) or path.name == METADATA:
                found.append(path)
            else:
                report.leave_out(_below(path, root), f"not a picture that is read ({path.suffix or 'no ending'})")
    return sorted(found, key=lambda path: os.fsencode(path.relative_to(root)))


def identity(root: Path, of_file: Callable[[Path], str] = sha256_of) -> str:
    """SHA-256 over names and contents of the files that `collect` reads. Raises DataError as `find_files`."""
    digest = hashlib.sha256()
    for path in find_files(root):
        content = of_file(path) if path.is_file() and os.access(path, os.R_OK) else "cannot be opened"
        digest.update(os.fsencode(path.relative_to(root)) + f"\0{content}\n".encode())
    return digest.hexdigest()


def collect(root: Path, report: Report, seed: int = 0) -> Iterator[Captioned]:
    """Pictures with captions, in an order that depends on their names and the seed only.

    root: a folder, or a tar file; report: is told what is left out
    """
    files = find_files(root, report)
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    rows = _metadata([path for path in files if path.name == METADATA], root, pictures, report)
    texts = {_called(path): path for path in files if path.suffix.lower() == ".txt"}

    for path in shuffled([*pictures, *(path for path in files if _is_archive(path.name))], root, seed):
        name = _below(path, root)
        if _is_archive(path.name):
            yield from _archived(path, name, report)
            continue
        row = rows.get(path, {})
        if not captions_of(row, name, Report()):
            row = {**row, **_beside(path, texts, name, report)}
        if (found := _captioned(_Picture(name, str(path), partial(read_picture, path)), row, report)) is not None:
            yield found
    used = {text for picture in pictures for text in _texts_of(picture).values()}
    for path in sorted(path for called, path in texts.items() if called not in used):
        report.leave_out(_below(path, root), "text without a picture of its name")


def shuffled(paths: Iterable[P], root: P, seed: int) -> list[P]:
    """Paths below `root` by a hash of each, so that more of them change the order of none."""
    return sorted(
        paths, key=lambda path: hashlib.sha256(f"{seed} ".encode() + os.fsencode(path.relative_to(root))).digest()
    )


def _is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def _below(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def _metadata(
    files: list[Path], root: Path, pictures: list[Path], report: Report
) -> dict[Path, Mapping[str, Any]]:  # fmt: skip
    """Picture -> its row. A row only names pictures that the folder was found to have, so none leads out of it."""
    known = {_called(path): path for path in pictures}
    rows: dict[Path, Mapping[str, Any]] = {}
    for file in files:
        try:
            lines = file.read_bytes().decode("utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError):
            report.leave_out(_below(file, root), "metadata that cannot be read as UTF-8")
            continue
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where, row = f"{_below(file, root)}:{number}", _object(line)
            if row is None or not isinstance(row.get("file_name"), str):
                report.leave_out(where, "row of metadata without a file_name")
                continue
            path = known.get(_called(Path(os.path.normpath(file.parent / row["file_name"]))))
            if path is not None:
                rows[path] = row
            else:
                report.leave_out(where, "row of metadata whose picture is not in the folder")
    return rows


def _object(line: str) -> dict[str, Any] | None:
    try:
        row = parse_json(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _called(path: Path) -> str:
    """One name for files whose names mean the same: macOS takes Korean letters apart, and endings may be capitals."""
    stem, dot, ending = str(path).rpartition(".")
    return nfc(f"{stem}{dot}{ending.lower()}")


def _beside(path: Path, texts: Mapping[str, Path], name: str, report: Report) -> Mapping[str, Any]:
    """The text files next to a picture, as a row."""
    row: dict[str, Any] = {}
    for key, called in _texts_of(path).items():
        file = texts.get(called)
        if file is not None and (text := _text(file, name, report)) is not None:
            row[key] = text
    return row


def _texts_of(path: Path) -> dict[str, str]:
    """Key of a row -> the text file that gives it, for a picture, as it is `_called`."""
    named = {language: path.with_name(f"{path.stem}.{language}.txt") for language in LANGUAGES}
    return {key: _called(text) for key, text in {"text": path.with_suffix(".txt"), **named}.items()}


def _text(file: Path, name: str, report: Report) -> str | None:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        report.note(name, "caption that is not UTF-8")
    except OSError:
        report.note(name, "caption that cannot be opened")
    return None


@dataclass(frozen=True)
class _Picture:
    """name: for people; called: what an error calls it; read: raises DataError"""

    name: str
    called: str
    read: Callable[[], Given]


def _captioned(picture: _Picture, row: Mapping[str, Any], report: Report) -> Captioned | None:
    """A picture with the captions of its row, or None after telling why not."""
    name = picture.name
    captions = captions_of(row, name, report)
    if not captions:
        report.leave_out(name, "no caption")
        return None
    try:
        given = picture.read()
    except DataError as error:
        report.leave_out(name, _reason(error, picture.called))
        return None
    if given.remarks:
        report.note(name, "animated: the first frame is taken")
    said = {key: text for key in ("concept", "licence", "license", "attribution") if (text := _plain(row.get(key)))}
    first = captions.get("en") or next(iter(captions.values()))
    concept = said.get("concept") or concept_of(first)
    licence = said.get("licence") or said.get("license") or UNKNOWN
    return Captioned(given.pixels, captions, printable(name), concept, licence, said.get("attribution", ""))


def captions_of(row: Mapping[str, Any], name: str, report: Report) -> dict[str, str]:
    """Language -> caption, of `en`, `ko`, `captions` (both), and `text` or `caption` in either language."""
    several = row.get("captions")
    given = {**(several if isinstance(several, dict) else {}), **row}
    found = {language: text for language in LANGUAGES if (text := _plain(given.get(language)))}
    for key in ("text", "caption"):
        if text := _plain(row.get(key)):
            found.setdefault("ko" if _HANGUL.search(text) else "en", text)
    if any(len(text) > MOST_CHARS for text in found.values()):
        report.note(name, f"caption of more than {MOST_CHARS:,} characters, cut")
    return {language: text[:MOST_CHARS] for language, text in sorted(found.items())}


def concept_of(caption: str) -> str:
    """Captions that differ in case, spaces and the full stop are one."""
    return caption.casefold().rstrip(" .!")


def _plain(value: object) -> str:
    """A text on one line; "" for all else, and for one that says nothing."""
    if not isinstance(value, str) or is_blank(value):
        return ""
    return printable(nfc(" ".join(value.replace("\0", " ").split())))


def _reason(error: DataError, called: str) -> str:
    """Why a picture cannot be read, in the same words for all of the kind."""
    said = str(error).removeprefix(f"{printable(called)}: ")
    if "too large" in said or " MB" in said:
        return "picture that is too large"
    return re.sub(r" ?[(;].*", "", said, flags=re.DOTALL)


def _archived(path: Path, name: str, report: Report) -> Iterator[Captioned]:
    """The samples of a tar file, read one member at a time."""
    broken = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError)
    try:
        archive = tarfile.open(path)  # noqa: SIM115
    except broken:
        report.leave_out(name, "archive that cannot be opened")
        return
    with archive:
        samples: dict[str, dict[str, tarfile.TarInfo]] = {}
        try:
            for member in archive:
                _add_member(member, samples, name, report)
        except broken:
            report.note(name, "archive that ends too early or is damaged: what comes before is read")
        for key, parts in samples.items():
            where = f"{name}/{key}"
            pictures = [part for suffix, part in parts.items() if f".{suffix}" in SUFFIXES]
            if not pictures:
                report.leave_out(where, "caption without a picture")
                continue
            row = _row_of(archive, parts, where, report)
            picture = _Picture(where, where, partial(_decoded, archive, pictures[0], where))
            if (found := _captioned(picture, row, report)) is not None:
                yield found


def _add_member(
    member: tarfile.TarInfo, samples: dict[str, dict[str, tarfile.TarInfo]], name: str, report: Report
) -> None:
    """Put a member to its sample: those whose names are equal up to the first dot."""
    base = PurePosixPath(member.name).name
    if member.isdir() or base.startswith("."):
        return
    where = f"{name}/{member.name}"
    if member.issym() or member.islnk():
        report.leave_out(where, "link in an archive")
    elif not member.isfile():
        report.leave_out(where, "no plain file in an archive")
    else:
        stem, _, suffix = base.partition(".")
        key = member.name.removesuffix(base) + stem
        samples.setdefault(printable(nfc(key)), {})[suffix.lower()] = member


def _row_of(
    archive: tarfile.TarFile, parts: Mapping[str, tarfile.TarInfo], where: str, report: Report
) -> dict[str, Any]:  # fmt: skip
    row: dict[str, Any] = {}
    for suffix in ("json", "txt", "caption", *(f"{language}.txt" for language in LANGUAGES)):
        if suffix not in parts:
            continue
        try:
            text = _member(archive, parts[suffix], MOST_TEXT_BYTES).decode("utf-8-sig")
        except (UnicodeDecodeError, DataError):
            report.note(where, "caption that is not UTF-8, or is cut off")
            continue
        if suffix == "json":
            row |= _object(text) or {}
        else:
            row[suffix.removesuffix(".txt") if "." in suffix else "text"] = text
    return row


def _decoded(archive: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> Given:
    if member.size > MOST_BYTES:
        raise DataError(f"{name}: has more than {MOST_BYTES // 10**6:,} MB; save the picture smaller")
    return decode(_member(archive, member, MOST_BYTES), name)


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    with contextlib.suppress(tarfile.TarError, EOFError, zlib.error, OSError, ValueError):
        opened = archive.extractfile(member)
        data = opened.read(most) if opened is not None else b""
        if len(data) == min(member.size, most):
            return data
    raise DataError("it is cut off in a damaged archive")


def nothing_left(root: Path, report: Report) -> DataError:
    """What to say if no picture is left."""
    said = ", ".join(f"{n:,} × {reason}" for reason, n in (report.left_out + report.notes).items()) or "it is empty"
    how = f"put cat.txt next to cat.png, or write {METADATA} with file_name and text"
    return DataError(f"{root}: no picture with a caption in it ({said}); pictures are {_FORMATS}; {how}")
