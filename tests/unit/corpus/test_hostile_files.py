"""Damaged, locked and hostile files: each costs a line, and the others are read."""

import io
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from malmoi.corpus import archive
from malmoi.corpus.documents import Document
from malmoi.corpus.folder import ReadReport, find_files, read_folder
from malmoi.corpus.guard import Guard, read_guarded
from malmoi.corpus.input_file import Unreadable
from malmoi.corpus.readers import all_readers
from malmoi.errors import DataError
from tests.unit.corpus.test_office import epub, hwpx, paragraph, pdf

GUARDED = sorted(suffix for suffix, reader in all_readers().items() if reader.is_guarded)


def saved(made: object) -> bytes:
    data = io.BytesIO()
    made.save(data)  # type: ignore[attr-defined]
    return data.getvalue()


@pytest.fixture(scope="module")
def good() -> dict[str, bytes]:
    """A small real file of each guarded format."""
    word, slides, book = docx.Document(), pptx.Presentation(), openpyxl.Workbook()
    word.add_heading("Head", 1)
    word.add_paragraph("Words.")
    slides.slides.add_slide(slides.slide_layouts[0]).shapes.title.text = "Words"
    book.active.append(["Name", "Sum"])
    book.active.append(["Kim", "=1+1"])
    files = {".docx": saved(word), ".pptx": saved(slides), ".xlsx": saved(book), ".pdf": pdf("Words.")}
    files |= {".hwpx": hwpx(paragraph("Words.")), ".epub": epub("<p>Words.</p>")}
    return files | {
        macros: files[plain] for macros, plain in ((".docm", ".docx"), (".pptm", ".pptx"), (".xlsm", ".xlsx"))
    }


def problem(path: Path, data: bytes) -> str:
    """The one line that is said about a file which cannot be read; a text next to it is read all the same."""
    path.write_bytes(data)
    (path.parent / "z.txt").write_text("Still read.")
    report = ReadReport()
    assert [document.text for document in read_folder(path.parent, "skip", report)][-1] == "Still read."
    assert report.skipped.total() == 1 == len(report.examples), report
    assert "\n" not in report.examples[0] and report.examples[0].startswith(f"{path}: ")
    return report.examples[0].removeprefix(f"{path}: ")


