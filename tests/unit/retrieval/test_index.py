"""Passages are found again by their terms, with the file, heading and line they came from."""

from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.errors import DataError
from malmoi.files import write_json
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.terms import terms

DOCUMENTS = [
    Document("# Cats\n\nA cat sleeps all day.\n\n# Dogs\n\nA dog barks at night.", "pets.md", line=1),
    Document("function json.dumps(obj)\nSerialize obj to a JSON string.", "python:json.dumps"),
    Document("회의록\n\n다음 회의는 부산에서 열린다.", "회의.txt", line=1),
]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    build_index(DOCUMENTS, tmp_path / "index")
    return Index.open(tmp_path / "index")


@pytest.mark.parametrize(
    ("question", "file", "line"),
    [
        ("Who barks?", "pets.md", 7),
        ("how do I serialize to json", "python:json.dumps", 0),
        ("다음 회의 장소는 부산인가요", "회의.txt", 3),
    ],
)
def test_questions_find_their_passage(index: Index, question: str, file: str, line: int) -> None:
    passage, score, number = index.candidates(terms(question), 5)[0]
    assert (passage.file, passage.line) == (file, line) and score > 0
    assert index.passage(number) == passage
    assert index.passage(number + 4) is None


def test_facts_say_what_is_in_it(index: Index) -> None:
    assert index.n_passages == 4
    assert index.facts["files"] == 3 and index.facts["languages"] == {"en": 3, "ko": 1}
    assert index.facts["titles"] == ["Cats", "Dogs", "function json.dumps(obj)", "회의록"]
    assert index.document_frequency("dog") == 1 and index.document_frequency("horse") == 0


def test_weights_decide(index: Index) -> None:
    for heavy, light, file in (("dog", "json", "pets.md"), ("json", "dog", "python:json.dumps")):
        assert index.candidates({heavy: 5.0, light: 0.1}, 1)[0][0].file == file
    assert index.candidates({"dog": 0.0}, 5) == index.candidates([], 5) == index.candidates(["horse"], 5) == []


def test_headings_count_as_much_as_asked_for(tmp_path: Path) -> None:
    documents = [Document("# Rain\n\nWater from clouds.", "a.md"), Document("# Snow\n\nRain rain that froze.", "b.md")]
    build_index(documents, tmp_path / "index")
    index = Index.open(tmp_path / "index")
    assert [index.candidates(["rain"], 1, heading=weight)[0][0].file for weight in (0.0, 9.0)] == ["b.md", "a.md"]


def test_another_format_is_named(index: Index, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no index; make one: malmoi index FOLDER"):
        Index.open(tmp_path / "nothing")
    write_json(index.folder / "index.json", {**index.facts, "format": "malmoi 0"})
    with pytest.raises(DataError, match="made by another version; run the recipe that made it again"):
        Index.open(index.folder)
