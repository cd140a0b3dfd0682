"""Conversations with documents: the right one among others, only others, none."""

import random
from collections import defaultdict
from dataclasses import replace

import pytest

from malmoi.synthetic.demonstrations import Desk, demonstrations, measured, prompts
from malmoi.synthetic.questions import Question
from malmoi.synthetic.shelf import Book, Shelf
from malmoi.synthetic.small_talk import About

ABOUT = About("my notes", "내 글", 40)
BOOKS = [
    Book(f"id{n}", f"tool.part{n}", f"Turns the number {n} into words.\nMore about it. " * 2, f"function {n}")
    for n in range(40)
]
QUESTIONS = [
    Question(
        "summary", book.title, f"What does {book.title} do?", (f"{book.title}: Turns the number {n} into words.",),
        0, heldout, n >= 36, book.id, short=f"Turns the number {n} into words.",
    )
    for n, book in enumerate(BOOKS)
    for heldout in (False, True)
]  # fmt: skip


def n_words(text: str) -> int:
    return len(text.split())


@pytest.fixture
def desk() -> Desk:
    return Desk(Shelf(BOOKS, room=90, count=n_words), ABOUT)


def documents(row: dict[str, list[dict[str, list[dict[str, str]]]]]) -> list[dict[str, str]]:
    return next((m["documents"] for m in reversed(row["messages"]) if "documents" in m), [])


def test_an_answer_is_in_the_documents_or_says_that_it_is_not(desk: Desk) -> None:
    rows = [row for row in demonstrations(QUESTIONS * 5, desk, 0.0, seed=1) if row["kind"] == "summary"]
    kinds = defaultdict(int)
    for row in rows:
        given, answer = documents(row), row["messages"][-1]["content"]
        name, _, sentence = answer.partition(": ")
        has_it = any(one["title"] == row["item"] and one["text"].startswith("Turns the number") for one in given)
        kinds[has_it, bool(given)] += 1
        if has_it:
            assert name == row["item"] and any(sentence in one["text"] for one in given)
        else:
            assert answer.startswith("I do not know")
            assert all(one["title"] in answer for one in given)
    assert kinds[True, True] > 0.7 * len(rows) and kinds[False, True] and kinds[False, False]


def test_documents_fit_their_room_and_come_in_any_order(desk: Desk) -> None:
    places = set()
    for seed in range(60):
        given = desk.give(QUESTIONS[0], random.Random(seed)).documents
        assert 2 <= len(given) <= 3 and sum(n_words(one["title"]) + n_words(one["text"]) for one in given) <= 90
        places.add(next(n for n, one in enumerate(given) if one["title"] == "tool.part0"))
    assert places == {0, 1, 2}


def test_a_passage_is_cut_to_whole_sentences_with_the_answer(desk: Desk) -> None:
    text = "First sentence here. " + "Another one follows it. " * 30 + "The answer is far below. The end."
    assert desk.shelf.cut(text, 9) == "First sentence here. Another one follows it."
    assert desk.shelf.cut(text, 8, "The answer is far below.").startswith("The answer is far below.")


def test_heldout_phrasings_and_unseen_items_are_not_demonstrated(desk: Desk) -> None:
    rows = list(demonstrations(QUESTIONS, desk, 0.1, seed=1))
    assert {row["item"] for row in rows} <= {book.title for book in BOOKS[:36]} | {"thanks"}
    asked = list(measured(QUESTIONS, desk, seed=1))
    assert len(asked) == 40 and all(question.heldout and question.documents for question in asked)


def test_filler_is_around_the_answer(desk: Desk) -> None:
    tidy = {
        r["messages"][-1]["content"] for r in demonstrations(QUESTIONS, desk, 0.0, seed=1) if r["kind"] == "summary"
    }
    wordy = [
        r["messages"][-1]["content"] for r in demonstrations(QUESTIONS, desk, 1.0, seed=1) if r["kind"] == "summary"
    ]
    assert not set(tidy) & set(wordy)
    assert all(any(part in text for part in ("Sure!", "Of course.", "hope this", "Let me know")) for text in wordy)


def test_some_conversations_begin_with_a_greeting_and_end_with_thanks(desk: Desk) -> None:
    rows = list(demonstrations(QUESTIONS * 10, desk, 0.0, seed=1))
    assert any(len(row["messages"]) == 4 and row["messages"][1]["content"].startswith("Hello! Ask me") for row in rows)
    thanked = [row for row in rows if row["kind"] == "thanks"]
    assert thanked and all(row["messages"][-1]["content"] == "You are welcome." for row in thanked)
    assert all("documents" not in message for row in thanked for message in row["messages"])


def test_what_look_up_finds_is_given_to_a_share_of_the_questions() -> None:
    found = [{"title": "tool.part0", "text": "Turns the number 0 into words."}]
    asked: list[object] = []

    def find(said: object) -> list[dict[str, str]]:
        asked.append(said)
        return found

    desk = Desk(Shelf(BOOKS, 90, n_words), ABOUT, find, share=0.5)
    given = [desk.give(QUESTIONS[0], random.Random(seed)).documents for seed in range(200)]
    assert given.count(tuple(found)) == len(asked) and 60 < len(asked) < 140
    # What look-up missed is put there.
    desk = Desk(Shelf(BOOKS, 90, n_words), ABOUT, find, share=1.0)
    assert any(one["title"] == "tool.part7" for one in desk.give(QUESTIONS[14], random.Random(1)).documents)


def test_prompts_to_rank_share_no_item_with_those_held_out(desk: Desk) -> None:
    rows = list(prompts(QUESTIONS, desk, 25, 10, seed=1))
    split = defaultdict(set)
    for row in rows:
        split[row["split"]].add(row["item"])
        assert row["references"] and row["messages"][-1]["role"] == "user"
    assert split["train"] and split["heldout"] and not split["train"] & split["heldout"]
    assert len({row["prompt_id"] for row in rows}) == len(rows)
    assert rows == list(prompts(QUESTIONS, desk, 25, 10, seed=1))


def test_what_else_there_is_are_the_other_documents(desk: Desk) -> None:
    asked = replace(QUESTIONS[0], kind="neighbours", answers=("There is also what the module has.",))
    given = desk.give(asked, random.Random(1))
    others = [one["title"] for one in given.documents if one["title"] != "tool.part0"]
    assert others and given.answers == (f"There is also {', '.join(others)}.",)