def packed(**parts: str | bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in parts.items():
            made.writestr(name, text)
    return data.getvalue()


@pytest.mark.parametrize("suffix", GUARDED)
def test_every_format_has_a_good_file_and_its_macros_are_not_looked_at(
    tmp_path: Path, good: dict[str, bytes], suffix: str
) -> None:
    (tmp_path / f"a{suffix.upper()}").write_bytes(good[suffix])
    assert all("Words" in document.text or "Kim" in document.text for document in read_folder(tmp_path))


@pytest.mark.parametrize("suffix", GUARDED)
def test_what_is_empty_or_of_another_format_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    assert re.match("empty; copy|no PDF file", problem(path, b""))
    assert re.search(r"no (\.\w+|PDF) file, or damaged", problem(path, b"<html>not what its name says</html>"))
    if suffix != ".pdf":
        assert "a part" in problem(path, packed(other="x")) or "save it again" in problem(path, packed(other="x"))


@pytest.mark.parametrize("suffix", [".docx", ".xlsx", ".pptx"])
def test_office_files_with_a_password_or_of_older_versions_are_named(tmp_path: Path, suffix: str) -> None:
    ole = bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600
    name = "EncryptedPackage".encode("utf-16-le")
    assert problem(tmp_path / f"a{suffix}", ole + name) == "locked by a password; save a copy without one"
    assert "of an older format" in problem(tmp_path / f"a{suffix}", ole)


@pytest.mark.parametrize("suffix", [suffix for suffix in GUARDED if suffix != ".pdf"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, good: dict[str, bytes], suffix: str) -> None:
    data = io.BytesIO(good[suffix])
    with zipfile.ZipFile(data, "a", zipfile.ZIP_DEFLATED) as made:
        made.writestr("word/bomb.xml", b" " * 30_000_000)
    assert "packed" in (said := problem(tmp_path / f"a{suffix}", data.getvalue())) and "zip bomb" in said
    many = io.BytesIO(good[suffix])
    with zipfile.ZipFile(many, "a") as made:
        for n in range(archive.MAX_ENTRIES + 1):
            made.writestr(f"x{n}", "")
    assert "parts; at most 50,000 are allowed" in problem(tmp_path / f"a{suffix}", many.getvalue())


def test_a_forged_size_unpacks_no_more_than_it_says(tmp_path: Path) -> None:
    section = f"<s>{'<p><t>word</t></p>' * 100_000}</s>".encode()
    data = packed(**{"Contents/section0.xml": section})
    size = len(section).to_bytes(4, "little")
    assert data.count(size) == 2
    forged = data.replace(size, (1000).to_bytes(4, "little"))
    assert "cannot be read as .hwpx" in problem(tmp_path / "a.hwpx", forged)


LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    + "".join(f'<!ENTITY {y} "{f"&{x};" * 8}">' for x, y in zip("bcdefghi", "cdefghij", strict=True))
    + '<!ENTITY f0 SYSTEM "file:///etc/passwd">]>'
)
XML_PARTS = {
    ".docx": ("word/document.xml", "<d><p><t>{}</t></p></d>"),
    ".pptx": ("ppt/presentation.xml", "<d>{}</d>"),
    ".xlsx": ("xl/workbook.xml", "<d>{}</d>"),
    ".hwpx": ("Contents/section0.xml", "<d><p><t>{}</t></p></d>"),
    ".epub": ("META-INF/container.xml", "<d>{}</d>"),
}


def replaced(data: bytes, name: str, text: str) -> bytes:
    """The file with another part of this name."""
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        parts = {entry: made.read(entry) for entry in made.namelist()}
    return packed(**(parts | {name: text.encode()}))


@pytest.mark.parametrize("suffix", XML_PARTS)
@pytest.mark.parametrize("entity", ["&j;", "&f0;"])
def test_entities_are_refused(tmp_path: Path, good: dict[str, bytes], suffix: str, entity: str) -> None:
    name, part = XML_PARTS[suffix]
    said = problem(tmp_path / f"a{suffix}", replaced(good[suffix], name, LAUGHS + part.format(entity)))
    assert "Entit" in said


@pytest.mark.parametrize("suffix", [".docx", ".hwpx"])
def test_what_is_nested_without_end_is_refused(tmp_path: Path, good: dict[str, bytes], suffix: str) -> None:
    name, part = XML_PARTS[suffix]
    deep = part.format("<p><r><tbl><tr><tc>" * 50_000 + "x" + "</tc></tr></tbl></r></p>" * 50_000)
    assert "nested too deeply" in problem(tmp_path / f"a{suffix}", replaced(good[suffix], name, deep))


def test_names_that_lead_out_of_the_file_are_names_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "secret.xhtml").write_text("<p>secret</p>")
    texts = tmp_path / "texts"
    texts.mkdir()
    href = "../" * 30 + str(tmp_path / "secret.xhtml").lstrip("/")
    package = f"<p><item id='a' href='{href}' media-type='text/html'/><itemref idref='a'/></p>"
    container = "<c><rootfile full-path='book.opf'/></c>"
    data = packed(**{"META-INF/container.xml": container, "book.opf": package, "../../out.txt": "x", "/abs": "y"})
    assert "secret.xhtml is missing" in problem(texts / "a.epub", data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret.xhtml", "texts"]


def test_a_page_that_is_never_done_is_stopped_and_the_next_file_is_read(tmp_path: Path) -> None:
    slow = pdf("x").replace(b"(x) Tj T*", b"(x) Tj T* " * 3_000_000)
    (tmp_path / "a.pdf").write_bytes(re.sub(rb"/Length \d+", b"/Length 30000100", slow))
    (tmp_path / "b.pdf").write_bytes(pdf("Words."))
    with Guard(part_limit_s=0.2) as guard:
        (stopped,) = guard.documents(tmp_path / "a.pdf", "a.pdf", Counter())
        assert isinstance(stopped, Unreadable) and stopped.reason == "took longer than 0.2 s"
        assert str(stopped).startswith(f"{tmp_path / 'a.pdf'}: reading it took longer than 0.2 s; ")
    with Guard(file_limit_s=60) as guard:
        (document,) = guard.documents(tmp_path / "b.pdf", "b.pdf", Counter())
        assert isinstance(document, Document) and document.text == "Words."


def test_a_reader_that_breaks_down_costs_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(*["Words."] * 2000))
    with Guard() as guard:
        found = guard.documents(tmp_path / "a.pdf", "a.pdf", Counter())
        assert isinstance(next(found), Document)
        assert guard._process is not None
        os.kill(guard._process._process.pid, signal.SIGKILL)
        *_, last = found
        assert isinstance(last, Unreadable) and "its reader broke down (signal 9)" in str(last)
        (tmp_path / "a.pdf").write_bytes(pdf("Words."))
        assert [type(one) for one in guard.documents(tmp_path / "a.pdf", "a.pdf", Counter())] == [Document]


def test_documents_that_are_not_wanted_any_more_leave_no_process(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(*["Words."] * 500))
    found = read_folder(tmp_path)
    next(found)
    children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args"], capture_output=True, text=True)
    assert "malmoi.corpus.guard" in children.stdout
    found.close()  # type: ignore[attr-defined]
    children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args"], capture_output=True, text=True)
    assert "malmoi.corpus.guard" not in children.stdout


