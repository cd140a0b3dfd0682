"""An index of a folder follows the folder, reads only what has changed, and is never half made."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.errors import DataError
from malmoi.files import read_json, write_json
from malmoi.retrieval import update
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.terms import terms
from malmoi.retrieval.update import FILES, Updated, update_index

LONG_AGO = time.time() - 1000


def write(path: Path, text: str | bytes, age: float = 0) -> Path:
    """A file that nobody has changed for long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, (LONG_AGO - age, LONG_AGO - age))
    return path


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    write(tmp_path / "notes/pets.md", "# Cats\n\nA cat sleeps all day.\n\n# Dogs\n\nA dog barks at night.\n")
    write(tmp_path / "notes/일/회의.txt", "회의록\n\n다음 회의는 부산에서 열린다.\n")
    write(tmp_path / "notes/rows.jsonl", '{"text": "Snow is cold.", "source": "https://example.com/snow"}\n')
    return tmp_path / "notes"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


def found(folder: Path, question: str) -> list[tuple[str, int]]:
    return [(passage.file, passage.line) for passage, _, _ in Index.open(folder).candidates(terms(question), 10)]


def did(done: Updated) -> tuple[int, int, int]:
    return done.n_read, done.n_unchanged, done.n_removed


def test_only_what_has_changed_is_read_again(notes: Path, folder: Path) -> None:
    assert did(update_index(notes, folder)) == (3, 0, 0)
    assert found(folder, "Who barks?") == [("pets.md", 7)]
    assert found(folder, "다음 회의 장소는 부산") == [("일/회의.txt", 3)]
    assert found(folder, "snow") == [("https://example.com/snow", 0)]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert did(update_index(notes, folder)) == (0, 3, 0)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    write(notes / "pets.md", "# Cats\n\nA cat sleeps all night.\n\nIt barks at birds.\n", age=5)
    (notes / "rows.jsonl").unlink()
    write(notes / "new.md", "A horse runs.\n")
    done = update_index(notes, folder)
    assert did(done) == (2, 1, 1)
    assert found(folder, "Who barks?") == [("pets.md", 3)] and found(folder, "snow") == []
    assert found(folder, "horse") == [("new.md", 1)] and found(folder, "부산") == [("일/회의.txt", 3)]
    assert done.facts["files"] == 3 and done.facts["passages"] == Index.open(folder).n_passages == 3
    assert done.facts["endings"] == {".md": 2, ".txt": 1} and done.facts["languages"] == {"en": 2, "ko": 1}


def test_rows_that_name_their_documents_count_as_documents(tmp_path: Path) -> None:
    """A recipe's text counts the same before and after it is linked into a folder: one meaning of "documents"."""
    texts = [Document("A cat sleeps.", "a"), Document("A dog barks.", "b"), Document("It bites.", "b")]
    rows = "".join(json.dumps({"text": one.text, "source": one.source}) + "\n" for one in texts)
    write(tmp_path / "notes" / "rows.jsonl", rows)
    write(tmp_path / "notes" / "new.md", "A horse runs.\n")
    assert build_index(texts, tmp_path / "built")["files"] == 2
    assert update_index(tmp_path / "notes", tmp_path / "index").facts["files"] == 3


def test_a_file_that_was_just_written_is_read_again(notes: Path, folder: Path) -> None:
    """It could change again within the precision of its time."""
    (notes / "new.md").write_text("A horse runs.")
    update_index(notes, folder)
    assert did(update_index(notes, folder)) == (1, 3, 0)


def test_a_reader_keeps_what_it_opened(notes: Path, folder: Path) -> None:
    update_index(notes, folder)
    opened = Index.open(folder)
    for n in range(3):
        write(notes / "pets.md", f"A horse {n} runs.\n", age=n)
        update_index(notes, folder)
    assert opened.candidates(terms("barks"), 1)[0][0].text == "A dog barks at night."
    assert found(folder, "barks") == [] and found(folder, "horse") == [("pets.md", 1)]


def test_what_cannot_be_read_is_said_every_time(notes: Path, folder: Path) -> None:
    write(notes / "latin.txt", b"caf\xe9 au lait, and more")
    write(notes / "broken.jsonl", '{"text": "Good."}\n{broken\n')
    write(notes / "photo.bin", "x")
    os.symlink(notes / "gone", notes / "link.txt")
    os.symlink(notes, notes / "circle")
    name = os.fsencode(notes) + b"/\xb1\xdb.txt"
    with open(name, "wb") as file:
        file.write("이름이 옛날 것이다.".encode())
    os.utime(name, (LONG_AGO, LONG_AGO))
    expected = {"not UTF-8": 1, "not JSON": 1, "not a format that is read (.bin)": 1, "cannot be opened": 1}
    for n_read in (7, 1):  # a link to nothing is tried again
        done = update_index(notes, folder)
        assert (done.n_read, done.report.skipped) == (n_read, expected) and len(done.report.examples) == 3
    assert found(folder, "good") == [("broken.jsonl", 0)] and found(folder, "옛날 이름") == [("\\xb1\\xdb.txt", 1)]


