"""`python -m benchmarks.look_up`: libraries for look-up on the same passages, the same terms and the same questions.

Prints, for each library: the time to build (with cutting text into terms), its peak of memory and size on disk; in a
new process the time to open, the time of a question (median and 95th percentile) for ten passages with their text, and
the peak of memory; and the time to replace the passages of ten files. By default it takes this Python's documentation;
passages beyond those of the text are made by joining halves of two of them.
"""

import argparse
import json
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.side import peak_memory_bytes
from malmoi.corpus.documents import Document
from malmoi.corpus.folder import read_folder
from malmoi.files import files_in, iterate_jsonl, write_json, write_jsonl
from malmoi.retrieval.index import Index
from malmoi.retrieval.passages import Passage, passages
from malmoi.retrieval.terms import terms
from malmoi.retrieval.writer import FACTS, FORMAT, SEARCH, Writer
from malmoi.synthetic.pydocs import read_python_docs

SEED = 1
N_HITS = 10
N_CHANGED = 10
Search = Callable[[list[str]], list[Passage]]


def _terms_of(passage: Passage) -> list[str]:
    return terms(passage.heading) + terms(passage.text)


class Tantivy:
    """What Malmoi uses, as Malmoi uses it."""

    def build(self, given: Iterable[Passage], folder: Path) -> None:
        self.update(given, [], folder)
        write_json(folder / FACTS, {"format": FORMAT})

    def update(self, given: Iterable[Passage], gone: Sequence[str], folder: Path) -> None:
        with Writer(folder / SEARCH) as writer:
            for file in gone:
                writer.remove(file)
            for passage in given:
                writer.add(passage, passage.file)
            writer.commit()

    def open(self, folder: Path) -> Search:
        index = Index.open(folder)
        return lambda wanted: [passage for passage, _, _ in index.candidates(wanted, N_HITS)]


class Fts5:
    """SQLite's full-text search. Its tokenizer knows letters and digits only, so other characters are spelled."""

    def _spelled(self, words: Iterable[str]) -> list[str]:
        return [re.sub(r"[\W_]", lambda found: f"x{ord(found.group()):x}x", word) for word in words]

    def build(self, given: Iterable[Passage], folder: Path) -> None:
        with closing(sqlite3.connect(folder / "fts5.db")) as database, database:
            database.execute("CREATE VIRTUAL TABLE search USING fts5(terms, tokenize='unicode61 remove_diacritics 0')")
            database.execute("CREATE TABLE passage (rowid INTEGER PRIMARY KEY, file TEXT, row TEXT)")
            database.execute("CREATE INDEX passage_file ON passage (file)")
            self._add(given, database)

    def _add(self, given: Iterable[Passage], database: sqlite3.Connection) -> None:
        for passage in given:
            row = json.dumps(list(passage.to_row().values()), ensure_ascii=False)
            number = database.execute("INSERT INTO passage (file, row) VALUES (?, ?)", (passage.file, row)).lastrowid
            text = " ".join(self._spelled(_terms_of(passage)))
            database.execute("INSERT INTO search (rowid, terms) VALUES (?, ?)", (number, text))

    def update(self, given: Iterable[Passage], gone: Sequence[str], folder: Path) -> None:
        with closing(sqlite3.connect(folder / "fts5.db")) as database, database:
            for file in gone:
                database.execute(
                    "DELETE FROM search WHERE rowid IN (SELECT rowid FROM passage WHERE file = ?)", (file,)
                )
                database.execute("DELETE FROM passage WHERE file = ?", (file,))
            self._add(given, database)

    def open(self, folder: Path) -> Search:
        database = sqlite3.connect(folder / "fts5.db")

        def search(wanted: list[str]) -> list[Passage]:
            asked = " OR ".join(f'"{word}"' for word in dict.fromkeys(self._spelled(wanted)))
            found = database.execute(
                "SELECT row FROM passage JOIN (SELECT rowid AS number FROM search WHERE search MATCH ? "
                "ORDER BY rank LIMIT ?) ON passage.rowid = number", (asked, N_HITS),
            )  # fmt: skip
            return [Passage(*json.loads(row)) for (row,) in found]

        weakref.finalize(search, database.close)
        return search


class Bm25s:
    """bm25s, which computes all scores when it builds. It has no update: it is built again."""

    def build(self, given: Iterable[Passage], folder: Path) -> None:
        import bm25s

        numbers: dict[str, int] = {}
        ids, starts = [], [0]
        with (folder / "rows.jsonl").open("wb") as rows:
            for passage in given:
                ids.append([numbers.setdefault(word, len(numbers)) for word in _terms_of(passage)])
                row = json.dumps(list(passage.to_row().values()), ensure_ascii=False).encode()
                starts.append(starts[-1] + rows.write(row))
        np.save(folder / "starts.npy", starts)
        model = bm25s.BM25()
        model.index((ids, numbers), show_progress=False)
        model.save(folder / "bm25s")

    def open(self, folder: Path) -> Search:
        import bm25s

        model = bm25s.BM25.load(folder / "bm25s", mmap=True)
        rows, starts = np.memmap(folder / "rows.jsonl", mode="r"), np.load(folder / "starts.npy", mmap_mode="r")

        def search(wanted: list[str]) -> list[Passage]:
            known = [word for word in wanted if word in model.vocab_dict]
            if not known:
                return []
            found, scores = model.retrieve([known], k=min(N_HITS, len(starts) - 1), show_progress=False)
            places = [int(number) for number, score in zip(found[0], scores[0], strict=True) if score > 0]
            return [Passage(*json.loads(rows[starts[at] : starts[at + 1]].tobytes())) for at in places]

        return search