KILLED = """
import os, subprocess, sys, time
from pathlib import Path
from malmoi.corpus.folder import read_folder
found = read_folder(Path(sys.argv[1]))
next(found)
listed = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "malmoi.corpus.guard"], capture_output=True, text=True)
print(listed.stdout.split()[0], flush=True)
time.sleep(60)
"""


def test_the_watched_process_ends_with_the_one_that_asks(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(*["Words."] * 500))
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        watched = int(asking.stdout.readline())
        asking.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{watched}/cmdline").exists() and Path(f"/proc/{watched}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from(GUARDED), seed=st.integers(0, 2**32), n=st.integers(1, 30), is_unpacked=st.booleans())
def test_any_damage_gives_documents_and_counted_reasons(
    tmp_path: Path, good: dict[str, bytes], suffix: str, seed: int, n: int, is_unpacked: bool
) -> None:
    chance, data = random.Random(seed), good[suffix]
    if is_unpacked and suffix != ".pdf":  # the parts of a zip file, not the zip file around them
        with zipfile.ZipFile(io.BytesIO(data)) as made:
            parts = {name: made.read(name) for name in made.namelist()}
        name = chance.choice(sorted(parts))
        data = packed(**(parts | {name: damaged(parts[name], n, chance)}))
    else:
        data = damaged(data, n, chance)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    for found in read_guarded(path, "a", Counter()):
        assert isinstance(found, Document | Unreadable)
        assert isinstance(found, Document) or (found.reason and "\n" not in str(found))


def damaged(data: bytes, n: int, chance: random.Random) -> bytes:
    """Bytes changed, cut out, doubled, or cut off."""
    made = bytearray(data)
    for _ in range(n):
        at, length = chance.randrange(len(made) + 1), chance.randrange(20)
        made[at : at + length * chance.randrange(2)] = chance.choice(
            (chance.randbytes(length), made[at : at + length], b"<", b"", b"&#0;", b"9" * length)
        )
    return bytes(made[: chance.choice((None, chance.randrange(len(made) + 1)))])


def test_lock_files_pictures_and_older_formats_are_counted_with_what_to_do(tmp_path: Path) -> None:
    for name in ("~$a.docx", "b.hwp", "c.doc", "d.PNG", "e.xyz", "f", ".~lock.g.odt#"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"nothing to read \(.*\.hwp: save as \.hwpx or \.pdf in Hangul"):
        find_files(tmp_path, "skip", ReadReport())
    (tmp_path / "a.docx").write_bytes(b"")
    report = ReadReport()
    assert find_files(tmp_path, "strict", report) == [tmp_path / "a.docx"]
    assert report.skipped == {
        "lock file of an office program": 1,
        "not a format that is read (.hwp: save as .hwpx or .pdf in Hangul)": 1,
        "not a format that is read (.doc: save as .docx or .pdf in the program that made it)": 1,
        "not a format that is read (.PNG: OCR makes text of a picture)": 1,
        "not a format that is read (.xyz)": 1,
        "not a format that is read (no ending)": 1,
    }


def test_a_file_that_gives_nothing_is_counted(tmp_path: Path) -> None:
    for name in ("a.csv", "b.jsonl", "c.txt", "d.tsv"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "z.txt").write_text("Words.")
    report = ReadReport()
    assert len(list(read_folder(tmp_path, report=report))) == 1
    assert report.skipped == {"no text in it": 4}


@pytest.mark.parametrize("name", ["b.txt", "b.pdf", "b.csv"])
def test_files_that_vanish_or_change_while_others_are_read_are_counted(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("First.")
    (tmp_path / name).write_bytes(pdf("Words.") if name.endswith("pdf") else b"Words, and,more\n")
    (tmp_path / "c.txt").write_text("Last.")
    report = ReadReport()
    found = read_folder(tmp_path, "skip", report)
    next(found)
    (tmp_path / name).unlink()
    (tmp_path / "a.txt").write_text("First, and longer.")
    assert [document.text for document in found] == ["Last."]
    assert report.skipped == {"cannot be opened": 1} and report.notes == {"file that changed while it was read": 1}
    assert f"{tmp_path / name}: cannot be read (No such file or directory)" in report.examples[0]


def test_names_that_are_not_utf8_reach_the_watched_process(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xc7\xd1.pdf")).write_bytes(pdf("Words."))
    except OSError:
        pytest.skip("this disk takes names in UTF-8 alone")
    assert [document.source for document in read_folder(tmp_path)] == [r"\xc7\xd1.pdf"]
