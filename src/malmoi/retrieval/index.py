"""An index of passages on disk, searched with BM25 through tantivy.

Files of the index: `index.json` says what is in it and in which format; `search/` is tantivy's. It is opened by memory
map: only what a search reads comes into memory. Ranking is BM25 (Robertson and Zaragoza 2009; k1 1.2, b .75) over the
terms of `malmoi.retrieval.terms`; tantivy sees nothing but these terms.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tantivy

from malmoi.corpus.documents import Document
from malmoi.errors import DataError
from malmoi.files import read_json, write_json
from malmoi.retrieval.passages import Passage, passages_of
from malmoi.retrieval.terms import terms

_PROBE = "How does os.path.join(a, b) join 2,000 pathnames in readFile? 경로를 이어 붙이는 방법은 물을 마시며 배운다."
FORMAT = f"1 {hashlib.sha256(' '.join(terms(_PROBE)).encode()).hexdigest()[:8]}"
"""Of the files on disk, and of the terms in them. An index of another format is made again."""
N_TITLES = 1000
"""Titles that `facts` keeps, at most."""
HEAP_BYTES = 512_000_000
"""Memory for terms that are not yet written, used as needed. It holds the postings of about a million passages."""


@dataclass
class Contents:
    """What is in an index, counted while it is made."""

    files: set[str] = field(default_factory=set)
    n_passages: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    titles: dict[str, None] = field(default_factory=dict)

    def add(self, passage: Passage) -> None:
        self.files.add(passage.file)
        self.n_passages += 1
        self.languages[language_of(passage.text)] += 1
        if passage.heading and len(self.titles) < N_TITLES:
            self.titles.setdefault(passage.heading)

    def to_json(self) -> dict[str, Any]:
        return {
            "files": len(self.files),
            "passages": self.n_passages,
            "languages": dict(self.languages.most_common()),
            "titles": list(self.titles),
        }


def language_of(text: str) -> str:
    """ "ko" if at least a third of the letters are Hangul, else "en"."""
    letters = [character for character in text if character.isalpha()]
    n_hangul = sum("가" <= character <= "힣" for character in letters)
    return "ko" if letters and n_hangul * 3 >= len(letters) else "en"


def build_index(documents: Iterable[Document], folder: Path) -> Mapping[str, Any]:
    """Write an index of the documents into a folder, which must be empty or missing. Returns its `facts`."""
    contents = Contents()
    (folder / "search").mkdir(parents=True)
    index = _tantivy_index(folder / "search")
    writer = index.writer(HEAP_BYTES, 1)
    for document in documents:
        for passage in passages_of(document):
            writer.add_document(_to_tantivy(passage))
            contents.add(passage)
    writer.commit()
    writer.wait_merging_threads()
    facts = contents.to_json()
    write_json(folder / "index.json", {"format": FORMAT, **facts})
    return facts


def _schema() -> tantivy.Schema:
    """terms: of heading and text; heading: of the heading alone; file: to remove a file; row: the passage."""
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("terms", tokenizer_name="terms", index_option="freq")
    schema.add_text_field("heading", tokenizer_name="terms", index_option="freq")
    schema.add_text_field("file", tokenizer_name="raw", index_option="basic")
    schema.add_bytes_field("row", stored=True)
    return schema.build()


def _tantivy_index(folder: Path) -> tantivy.Index:
    index = tantivy.Index(_schema(), str(folder))
    index.register_tokenizer("terms", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
    return index


def _to_tantivy(passage: Passage) -> tantivy.Document:
    heading = terms(passage.heading)
    found = tantivy.Document()
    found.add_text("terms", " ".join(heading + terms(passage.text)))
    found.add_text("heading", " ".join(heading))
    found.add_text("file", passage.file)
    found.add_bytes("row", json.dumps(list(passage.to_row().values()), ensure_ascii=False).encode())
    return found


class Index:
    """An index that is open for searching. It stays as it was when it was opened; readers need not write."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], searcher: tantivy.Searcher) -> None:
        self.folder = folder
        self.facts = facts
        self.n_passages: int = facts["passages"]
        self._searcher = searcher
        self._schema = _schema()

    @classmethod
    def open(cls, folder: Path) -> "Index":
        """Raises DataError if there is no index in the folder, or one of another format."""
        if not (folder / "index.json").is_file():
            raise DataError(f"{folder}: has no index; make one: malmoi index FOLDER")
        facts = read_json(folder / "index.json")
        if facts.get("format") != FORMAT:
            raise DataError(f"{folder}: made by another version; run malmoi index FOLDER again")
        return cls(folder, facts, _open(folder / "search"))

    def candidates(
        self, wanted: Sequence[str] | Mapping[str, float], n: int, heading: float = 0.0
    ) -> list[tuple[Passage, float, int]]:
        """The n passages that fit the terms best: (passage, BM25 score, number of the passage), best first.

        wanted: terms of `malmoi.retrieval.terms`, or term -> weight; a term that is listed twice counts twice
        heading: weight of a term's score in the heading alone, added to its score in heading and text
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
        hits = self._searcher.search(tantivy.Query.boolean_query(parts), n, count=False).hits
        return [(self._passage(address), score, (address.segment_ord << 32) + address.doc) for score, address in hits]

    def passage(self, number: int) -> Passage:
        """The passage with this number; those around it come from the same file in its order."""
        return self._passage(tantivy.DocAddress(number >> 32, number & 0xFFFFFFFF))

    def document_frequency(self, term: str) -> int:
        """In how many passages a term is."""
        return self._searcher.doc_freq("terms", term)

    def _part(self, name: str, term: str, weight: float) -> tuple[tantivy.Occur, tantivy.Query]:
        query = tantivy.Query.term_query(self._schema, name, term, "freq")
        return tantivy.Occur.Should, tantivy.Query.boost_query(query, weight)

    def _passage(self, address: tantivy.DocAddress) -> Passage:
        return Passage(*json.loads(bytes(self._searcher.doc(address)["row"][0])))


def _open(folder: Path) -> tantivy.Searcher:
    index = tantivy.Index.open(str(folder))
    index.config_reader("manual")
    index.reload()
    return index.searcher()