def test_files_that_change_or_vanish_meanwhile(notes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(notes / "later.txt", "Later is better.")
    reading = update.passages

    def disturbed(documents: Iterable[object]) -> Iterable[object]:
        for n, passage in enumerate(reading(documents)):  # type: ignore[arg-type]
            if n == 0:  # of later.txt, the first
                write(notes / "later.txt", "Changed meanwhile.", age=9)
                (notes / "pets.md").unlink()
            yield passage

    monkeypatch.setattr(update, "passages", disturbed)
    done = update_index(notes, folder)
    assert done.n_changing == 1 and done.report.skipped == {"cannot be opened": 1}
    assert found(folder, "부산") and not found(folder, "barks")
    monkeypatch.setattr(update, "passages", reading)
    assert did(update_index(notes, folder)) == (1, 2, 1)
    assert found(folder, "meanwhile") == [("later.txt", 1)] and found(folder, "better") == []


def test_a_damaged_index_is_made_again(notes: Path, folder: Path) -> None:
    update_index(notes, folder)
    n_passages = Index.open(folder).n_passages
    for damaged in (*(folder / "search").glob("*.store"), folder / "index.json", folder / "search" / "meta.json"):
        damaged.write_bytes(damaged.read_bytes()[:10])
        with pytest.raises(DataError, match=r"damaged.*malmoi index"):
            Index.open(folder)
        done = update_index(notes, folder)
        assert done.n_unchanged == 0 and Index.open(folder).n_passages == n_passages
        assert done.report.notes["index that was damaged, and was made again"] == (damaged.name != "index.json")


def test_another_encoding_or_place_or_format(notes: Path, folder: Path, tmp_path: Path) -> None:
    write(notes / "old.txt", "옛 글자로 쓴 글이다.".encode("cp949"))
    update_index(notes, folder)
    assert found(folder, "글자") == []
    assert did(update_index(notes, folder, "cp949")) == (4, 0, 0) and found(folder, "글자") == [("old.txt", 1)]
    update_index(notes, folder)
    assert found(folder, "글자") == [("old.txt", 1)], "read in the encoding that the index was made with"
    moved = notes.rename(tmp_path / "moved")
    assert did(update_index(moved, folder, "cp949")) == (0, 4, 0)
    write_json(folder / "index.json", {**read_json(folder / "index.json"), "format": "0"})
    with pytest.raises(DataError, match=r"made by another version; run malmoi index .* again"):
        Index.open(folder)
    assert did(update_index(moved, folder, "cp949")) == (4, 0, 0) and found(folder, "글자")
    assert Index.open(folder).n_passages == 5


def test_a_folder_without_text_leaves_the_index_as_it_was(notes: Path, folder: Path, tmp_path: Path) -> None:
    update_index(notes, folder)
    for path in notes.rglob("*.*"):
        write(path, "")
    with pytest.raises(DataError, match="no text in it"):
        update_index(notes, folder)
    assert found(folder, "barks") == [("pets.md", 7)]
    with pytest.raises(DataError, match="nothing to read"):
        update_index(write(tmp_path / "empty/a.bin", "x").parent, tmp_path / "other")


def test_a_killed_update_leaves_the_index_as_it_was(notes: Path, folder: Path) -> None:
    update_index(notes, folder)
    for n in range(30):
        write(notes / f"new{n}.md", "A horse runs.\n")
    write(notes / "pets.md", "# Cats\n\nA cat.\n", age=5)
    slow = (
        "import sys, time; from pathlib import Path; from malmoi import progress; from malmoi.retrieval import update\n"
        "def slowly(done, total, unit):\n    print(done, flush=True); time.sleep(.05)\n"
        "with progress.listening(slowly):\n    update.update_index(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    with subprocess.Popen([sys.executable, "-c", slow, str(notes), str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 10:
            pass
        process.send_signal(signal.SIGKILL)
    assert found(folder, "barks") == [("pets.md", 7)] and found(folder, "horse") == []
    assert did(update_index(notes, folder))[0] == 31
    assert found(folder, "barks") == [] and len(found(folder, "horse")) == 10
    assert not [row for row in (folder / FILES).read_text().splitlines() if not row.startswith("{")]


def test_an_update_that_fails_leaves_nothing_on_the_disk(
    notes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_index(notes, folder)
    before = {path.name: path.stat().st_size for path in (folder / "search").iterdir() if path.name[0] != "."}
    reading = update.passages

    def ends(documents: Iterable[object]) -> Iterable[object]:
        yield from reading(documents)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(update, "passages", ends)
    write(notes / "new.md", "A horse runs.\n" * 1000)
    with pytest.raises(KeyboardInterrupt):
        update_index(notes, folder)
    after = {path.name: path.stat().st_size for path in (folder / "search").iterdir() if path.name[0] != "."}
    assert after == before and found(folder, "barks") == [("pets.md", 7)]


def test_what_is_removed_after_an_update_was_stopped_is_not_found_again(
    notes: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_index(notes, folder)
    (notes / "pets.md").unlink()
    write(notes / "rows.jsonl", '{"text": "Snow is white.", "source": "https://example.com/snow"}\n', age=5)
    write(notes / "new.md", "A horse runs.\n")

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(update.Writer, "commit", stopped)
        with pytest.raises(KeyboardInterrupt):
            update_index(notes, folder)
    (notes / "rows.jsonl").unlink()
    assert update_index(notes, folder).n_removed == 2
    assert found(folder, "barks") == found(folder, "snow") == [] and found(folder, "horse") == [("new.md", 1)]

    # Stopped right after the index has changed.
    write(notes / "second.md", "A goat eats.\n")
    with monkeypatch.context() as patch:
        commit = update.Writer.commit
        patch.setattr(update.Writer, "commit", lambda writer: (commit(writer), stopped()))
        with pytest.raises(KeyboardInterrupt):
            update_index(notes, folder)
    (notes / "second.md").unlink()
    update_index(notes, folder)
    assert found(folder, "goat") == []
