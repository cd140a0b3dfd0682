"""`python -m benchmarks.recall FILE…`: how often look-up alone finds the paragraph that a question was asked about.

Each FILE is a published set of questions about paragraphs: KorQuAD or SQuAD ("paragraphs" with "context" and "qas"), or
BoolQ ("passage" and "question", or both in "query"). All paragraphs of a file are indexed. Compared are Malmoi's terms
with tantivy's default analyser (lower case, split at all that is no letter or digit) on the same passages with the same
BM25. Intervals: bootstrap over paragraphs; the difference is paired.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tantivy

from malmoi.corpus.documents import Document
from malmoi.data.table import iterate_rows
from malmoi.errors import DataError
from malmoi.evals.interval import Interval, bootstrap
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.passages import passages
from malmoi.retrieval.terms import terms

N_HITS = 100
RANKS = (1, 5)
Ranked = Callable[[str], Sequence[str]]
"""Question -> ids of paragraphs, best first."""
_QUERY = re.compile(r"Passage:\s*(.*?)\s*\nQuestion:\s*(.*?)\s*(?:\nAnswer:.*)?", re.DOTALL)


def asked(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(paragraph, question) of a row. Raises DataError for any other form."""
    if "paragraphs" in row:
        for paragraph in row["paragraphs"]:
            yield from ((paragraph["context"], question["question"]) for question in paragraph["qas"])
    elif "passage" in row and "question" in row:
        yield row["passage"], row["question"]
    elif (found := _QUERY.fullmatch(row.get("query", ""))) is not None:
        yield found[1], found[2]
    else:
        raise DataError(f"no paragraph and question in a row with {', '.join(row)}")


def malmoi(documents: Sequence[Document], folder: Path) -> Ranked:
    build_index(documents, folder / "malmoi")
    index = Index.open(folder / "malmoi")
    return lambda question: [found.document for found, _, _ in index.candidates(terms(question), N_HITS)]


def default(documents: Sequence[Document]) -> Ranked:
    """tantivy as it comes: its default analyser and its parser of questions."""
    fields = tantivy.SchemaBuilder()
    fields.add_text_field("text")
    fields.add_text_field("document", stored=True, tokenizer_name="raw")
    index = tantivy.Index(fields.build())
    writer = index.writer(100_000_000, 1)
    for passage in passages(documents):
        writer.add_document(tantivy.Document(text=f"{passage.heading}\n{passage.text}", document=passage.document))
    writer.commit()
    index.reload()
    searcher = index.searcher()

    def ranked(question: str) -> list[str]:
        words = re.sub(r"[^\w\s]", " ", question)
        query, _ = index.parse_query_lenient(words, ["text"])
        hits = searcher.search(query, N_HITS, count=False).hits
        return [str(searcher.doc(address)["document"][0]) for _, address in hits]

    return ranked


def measure(path: Path) -> dict[str, Any]:
    """Recall at each of RANKS of both, and the paired difference."""
    pairs = [pair for _, row in iterate_rows(path) for pair in asked(row)]
    texts = dict.fromkeys(text for text, _ in pairs)
    paragraphs = {text: Document(text, f"{number}.txt") for number, text in enumerate(texts)}
    found: dict[str, Any] = {"file": path.name, "paragraphs": len(paragraphs), "questions": len(pairs)}
    with tempfile.TemporaryDirectory() as folder:
        rankers = {"malmoi": malmoi([*paragraphs.values()], Path(folder)), "default": default([*paragraphs.values()])}
        places = {
            name: [_place(list(dict.fromkeys(ranked(question))), paragraphs[text].id) for text, question in pairs]
            for name, ranked in rankers.items()
        }
    groups = [paragraphs[text].id for text, _ in pairs]
    for n in RANKS:
        hits = {name: [float(place < n) for place in those] for name, those in places.items()}
        hits["difference"] = [ours - theirs for ours, theirs in zip(hits["malmoi"], hits["default"], strict=True)]
        found[f"recall at {n}"] = {name: bootstrap(values, groups) for name, values in hits.items()}
    return found


def _place(ranked: Sequence[str], wanted: str) -> int:
    return ranked.index(wanted) if wanted in ranked else N_HITS


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.recall", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for path in given.files:
        found = measure(path)
        if given.json:
            print(json.dumps(found, default=Interval.to_row, indent=2))
            continue
        print(f"{found['file']}: {found['questions']:,} questions about {found['paragraphs']:,} paragraphs")
        for n in RANKS:
            for name, interval in found[f"recall at {n}"].items():
                print(f"  recall at {n}  {name:<10} {interval}")


if __name__ == "__main__":
    main()
