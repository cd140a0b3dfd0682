"""Questions whose answers the documentation gives, and the conversations made of them."""

from collections import defaultdict

import pytest

from malmoi.synthetic.demonstrations import demonstrations, prompts
from malmoi.synthetic.pydocs import Item, read_python_docs
from malmoi.synthetic.questions import (
    N_HELDOUT,
    PHRASINGS,
    TOPIC_MEMBERS,
    Question,
    choose_items,
    make_questions,
    topics,
)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return [item for _, item in read_python_docs(packages=()) if item is not None]


@pytest.fixture(scope="module")
def questions(items: list[Item]) -> list[Question]:
    return list(make_questions(*choose_items(items, 300, 50, seed=1), seed=1))


def test_items_are_chosen_apart_and_for_sure(items: list[Item]) -> None:
    asked, unseen = choose_items(items, 300, 50, seed=1)
    assert (len(asked), len(unseen)) == (300, 50)
    assert not {item.name for item in asked} & {item.name for item in unseen}
    assert choose_items(items, 300, 50, seed=1) == (asked, unseen)
    assert all(item.summary for item in (*asked, *unseen))


def test_the_most_used_names_are_asked_about(items: list[Item]) -> None:
    asked, unseen = choose_items(items, 300, 50, seed=1)
    used = sorted((item for item in items if item.summary), key=lambda item: -item.used)
    assert {item.name for item in used[:190]} <= {item.name for item in asked}
    assert min(item.used for item in unseen) >= used[500].used
    assert {"len", "str.join", "os.path.join", "functools.partial"} <= {i.name for i in asked}


def test_heldout_phrasings_are_the_last_ones_and_never_trained_on(questions: list[Question]) -> None:
    for question in questions:
        assert question.heldout == (question.phrasing >= len(PHRASINGS[question.kind]) - N_HELDOUT)
    trained = {row["messages"][0]["content"] for row in demonstrations(questions, 0.3, seed=1)}
    assert not trained & {question.prompt for question in questions if question.heldout}


def test_phrasings_of_a_kind_differ() -> None:
    for phrasings in PHRASINGS.values():
        assert len(set(phrasings)) == len(phrasings) == 10


def test_unseen_items_are_never_demonstrated_nor_shown_as_examples(questions: list[Question]) -> None:
    unseen = {question.item for question in questions if question.unseen}
    rows = list(demonstrations(questions, 0.0, seed=1))
    assert unseen and not unseen & {row["item"] for row in rows}
    examples = [row["messages"][1]["content"] for row in rows if row["kind"] == "example"]
    assert not any(text.split(":")[0] in unseen for text in examples)


def test_topics_have_several_members_that_the_topic_is_true_of(items: list[Item]) -> None:
    asked, _ = choose_items(items, 300, 0, seed=1)
    found = topics(asked)
    assert found
    for topic, members in found.items():
        assert len(members) in TOPIC_MEMBERS
        word = topic.split()[-1]
        assert all(word in member.summary.lower() or word == member.module for member in members)


def test_untidy_demonstrations_keep_the_answer(questions: list[Question]) -> None:
    tidy = list(demonstrations(questions, 0.0, seed=1))
    untidy = list(demonstrations(questions, 1.0, seed=1))
    for plain, wordy in zip(tidy, untidy, strict=True):
        answer, said = plain["messages"][1]["content"], wordy["messages"][1]["content"]
        assert answer in said and answer != said


def test_prompts_to_rank_are_open_and_split_by_item(questions: list[Question]) -> None:
    rows = list(prompts(questions, 100, 40, seed=1))
    split = defaultdict(set)
    for row in rows:
        split[row["split"]].add(row["item"])
        assert len(row["references"]) > 1
    assert split["train"] and split["heldout"] and not split["train"] & split["heldout"]
    assert len({row["prompt_id"] for row in rows}) == len(rows)


def test_where_no_question_is_open_all_are_taken() -> None:
    closed = [Question("summary", f"i{n}", f"What is {n}?", (f"It is {n}.",), 0, False, False, "d") for n in range(20)]
    rows = list(prompts(closed, 10, 10, seed=1))
    assert {row["split"] for row in rows} == {"train", "heldout"}


def test_a_question_survives_its_row(questions: list[Question]) -> None:
    assert Question.from_row(questions[0].to_row()) == questions[0]
