"""Conversations, rankings and prompts as people's files have them; a bad row is named by file and line."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.data.batch import pad
from malmoi.data.comparisons import Ranking, collate_rankings, ranking_steps, read_rankings
from malmoi.data.conversations import conversation_steps, read_conversations
from malmoi.data.prompts import read_prompts
from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

Read = Callable[..., Any]
USER, ANSWER = {"role": "user", "content": "What?"}, {"role": "assistant", "content": "A cat."}
READERS: dict[str, tuple[Read, dict[str, Any]]] = {
    "conversations": (read_conversations, {"messages": [USER, ANSWER]}),
    "rankings": (read_rankings, {"messages": [USER], "answers": ["cat", "dog"], "ranks": [1, 2]}),
    "prompts": (read_prompts, {"messages": [USER]}),
}
LONG = {"role": "user", "content": "very long " * 100}
BAD_ROWS: dict[str, list[tuple[Any, str]]] = {
    "conversations": [
        ({"messages": [USER]}, "nothing to train on"),
        ({"messages": [LONG, ANSWER]}, r"more than the model's context \(32\)"),
    ],
    "rankings": [
        ({"messages": [USER], "answers": ["cat"], "ranks": [1]}, "two or more"),
        ({"messages": [USER], "answers": ["cat", "dog"], "ranks": [1]}, "2 answers and 1 ranks"),
        ({"messages": [USER], "answers": "ab", "ranks": [1, 2]}, "expected"),
        ({"messages": [USER], "answers": ["cat", 7], "ranks": [1, 2]}, "has no text"),
        ({"messages": [USER], "answers": ["cat", "dog"], "ranks": ["first", 2]}, "whole numbers"),
        ({"messages": [LONG], "answers": ["cat", "dog"], "ranks": [1, 2]}, r"context \(32\)"),
    ],
    "prompts": [
        ({"messages": [LONG]}, "leave no room for an answer"),
        ({"messages": [ANSWER]}, "roles do not alternate"),
        ({"messages": []}, "no messages"),
    ],
}
ANY_BAD_ROW = [
    ([], "expected"),
    ({}, "expected"),
    ({"messages": "hello", "answers": ["cat", "dog"], "ranks": [1, 2]}, "expected"),
    ({"messages": ["hello"], "answers": ["cat", "dog"], "ranks": [1, 2]}, "message 0"),
    ({"messages": [{"role": "bot", "content": "x"}], "answers": ["cat", "dog"], "ranks": [1, 2]}, "role 'bot'"),
]
CASES = [(name, row, says) for name in READERS for row, says in (*ANY_BAD_ROW, *BAD_ROWS[name])]


@pytest.mark.parametrize(("name", "row", "says"), CASES)
def test_a_bad_row_is_named(
    tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate, name: str, row: Any, says: str
) -> None:
    read, good = READERS[name]
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(good)}\n\n{json.dumps(row)}\n")
    with pytest.raises(DataError, match=rf"rows\.jsonl:\d: .*{says}"):
        read(path, tokenizer, template, 32)


@pytest.mark.parametrize("name", READERS)
def test_an_empty_or_missing_file_is_named(
    tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate, name: str
) -> None:
    read, _ = READERS[name]
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(DataError, match=r"rows\.jsonl: holds no"):
        read(tmp_path / "rows.jsonl", tokenizer, template, 32)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "nowhere.jsonl", tokenizer, template, 32)


def test_a_prompt_keeps_its_row_and_drops_a_last_answer(
    tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    row = {"messages": [USER, ANSWER], "item": "cat", "split": "train"}
    (tmp_path / "prompts.jsonl").write_text(json.dumps(row))
    [prompt] = read_prompts(tmp_path / "prompts.jsonl", tokenizer, template, longest=30)
    assert prompt.row == row and list(prompt.messages) == [USER]
    assert prompt.ids[-1] == tokenizer.special_id("<|assistant|>")


def test_an_empty_answer_can_be_ranked(tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate) -> None:
    row = {"messages": [USER], "answers": ["cat", ""], "ranks": [1, 2]}
    (tmp_path / "rankings.jsonl").write_text(json.dumps(row))
    [ranking] = read_rankings(tmp_path / "rankings.jsonl", tokenizer, template, seq_len=30)
    assert ranking.ids[1][-2:].tolist() == [tokenizer.special_id("<|assistant|>"), tokenizer.end_of_turn_id]


def test_a_step_of_chats_holds_each_once_short_beside_short(
    tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    rows = [{"messages": [USER, {"role": "assistant", "content": "a" * n}]} for n in (9, 1, 5, 3, 7)]
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
    chats = read_conversations(tmp_path / "chats.jsonl", tokenizer, template, seq_len=32)
    [micros] = islice(conversation_steps(chats, tokenizer.pad_id, batch_size=5, micro_batch_size=2, seed=0), 1)
    assert [len(micro.ids) for micro in micros] == [2, 2, 1]
    trained = [int(row.sum()) for micro in micros for row in micro.mask]
    assert trained == sorted(sum(chat.trained) for chat in chats)
    assert sum(micro.count for micro in micros) == sum(trained)


def test_every_pair_of_answers_is_compared_once() -> None:
    batch = collate_rankings([Ranking([[1], [2, 3], [4]], [2, 1, 2]), Ranking([[5], [6]], [1, 2])], pad_id=0)
    assert batch.ids.tolist() == [[1, 2, 3, 4], [5, 6, 0, 0]]
    assert batch.branches.segments.tolist() == [[1, 2, 2, 3], [1, 2, -1, -1]]
    assert batch.row.tolist() == [0, 0, 0, 1, 1] and batch.last.tolist() == [0, 2, 3, 0, 1]
    pairs = list(zip(batch.better.tolist(), batch.worse.tolist(), batch.target.tolist(), strict=True))
    assert pairs == [(1, 0, 1.0), (0, 2, 0.5), (1, 2, 1.0), (3, 4, 1.0)]
    assert batch.weight.tolist() == pytest.approx([1 / 3] * 3 + [1])
    assert batch.count == 2


def test_what_answers_share_stands_in_a_row_once() -> None:
    batch = collate_rankings([Ranking([[1, 2, 3], [1, 2, 4, 5], [1, 2, 3]], [1, 2, 1])], pad_id=0)
    assert batch.ids.tolist() == [[1, 2, 3, 4, 5, 3]]
    assert batch.branches.segments.tolist() == [[0, 0, 1, 2, 2, 3]]
    assert batch.branches.positions.tolist() == [[0, 1, 2, 2, 3, 2]]


def test_steps_of_rankings_keep_the_answers_of_a_prompt_together() -> None:
    rankings = [
        Ranking([[prompt] * (1 + i) for i in range(2 + prompt % 3)], [1, 2, 2, 3][: 2 + prompt % 3])
        for prompt in range(1, 8)
    ]
    [micros] = islice(ranking_steps(rankings, pad_id=0, batch_size=7, micro_batch_size=3, seed=1), 1)
    assert [micro.count for micro in micros] == [3, 3, 1]
    for micro in micros:
        assert torch.equal(micro.row[micro.better], micro.row[micro.worse])
    assert sorted({int(prompt) for micro in micros for prompt in micro.ids[:, 0]}) == list(range(1, 8))


def test_rows_are_padded_on_the_right() -> None:
    ids, lengths = pad([[1, 2, 3], [4]], pad_id=9)
    assert ids.tolist() == [[1, 2, 3], [4, 9, 9]] and lengths.tolist() == [3, 1]


def test_a_turn_marked_as_not_to_be_trained_on_is_read_and_not_learnt(
    tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    talk = [USER, ANSWER, {"role": "user", "content": "And?"}, {"role": "assistant", "content": "A dog."}]
    [whole] = template.training_rows(tokenizer, talk)
    [(ids, trained)] = template.training_rows(tokenizer, [USER, {**ANSWER, "trained": False}, *talk[2:]])
    assert ids == whole[0]
    learned = [token for token, on in zip(ids, trained, strict=True) if on]
    assert learned == [*tokenizer.encode("A dog."), tokenizer.end_of_turn_id]
    together = ChatTemplate("{% generation %}{% for m in messages %}{{ m.content }}{% endfor %}{% endgeneration %}")
    with pytest.raises(DataError, match="writes answers without a border"):
        together.training_rows(tokenizer, [USER, {**ANSWER, "trained": False}, *talk[2:]])


def test_ids_are_held_in_four_bytes(tmp_path: Path, tokenizer: Tokenizer, template: ChatTemplate) -> None:
    for name in ("conversations", "rankings", "prompts"):
        read, row = READERS[name]
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
        [held] = read(tmp_path / f"{name}.jsonl", tokenizer, template, 32)
        for ids in held.ids if name == "rankings" else [held.ids]:
            assert ids.dtype.itemsize == 4
