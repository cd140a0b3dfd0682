"""Every library of the benchmark finds the same passages, and recall counts the right paragraph."""

import json
from pathlib import Path

import pytest

from benchmarks.look_up import LIBRARIES, build, prepare, questions_of, search, update
from benchmarks.recall import measure
from malmoi.errors import DataError
from malmoi.files import write_json, write_jsonl, write_text
from malmoi.retrieval.passages import Passage

ROWS = [
    ("A cat sleeps all day.", "a.md"),
    ("A dog barks at night.", "b.md"),
    ("다음 회의는 부산에서 열린다.", "회의.md"),
]


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_library_finds_the_passage_and_follows_changes(name: str, tmp_path: Path) -> None:
    if name == "bm25s":
        pytest.importorskip("bm25s")
    library, given = LIBRARIES[name](), [Passage(text, file, "", 1, "", "") for text, file in ROWS]
    library.build(given, tmp_path)
    look_up = library.open(tmp_path)
    assert look_up(["bark", "night"])[0] == given[1] and look_up(["회의", "부산"])[0] == given[2]
    assert look_up(["horse"]) == []
    if hasattr(library, "update"):
        changed = Passage("A horse runs.", "b.md", "", 1, "", "")
        library.update([changed], ["b.md"], tmp_path)
        again = library.open(tmp_path)
        assert again(["hors"]) == [changed] and again(["bark"]) == []


def test_more_passages_than_the_text_has_are_made(tmp_path: Path) -> None:
    for text, file in ROWS:
        write_text(tmp_path / "text" / file, text * 3)
    prepare(tmp_path / "text", 50, tmp_path)
    assert len((tmp_path / "passages.jsonl").read_text().splitlines()) == 50
    questions = questions_of(tmp_path, 20)
    assert len(questions) == 20 and max(len(question.split()) for question in questions) <= 12
    write_json(tmp_path / "questions.json", questions)
    assert build("tantivy", tmp_path)["disk_gb"] > 0 and search("tantivy", tmp_path)["p95_ms"] > 0
    assert update("tantivy", tmp_path)["update_s"] > 0 and update("bm25s", tmp_path) == {}


def test_recall_counts_the_paragraph_of_each_question(tmp_path: Path) -> None:
    texts = [
        "회의는 부산에서 열렸다. 사람이 많았다.",
        "서울의 날씨는 맑았다. 바람이 불었다.",
        "대전에는 비가 왔다. 길이 막혔다.",
    ]
    asked = [["회의가 어디서 열렸나?", "부산에서 무엇을?"], ["서울의 날씨는?"], ["대전에 온 것은?"]]
    rows = [
        {"paragraphs": [{"context": text, "qas": [{"question": q} for q in questions]}]}
        for text, questions in zip(texts, asked, strict=True)
    ]
    rows.append({"passage": "A cat sleeps all day.", "question": "do cats sleep"})
    rows.append({"query": "Passage: A dog barks at night.\nQuestion: do dogs bark?"})
    write_jsonl(tmp_path / "asked.jsonl", rows)
    found = measure(tmp_path / "asked.jsonl")
    assert (found["questions"], found["paragraphs"]) == (6, 5)
    ours, theirs, difference = (found["recall at 1"][name] for name in ("malmoi", "default", "difference"))
    assert ours.mean == 1 and theirs.mean < 1
    assert difference.mean == pytest.approx(ours.mean - theirs.mean)
    (tmp_path / "other.jsonl").write_text(json.dumps({"text": "nothing"}))
    with pytest.raises(DataError, match="no paragraph and question in a row with text"):
        measure(tmp_path / "other.jsonl")