LIBRARIES: dict[str, Any] = {"tantivy": Tantivy, "fts5": Fts5, "bm25s": Bm25s}


def prepare(source: Path | None, n: int, folder: Path) -> None:
    """Write `passages.jsonl`, exactly n of them."""
    documents: Iterator[Document] = (
        (document for document, _ in read_python_docs(packages=())) if source is None else read_folder(source, "skip")
    )
    write_jsonl(folder / "passages.jsonl", (list(passage.to_row().values()) for passage in _enlarged(documents, n)))


def _enlarged(documents: Iterable[Document], n: int) -> Iterator[Passage]:
    """Passages of the documents, then halves of two of them, in the proportions of the text."""
    rng, real = random.Random(SEED), []
    for passage in islice(passages(documents), n):
        real.append(passage)
        yield passage
    for number in range(n - len(real)):
        a, b = rng.choice(real), rng.choice(real)
        first, second = a.text.split(" "), b.text.split(" ")
        text = " ".join(first[: len(first) // 2] + second[len(second) // 2 :])
        yield Passage(text, f"{a.file}/{number}", a.heading, 0, "", "")


def questions_of(folder: Path, n: int) -> list[str]:
    """Questions made of the text: 5 to 12 words in a row of n passages."""
    rng, found = random.Random(SEED), list[str]()
    rows = list(islice(iterate_jsonl(folder / "passages.jsonl"), 20 * n))
    while len(found) < n:
        words = rng.choice(rows)[0].split()
        start = rng.randrange(max(1, len(words) - 5))
        found.append(" ".join(words[start : start + rng.randint(5, 12)]))
    return found


def build(library: str, folder: Path) -> dict[str, float]:
    made = folder / library
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    began = time.perf_counter()
    LIBRARIES[library]().build((Passage(*row) for row in iterate_jsonl(folder / "passages.jsonl")), made)
    return {
        "build_s": time.perf_counter() - began,
        "build_gb": peak_memory_bytes() / 1e9,
        "disk_gb": sum(path.stat().st_size for path in files_in(made)) / 1e9,
    }


def search(library: str, folder: Path) -> dict[str, float]:
    """The first question warms up nothing but the program: the pages of the index come into memory as they are read."""
    questions = json.loads((folder / "questions.json").read_text())
    began = time.perf_counter()
    look_up = LIBRARIES[library]().open(folder / library)
    opened = time.perf_counter() - began
    seconds = []
    for question in questions:
        began = time.perf_counter()
        look_up(terms(question))
        seconds.append(time.perf_counter() - began)
    seconds.sort()
    return {
        "open_ms": 1e3 * opened,
        "median_ms": 1e3 * seconds[len(seconds) // 2],
        "p95_ms": 1e3 * seconds[int(0.95 * len(seconds))],
        "search_gb": peak_memory_bytes() / 1e9,
    }


def update(library: str, folder: Path) -> dict[str, float]:
    """Replace the passages of ten files."""
    if not hasattr(LIBRARIES[library], "update"):
        return {}
    files = list(dict.fromkeys(row[1] for row in islice(iterate_jsonl(folder / "passages.jsonl"), 1000)))[:N_CHANGED]
    new = [Passage(*row) for row in islice(iterate_jsonl(folder / "passages.jsonl"), 1000) if row[1] in files]
    began = time.perf_counter()
    LIBRARIES[library]().update(new, files, folder / library)
    return {"update_s": time.perf_counter() - began}


def _in_a_process(step: str, library: str, folder: Path) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.look_up",
        "--step",
        step,
        "--library",
        library,
        "--folder",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:]}
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.look_up", description=__doc__)
    parser.add_argument("--library", choices=list(LIBRARIES), action="append", help="default: each of them")
    parser.add_argument("--passages", type=int, default=50_000, metavar="N", help="default 50,000")
    parser.add_argument("--text", type=Path, metavar="FOLDER", help="files to take passages from")
    parser.add_argument("--questions", type=Path, metavar="FILE", help="one a line; default: made of the text")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="keep passages and indexes here, and use them again")
    parser.add_argument("--step", choices=["build", "search", "update"], help="only this one, in this process")
    given = parser.parse_args()
    libraries = given.library or list(LIBRARIES)
    if given.step:
        print(json.dumps({"build": build, "search": search, "update": update}[given.step](libraries[0], given.folder)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = given.folder or Path(made)
        folder.mkdir(exist_ok=True)
        if not (folder / "passages.jsonl").exists():
            prepare(given.text, given.passages, folder)
        asked = given.questions.read_text().splitlines() if given.questions else questions_of(folder, 1000)
        write_json(folder / "questions.json", asked)
        for library in libraries:
            found = {"library": library}
            for step in ("build", "search", "update"):
                found |= _in_a_process(step, library, folder)
            print(json.dumps({key: round(v, 3) if isinstance(v, float) else v for key, v in found.items()}), flush=True)


if __name__ == "__main__":
    main()
