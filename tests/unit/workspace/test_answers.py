"""Answers are recorded as they were given, and found by their names."""

import pytest

from malmoi.errors import WorkspaceError
from malmoi.workspace.answers import NewAnswer, find_answer, is_answer, record_answer
from malmoi.workspace.ledger import Ledger

SOURCE = {
    "file": "notes/낱말.md", "heading": "# Plan", "line": 12, "place": "", "sentence": "말모이는 사전이다.",
    "score": 0.9, "document": "ab",
}  # fmt: skip


def test_an_answer_is_found_as_it_was_given(ledger: Ledger) -> None:
    asked = [{"role": "user", "content": "말모이가 뭐야?"}]
    said = NewAnswer(
        asked, "사전\0이다.", "ppo", "a" * 64, "b" * 64, "notes", [SOURCE], True, False, {"temperature": 0.0}
    )
    assert [record_answer(ledger, said), record_answer(ledger, NewAnswer(asked, "No.", "none"))] == [
        "answer-1",
        "answer-2",
    ]
    found = find_answer(ledger, "answer-1")
    assert (found.messages, found.text, found.voice, found.model_sha256) == (asked, "사전\0이다.", "ppo", "a" * 64)
    assert (found.sources, found.supported, found.quoted, found.sampling) == ([SOURCE], True, False, {"temperature": 0})
    plain = find_answer(ledger, "answer-2")
    assert (plain.model_sha256, plain.index_sha256, plain.sources, plain.supported) == (None, None, [], None)


def test_an_unknown_answer_is_one_line(ledger: Ledger) -> None:
    with pytest.raises(WorkspaceError, match="no answer is recorded here yet"):
        find_answer(ledger, "answer-1")
    record_answer(ledger, NewAnswer([{"role": "user", "content": "?"}], "No.", "none"))
    for name in ("answer-2", "answer-0", "answer-x", "answer-" + "9" * 30):
        with pytest.raises(WorkspaceError, match=f"{name}: no such answer in this workspace; the latest is answer-1"):
            find_answer(ledger, name)
    assert is_answer("answer-7") and not is_answer("0007-ppo")
