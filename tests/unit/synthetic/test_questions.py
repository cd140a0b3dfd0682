"""Questions about documented names, alone and in conversations."""

import random
from collections import defaultdict

import pytest

from malmoi.synthetic.declines import DECLINED, declined_questions, small_talk_questions
from malmoi.synthetic.forms import FORMS, misspelt, typed
from malmoi.synthetic.item_questions import example_of, item_questions, task_of
from malmoi.synthetic.phrasings import FOLLOW_UPS, PHRASINGS, answer, fill, numbers_of, table
from malmoi.synthetic.pydocs import Item, read_python_docs
from malmoi.synthetic.questions import Question, choose_items, messages
from malmoi.synthetic.small_talk import SAID, About

ABOUT = About("the documentation of Python 3", "파이썬 3 문서", 7000)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {document.id: document.text for document, _ in read_python_docs(packages=())}


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return [item for _, item in read_python_docs(packages=()) if item is not None]


@pytest.fixture(scope="module")
def questions(items: list[Item], texts: dict[str, str]) -> list[Question]:
    return list(item_questions(*choose_items(items, 300, 50, seed=1), texts, seed=1))


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
    trained = {question.prompt for question in questions if not question.heldout}
    for question in questions:
        if question.heldout:
            assert question.phrasing in numbers_of(PHRASINGS[question.kind][question.language])[1]
    assert not trained & {question.prompt for question in questions if question.heldout}


@pytest.mark.parametrize("name", ["phrasings.tsv", "follow_ups.tsv", "small_talk.tsv"])
def test_ways_to_say_something_differ_and_some_are_held_out(name: str) -> None:
    for languages in table(name).values():
        for forms in languages.values():
            assert len(set(forms)) == len(forms) >= 3
            trained, heldout = numbers_of(forms)
            assert trained and heldout and sorted((*trained, *heldout)) == list(range(len(forms)))


def test_every_name_is_asked_about_alone_after_another_and_in_follow_ups(questions: list[Question]) -> None:
    of_item = defaultdict(list)
    for question in questions:
        if not question.heldout:
            of_item[question.item].append(question)
    for asked in of_item.values():
        assert {"en", "ko"} <= {question.language for question in asked}
        assert sum(question.form == "follow-up" for question in asked) == 2
        assert any(question.earlier and question.form != "follow-up" for question in asked)
    forms = {question.form for question in questions if question.heldout}
    assert {"plain", "second turn", "upper", "no mark", "typing error", "Korean", "after a greeting"} == forms


def test_earlier_answers_are_about_known_names_and_not_trained_on(questions: list[Question]) -> None:
    names = tuple({question.item for question in questions if not question.unseen})
    later = [question for question in questions if question.earlier and question.form != "after a greeting"]
    for question in later:
        *before, last = messages(question)
        assert last == {"role": "user", "content": question.prompt}
        assert all(message["trained"] is False for message in before[1::2])
    assert later and all(turn[1].startswith(names) for question in later for turn in question.earlier)


def test_unseen_items_are_never_trained_on(questions: list[Question]) -> None:
    unseen = {question.item for question in questions if question.unseen}
    assert len(unseen) == 50
    trained = [question for question in questions if not question.heldout]
    assert not unseen & {question.item for question in trained}
    assert not any(turn[1].startswith(f"{name}: ") for q in trained for turn in q.earlier for name in unseen)


def test_summaries_are_answered_by_the_documents_own_sentence(questions: list[Question], texts: dict[str, str]) -> None:
    for question in questions:
        if question.kind in ("summary", "howto"):
            assert question.item in question.answers[0]
            sentence = question.answers[0].split(": ", 1)[1].rstrip(".")
            assert sentence in " ".join(texts[question.document].split())


def item_of(items: list[Item], name: str) -> Item:
    return next(item for item in items if item.name == name)


def test_tasks_and_examples_are_those_of_the_documentation(items: list[Item], texts: dict[str, str]) -> None:
    assert task_of(item_of(items, "random.shuffle")) == "shuffle list x in place"
    assert task_of(item_of(items, "len")) == "get the number of items in a container"
    assert task_of(item_of(items, "ValueError")) == ""
    assert example_of(texts[item_of(items, "collections.namedtuple").document]).startswith(">>> Point = namedtuple(")
    assert example_of("No example.") == ""


def test_particles_follow_the_name() -> None:
    assert fill("{name}은/는?", name="random.shuffle") == "random.shuffle은?"
    assert fill("{name}은/는 {name}을/를", name="os.path") == "os.path는 os.path를"
    assert answer("summary", "ko", name="str.split", sentence="S.") == "str.split은 이렇게 설명되어 있습니다: S."


@pytest.mark.parametrize("form", FORMS)
def test_careless_typing_keeps_the_question(form: str) -> None:
    prompt = typed("What does json.dumps do?", "json.dumps", form, random.Random(1))
    assert prompt != "What does json.dumps do?"
    if form != "typing error":
        assert "json.dumps" in prompt.lower()


def test_a_typing_error_changes_little_and_spares_short_names() -> None:
    for seed in range(50):
        wrong = misspelt("random.shuffle", random.Random(seed))
        assert wrong != "random.shuffle" and abs(len(wrong) - len("random.shuffle")) <= 1 and wrong[0] == "r"
    assert misspelt("len", random.Random(1)) == "len"


def test_invented_names_do_not_exist(items: list[Item]) -> None:
    known = {item.name.lower() for item in items}
    asked = list(declined_questions(items[:500], 200, False, random.Random(1)))
    assert len(asked) == 200 and {question.kind for question in asked} == {DECLINED}
    assert sum(question.item.lower() in known for question in asked) < 10  # a part of the library alone was given
    for question in asked:
        assert question.item in question.prompt and question.item in question.answers[0] and not question.document


def test_small_talk_is_answered_with_what_is_true() -> None:
    asked = list(small_talk_questions(ABOUT, 300, False, random.Random(1)))
    assert {question.kind for question in asked} == set(SAID) and {q.language for q in asked} == {"en", "ko"}
    who = next(q for q in asked if q.kind == "identity" and q.language == "en").answers[0]
    assert "Python 3 (7,000 documents)" in who and "program" in who
    heldout = {q.prompt for q in small_talk_questions(ABOUT, 300, True, random.Random(1))}
    assert heldout and not heldout & {question.prompt for question in asked}


def test_follow_ups_have_an_answer_of_their_kind() -> None:
    assert set(FOLLOW_UPS) <= set(table("answers.tsv"))
    assert set(PHRASINGS) <= set(table("answers.tsv"))


def test_a_question_survives_its_row(questions: list[Question]) -> None:
    for question in questions[:200]:
        assert Question.from_row(question.to_row()) == question
