"""The readers on real files; MALMOI_DATA names their folder."""

import os
import re
import tarfile
from collections import Counter
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path

import pytest

from malmoi.corpus.clean import drop_boilerplate, drop_duplicates, normalised, split
from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.synthetic.sections import is_korean
from malmoi.synthetic.text_questions import text_questions

DATA = Path(os.environ.get("MALMOI_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}; MALMOI_DATA names its folder")


def test_books_wikis_and_stories_are_read_whole():
    for name, n_documents in (("storybooks.en", 707), ("storybooks.ko", 30), ("kowiki.valid", 300)):
        report = ReadReport()
        documents = list(read_folder(DATA / "pretrain" / f"{name}.jsonl.gz", report=report))
        assert len(documents) == report.n_documents == n_documents and not report.skipped
        assert len({document.id for document in documents}) == n_documents
    assert documents[0].source == "kowiki.valid.jsonl.gz#그라티아누스 교령집"


@pytest.mark.parametrize("name", ["storybooks.en", "kowiki.valid", "tinystories.valid"])
def test_prose_is_not_taken_for_boilerplate(name):
    dropped: Counter[str] = Counter()
    documents = list(drop_duplicates(normalised(read_folder(DATA / "pretrain" / f"{name}.jsonl.gz"))))
    assert list(drop_boilerplate(documents, 20, dropped)) == documents and not dropped
    sides = Counter(side for side, _ in split(documents, 0.1, 0))
    assert 0.05 < sides["heldout"] / len(documents) < 0.15


def test_korean_questions_from_korean_text():
    documents = list(normalised(islice(read_folder(DATA / "pretrain" / "kowiki.valid.jsonl.gz"), 100)))
    questions = text_questions(documents, 100, 0)
    assert len(questions) == 200
    assert all(is_korean(question.prompt) for question in questions if question.kind != "entry")
    texts = {document.id: document.text for document in documents}
    told = [q for q in questions if q.kind not in ("section", "list", "entry", "price")]
    assert all(" ".join(q.answers[0].split()) in " ".join(texts[q.document].split()) for q in told)


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def words(html: str) -> Counter[str]:
    parser = _Words()
    parser.feed(html)
    return Counter(re.findall(r"\w+", " ".join(parser.pieces)))


def test_pages_give_their_article_and_little_else(tmp_path):
    with tarfile.open(DATA / "web" / "readability_pages.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    found = {d.source: Counter(re.findall(r"\w+", d.text)) for d in read_folder(tmp_path)}
    precisions, recalls = [], []
    for source in sorted(found):
        if source.endswith("/source.html"):
            expected = words((tmp_path / source).with_name("expected.html").read_text(encoding="utf-8"))
            shared = (found[source] & expected).total()
            precisions.append(shared / found[source].total())
            recalls.append(shared / expected.total())
    assert len(recalls) > 70
    assert sum(precisions) / len(precisions) > 0.9 and sum(recalls) / len(recalls) > 0.95
