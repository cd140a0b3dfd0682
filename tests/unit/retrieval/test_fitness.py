"""What speaks for and against a passage as the answer of a question."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.retrieval.fitness import THRESHOLD, WEIGHTS, Evidence
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup

Search = Callable[[str], Lookup]


def evidence(lookup: Lookup, question: str) -> Evidence:
    found, _ = lookup.evidence([{"role": "user", "content": question}])
    assert found is not None
    return found


def test_the_score_of_a_source_is_that_of_its_evidence(search: Search) -> None:
    messages = [{"role": "user", "content": "How do I delete a file?"}]
    source = search("docs").find(messages).sources[0]
    assert source.score == pytest.approx(evidence(search("docs"), messages[0]["content"]).score)
    assert source.score >= THRESHOLD
    assert list(WEIGHTS) == list(Evidence.__dataclass_fields__)


def test_a_kind_of_answer_that_the_passage_has_not_speaks_against_it(tmp_path: Path) -> None:
    text = "function garden.roses()\nThe roses were pruned on 12 March."
    build_index([Document(text, "python:garden.roses")], tmp_path / "index")
    lookup = Lookup(Index.open(tmp_path / "index"))
    assert evidence(lookup, "When were the roses pruned?").untold == 0
    assert evidence(lookup, "Why were the roses pruned?").untold == 1
    told = evidence(lookup, "When were the roses pruned?")
    assert told.score > replace(told, untold=1.0).score


def test_words_that_were_corrected_count_less(search: Search) -> None:
    right, wrong = (evidence(search("docs"), f"What does {name} do?") for name in ("shuffle", "shufle"))
    assert right.corrected == 0 and wrong.corrected == 1 and wrong.score < right.score


def test_a_name_that_the_index_has_not_gives_no_evidence(search: Search) -> None:
    assert search("docs").evidence([{"role": "user", "content": "What does json.dumps_all do?"}]) == (None, 0)
    assert search("docs").evidence([{"role": "user", "content": "Xylophones?"}]) == (None, 0)


def test_the_best_note_is_scored_for_itself(search: Search) -> None:
    messages = [{"role": "user", "content": "도서관은 몇 시에 닫아요?"}]
    found, note = search("notes").evidence(messages)
    assert found is None and note == search("notes").find(messages).sources[0].score
