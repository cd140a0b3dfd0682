"""Pages that a person is asked about, and the file that keeps what the person said."""

import hashlib
import heapq
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from malmoi.corpus.built import open_built, rows_of_shard
from malmoi.corpus.form import INDEX, PLAN, Counts, Settings
from malmoi.corpus.labels import read_rows
from malmoi.corpus.part import pages_in
from malmoi.corpus.sources import find_sources
from malmoi.corpus.steps.page import Page
from malmoi.errors import DataError
from malmoi.files import disk_errors, to_json, write_bytes
from malmoi.text import text_digest

N_SHARDS, FROM_FIRST = 8, 3000
"""Pages are drawn from so many shards of a corpus, or from so many first pages of other files."""
EVERYTHING = Settings(languages=(), min_score=0, rules=())


def pages_to_label(given: Path, n: int, language: str = "") -> list[Page]:
    """At most n pages in an order that is random and always the same, without exact copies.

    given: a corpus, or files that one is built from; of files all pages with main text come, whatever their language
        and quality, of a corpus those that were kept
    language: if given, only pages in this one
    Raises DataError if there are none.
    """
    built = (given / INDEX).exists() or (given / PLAN).exists()
    seen: set[bytes] = set()

    def fitting() -> Iterator[Page]:
        for page in _built(given) if built else _of_files(given):
            key = text_digest(page.text)
            if key not in seen and language in ("", page.metadata["language"]):
                seen.add(key)
                yield page

    pages = heapq.nsmallest(n, fitting(), key=lambda page: _place(page.id))
    if not pages:
        raise DataError(f"{given}: no page in it to ask about{f' in language {language}' if language else ''}")
    return pages


def _place(id_: str) -> bytes:
    return hashlib.sha256(id_.encode()).digest()


def _built(folder: Path) -> Iterator[Page]:
    shards = open_built(folder)["shards"]
    for at in range(min(N_SHARDS, len(shards))):
        yield from rows_of_shard(folder / shards[at * len(shards) // min(N_SHARDS, len(shards))]["file"])


def _of_files(given: Path) -> Iterator[Page]:
    sources, _ = find_sources([str(given)])
    with tempfile.TemporaryDirectory() as scratch:
        yield from islice(pages_in(sources, Path(scratch), EVERYTHING, None, Counts(), []), FROM_FIRST)


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
        known = {name: page.metadata[name] for name in ("url", "language") if page.metadata.get(name)}
        row = {"id": page.id, **known, "label": None if keep is None else int(keep), "text": page.text}
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
        n = Counter({1: "keep", 0: "drop", None: "unsure"}.get(row["label"], row["label"]) for row in self.rows)
        return ", ".join(f"{n[name]:,} {name}" for name in ("keep", "drop", "unsure") if n[name] or name != "unsure")
