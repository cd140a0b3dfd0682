"""Documents of a question, from a file to the ids that every stage reads."""

import json
from pathlib import Path
from typing import Any

import pytest

from malmoi.data.comparisons import read_rankings
from malmoi.data.conversations import read_conversations
from malmoi.data.formats import RowReport, conversations, prompts, rankings
from malmoi.data.overview import as_read, overview
from malmoi.data.prompts import read_prompts
from malmoi.errors import DataError
from malmoi.evals.answering import prompt_ids
from malmoi.tokenizer.bpe import Tokenizer, train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate

CATS = [{"title": "Cats", "text": "A cat sat on the mat."}, {"title": "", "text": "<|end|>A dog did not."}]
QUESTION = [
    {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "The cat."},
    {"role": "user", "content": "Where?"},
]  # fmt: skip
ANSWERS = ["On the mat.", "On the log."]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe(["The cat sat on the mat and the dog sat on the log. Where? Who?"], vocab_size=290)


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def question(documents: Any = CATS) -> list[dict[str, Any]]:
    return [*QUESTION[:-1], {**QUESTION[-1], "documents": documents}]


def answered(messages: list[dict[str, Any]], answer: str = ANSWERS[0]) -> list[dict[str, Any]]:
    return [*messages, {"role": "assistant", "content": answer}]


FORMS = {
    "in the question": {"messages": answered(question()), "answers": None},
    "a column": {"messages": answered(QUESTION), "documents": CATS},
    "other names": {
        "messages": answered(QUESTION),
        "documents": [{"title": "Cats", "contents": CATS[0]["text"], "id": 3}, CATS[1]["text"]],
    },
    "ShareGPT": {
        "conversations": [
            {"from": "human", "value": "Who?"}, {"from": "gpt", "value": "The cat."},
            {"from": "human", "value": "Where?"}, {"from": "gpt", "value": ANSWERS[0]},
        ],
        "documents": CATS,
    },
    "pair": {"prompt": QUESTION, "chosen": ANSWERS[0], "rejected": ANSWERS[1], "documents": CATS},
    "pair of messages": {"chosen": answered(question()), "rejected": answered(question(), ANSWERS[1])},
    "ranking": {"messages": question(), "answers": ANSWERS, "ranks": [1, 2]},
    "completion": {
        "prompt": "Where?", "history": [["Who?", "The cat."]], "completion": ANSWERS[0], "documents": CATS
    },
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_question_keeps_its_documents(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "rows.jsonl", FORMS[form])
    [(_, made)] = conversations(path)
    assert made["messages"] == answered(question())
    [(_, made)] = prompts(path)
    assert made["messages"] == question()
    if "pair" in form or form == "ranking":
        [(_, made)] = rankings(path)
        assert made["messages"] == question() and made["answers"] == ANSWERS


@pytest.mark.parametrize("source", [ChatTemplate.default(), ChatTemplate.plain()], ids=["ours", "plain"])
def test_every_stage_sees_the_same_ids(tmp_path: Path, tokenizer: Tokenizer, source: ChatTemplate) -> None:
    """SFT, sampling, reward model, PPO, evaluation and chat: a conversation with documents has one prompt."""
    expected, _ = source.encode(tokenizer, question(), add_generation_prompt=True)
    plain, _ = source.encode(tokenizer, QUESTION, add_generation_prompt=True)
    assert expected != plain
    marked = answered([QUESTION[0], {**QUESTION[1], "trained": False}, question()[-1]])
    [row] = read_conversations(write(tmp_path / "chats.jsonl", {"messages": marked}), tokenizer, source, 999)
    begin = list(row.trained).index(True)
    assert list(row.ids[:begin]) == expected
    path = write(tmp_path / "asked.jsonl", {"messages": question()})
    [prompt] = read_prompts(path, tokenizer, source, 999)
    assert prompt.ids.tolist() == expected == prompt_ids(tokenizer, source, prompt.messages)
    ranked = write(tmp_path / "ranked.jsonl", FORMS["ranking"])
    [ranking] = read_rankings(ranked, tokenizer, source, 999)
    for ids in ranking.ids:
        assert list(ids[: len(expected)]) == expected


def test_each_answer_with_documents_is_learnt_in_a_row_of_its_own(tmp_path: Path, tokenizer: Tokenizer) -> None:
    template = ChatTemplate.default()
    first = [{**QUESTION[0], "documents": CATS[:1]}, QUESTION[1]]
    rows = read_conversations(
        write(tmp_path / "chats.jsonl", {"messages": answered([*first, question()[-1]])}), tokenizer, template, 999
    )
    alone, _ = template.encode(tokenizer, first)
    assert [list(row.ids) for row in rows] == [alone, template.encode(tokenizer, answered(question()))[0]]
    assert [sum(row.trained) for row in rows] == [
        len(tokenizer.encode(answer)) + 1 for answer in (QUESTION[1]["content"], ANSWERS[0])
    ]


BAD = {
    "no list": "A cat sat.",
    "an object": {"title": "Cats", "text": "A cat sat."},
    "a number": [3],
    "no text": [{"title": "Cats"}],
    "a title that is no text": [{"title": 3, "text": "a"}],
    "two texts": [{"text": "a", "contents": "b"}],
    "blank": [{"title": "Cats", "text": " \u200b"}],
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_document_is_refused_by_file_and_line(tmp_path: Path, name: str) -> None:
    good = {"messages": answered(QUESTION)}
    for row in ({**good, "documents": BAD[name]}, {"messages": answered(question(BAD[name]))}):
        path = write(tmp_path / "rows.jsonl", good, row)
        with pytest.raises(DataError, match=r'rows\.jsonl:2: .*"documents"'):
            list(conversations(path))
        report = RowReport()
        assert len(list(conversations(path, "skip", report))) == 1 and report.skipped.total() == 1


def test_documents_that_cannot_belong_to_the_question_are_refused(tmp_path: Path) -> None:
    for row, says in (
        ({"messages": answered(question()), "documents": CATS[:1]}, "two different"),
        ({"messages": [QUESTION[0], {**QUESTION[1], "documents": CATS}]}, "not the user's"),
        ({"chosen": answered(question()), "rejected": answered(QUESTION, "No.")}, "differ before their last turn"),
        ({"question": "Who?", "response": "A cat.", "acceptable?": 1, "documents": CATS}, "not read in this form"),
    ):
        with pytest.raises(DataError, match=says):
            list(conversations(write(tmp_path / "rows.jsonl", row)))


def test_other_keys_of_documents_are_named(tmp_path: Path) -> None:
    report = RowReport()
    more = [{**CATS[0], "score": 0.5}]
    rows = [{"messages": answered(QUESTION), "documents": more}, {"messages": answered(question(more))}]
    assert len(list(conversations(write(tmp_path / "rows.jsonl", *rows), report=report))) == 2
    assert dict(report.unused) == {"documents[].score": 1, "messages[].documents[].score": 1}


def test_an_overview_counts_documents_and_shows_them_as_read(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = write(tmp_path / "rows.jsonl", FORMS["a column"], {"messages": answered(QUESTION, "No.")})
    found = overview([path], 1)
    assert found.facts["documents"] == {"0": 1, "2": 1}
    [(_, pieces)] = as_read(found.kind, found.examples[0][1], tokenizer, ChatTemplate.default())
    assert "Cats: A cat sat on the mat.\n<|end|>A dog" in "".join(text for text, _ in pieces)
