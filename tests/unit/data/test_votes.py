"""Votes in the forms in which they are published."""

from pathlib import Path
from typing import Any

import pytest

from malmoi.data.formats import votes
from malmoi.data.votes import read_votes
from malmoi.errors import DataError
from malmoi.files import write_jsonl
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

ASKED = [{"role": "user", "content": "언제?"}]
SAID = [{"role": "assistant", "content": "아홉 시."}]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [*ASKED, *SAID], "label": True},
        {"messages": [*ASKED, *SAID], "label": 1},
        {"messages": [*ASKED, *SAID], "kto_tag": "True"},
        {"prompt": "언제?", "completion": "아홉 시.", "label": True},
        {"prompt": ASKED, "completion": SAID, "label": True},
    ],
)
def test_a_liked_answer_in_any_form(tmp_path: Path, row: dict[str, Any]) -> None:
    other = {**row, **{name: 0 for name in ("label", "kto_tag") if name in row}}
    write_jsonl(tmp_path / "votes.jsonl", [row, other])
    found = [one for _, one in votes(tmp_path / "votes.jsonl")]
    assert [one["label"] for one in found] == [True, False] and found[0]["messages"] == [*ASKED, *SAID]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [*ASKED, *SAID]}, '1: no vote; "label" says'),
        ({"messages": [*ASKED, *SAID], "label": 0.7}, "neither true nor false but 0.7"),
        ({"messages": [*ASKED, *SAID], "label": "good"}, "neither true nor false"),
        ({"messages": [*ASKED, *SAID, *ASKED], "label": True}, "does not end with the answer"),
        ({"messages": ASKED, "label": True}, "no assistant turn"),
    ],
)
def test_a_row_that_is_no_vote_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    write_jsonl(tmp_path / "votes.jsonl", [row])
    with pytest.raises(DataError, match=message):
        list(votes(tmp_path / "votes.jsonl"))


def test_a_prompt_and_its_answer_are_encoded_apart(
    tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    write_jsonl(tmp_path / "votes.jsonl", [{"messages": [*ASKED, *SAID], "label": False}])
    (vote,) = read_votes(tmp_path / "votes.jsonl", tokenizer, template, 64)
    prompt, _ = template.encode(tokenizer, ASKED, add_generation_prompt=True)
    assert vote.prompt.tolist() == prompt and vote.answer[-1] == tokenizer.end_of_turn_id and not vote.is_good
    with pytest.raises(DataError, match="more than the model's context"):
        read_votes(tmp_path / "votes.jsonl", tokenizer, template, len(prompt) + 1)
