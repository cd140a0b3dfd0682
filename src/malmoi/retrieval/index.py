"""An index of passages on disk, searched with BM25 through tantivy.

Files of an index: `index.json` says what is in it and in which format; `search/` is tantivy's. It is opened by memory
map: only what a search reads comes into memory. Ranking is BM25 (Robertson and Zaragoza 2009; k1 1.2, b .75) over the
terms of `malmoi.retrieval.terms`; tantivy sees nothing but these terms.
"""

import json
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tantivy

from malmoi.corpus.documents import Document
from malmoi.errors import DataError
from malmoi.files import read_json, write_json
from malmoi.retrieval.contents import Counted, facts_of
from malmoi.retrieval.passages import Passage, passages
from malmoi.retrieval.terms import terms
from malmoi.retrieval.writer import FACTS, FORMAT, SEARCH, Writer, name_by_contents, schema

N_TRIES = 10
"""An update that ends while the files are opened makes opening fail."""


class Index:
    """An index that is open for searching. It stays as it was when it was opened, also while it is updated.

    n_passages: how many it holds
    facts: files, passages, languages ("en", "ko" -> passages), endings (of file names -> files), titles
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], searcher: tantivy.Searcher) -> None:
        self.folder = folder
        self.facts = facts
        self.n_passages = searcher.num_docs
        self._searcher = searcher
        self._schema = schema()

    @classmethod
    def open(cls, folder: Path) -> "Index":
        """Raises DataError if there is no index in the folder, if it is of another format, or broken."""
        if not (folder / FACTS).is_file():
            raise DataError(f"{folder}: has no index; make one: malmoi index FOLDER")
        try:
            facts = read_json(folder / FACTS)
        except DataError:
            raise DataError(f"{folder}: {FACTS} is damaged; make the index again: malmoi index FOLDER") from None
        source = facts.get("source") if isinstance(facts, dict) else None
        mend = f"run {f'malmoi index {shlex.quote(str(source))}' if source else 'the recipe that made it'} again"
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise DataError(f"{folder}: made by another version; {mend}")
        return cls(folder, facts, _searcher(folder / SEARCH, mend))

    def candidates(
        self, wanted: Sequence[str] | Mapping[str, float], n: int, heading: float = 0.0, *, others: bool = False
    ) -> list[tuple[Passage, float, int]]:
        """The n passages that fit the terms best: (passage, BM25 score, number of the passage), best first.

        wanted: terms of `malmoi.retrieval.terms`, or term -> weight; a term that is listed twice counts twice
        heading: weight of the score that a term has in the heading only, added to its score in heading and text
        others: whether passages without any of the terms follow, with score 0
        """
        weights = wanted if isinstance(wanted, Mapping) else Counter(wanted)
        parts = [
            self._part(name, term, weight * share)
            for term, weight in weights.items()
            for name, share in (("terms", 1.0), ("heading", heading))
            if weight * share > 0
        ]
        if not parts or n < 1:
            return []
        if others:
            parts.append((tantivy.Occur.Should, tantivy.Query.boost_query(tantivy.Query.all_query(), 0.0)))
        hits = self._searcher.search(tantivy.Query.boolean_query(parts), n, count=False).hits
        return [(self._passage(address), score, (address.segment_ord << 32) + address.doc) for score, address in hits]

    def passage(self, number: int) -> Passage | None:
        """The passage with this number, which holds as long as the index is open; None after its segment."""
        try:
            return self._passage(tantivy.DocAddress(number >> 32, number & 0xFFFFFFFF))
        except ValueError:
            return None

    def document_frequency(self, term: str) -> int:
        """In how many passages a term is."""
        return self._searcher.doc_freq("terms", term)

    def similar(self, term: str, distance: int, n: int) -> list[str]:
        """At most n terms of headings that differ from a term by at most so many letters, 1 or 2."""
        query = tantivy.Query.fuzzy_term_query(self._schema, "heading", term, distance)
        hits = self._searcher.search(query, n, count=False).hits
        found = {other for _, address in hits for other in terms(self._passage(address).heading)}
        return sorted(other for other in found if abs(len(other) - len(term)) <= distance)

    def _part(self, name: str, term: str, weight: float) -> tuple[tantivy.Occur, tantivy.Query]:
        query = tantivy.Query.term_query(self._schema, name, term, "freq")
        return tantivy.Occur.Should, tantivy.Query.boost_query(query, weight)

    def _passage(self, address: tantivy.DocAddress) -> Passage:
        return Passage(*json.loads(bytes(self._searcher.doc(address)["row"][0])))


def build_index(documents: Iterable[Document], folder: Path) -> dict[str, Any]:
    """Write an index of the documents into a folder that is empty or missing. Returns its facts.

    Equal documents in equal order give equal bytes. Raises UserError if the disk is full or may not be written.
    """
    rows: dict[str, Counted] = {}
    with Writer(folder / SEARCH) as writer:
        for passage in passages(documents):
            writer.add(passage, passage.file)
            rows.setdefault(passage.file, Counted()).add(passage)
        writer.commit()
    name_by_contents(folder / SEARCH)
    facts = {"format": FORMAT} | facts_of((file, counted.to_row()) for file, counted in rows.items())
    write_json(folder / FACTS, facts)
    return facts


def _searcher(folder: Path, mend: str) -> tantivy.Searcher:
    """Raises DataError if tantivy cannot read the folder, also when it is read again after an update.

    mend: what to do then
    """
    for n_left in reversed(range(N_TRIES)):
        try:
            return _linked_searcher(folder)
        except (ValueError, OSError) as error:
            if not n_left:
                why = error.strerror if isinstance(error, OSError) else "files of it are damaged or missing"
                raise DataError(f"{folder.parent}: cannot be opened ({why}); {mend}") from None
            time.sleep(0.05)
    raise AssertionError


def _linked_searcher(folder: Path) -> tantivy.Searcher:
    """Opened through links in a folder of its own: tantivy makes a lock file where it opens an index, but a workspace
    may be read-only, and what a run made stays as it is."""
    with tempfile.TemporaryDirectory(prefix="malmoi-index-") as linked:
        for file in folder.iterdir():
            if not file.name.endswith(".lock"):
                (Path(linked) / file.name).symlink_to(file.absolute())
        index = tantivy.Index.open(linked)
        index.config_reader("manual")
        index.reload()
        return index.searcher()
