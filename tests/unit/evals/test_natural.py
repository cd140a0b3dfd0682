"""Natural questions: rules that an echo does not pass, answers that are in the documentation, and the measures."""

import inspect
import pydoc
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from malmoi.evals.natural import (
    ANSWER_CHARS,
    Given,
    Message,
    NaturalQuestion,
    is_decline,
    is_right,
    measure,
    occurs,
    paired_difference,
    plain,
    read_questions,
)

QUESTIONS = read_questions()
BY_ID = {question.id: question for question in QUESTIONS}
ANSWERED = [question for question in QUESTIONS if not question.declines]
DECLINES = (
    "I do not know json.foo.", "I don't know: it is not in my documents.", "I could not find that.",
    "I found nothing in the documents that answers this. The nearest titles: zip.", "Sorry, nothing about that.",
    "모르겠습니다. 제가 읽은 문서에 없습니다.", "json.foo는 모릅니다.",
    "문서에서 답을 찾지 못했습니다. 가장 가까운 제목: zip.",
)  # fmt: skip


def documentation(name: str) -> str:
    """The heading and the docstring of a name of the standard library."""
    value: Any = pydoc.locate(name)
    assert value is not None, name
    kind = "module" if inspect.ismodule(value) else "class" if inspect.isclass(value) else "function"
    try:
        arguments = str(inspect.signature(value))
    except (TypeError, ValueError):
        arguments = ""
    return f"{kind} {name}{arguments}\n{inspect.getdoc(value)}"


def said_by(question: NaturalQuestion) -> list[str]:
    return [message["content"] for message in question.messages if message["role"] == "user"]


def test_there_are_enough_questions_of_each_kind_and_language() -> None:
    assert len(QUESTIONS) >= 180 and len(BY_ID) == len(QUESTIONS)
    kinds, languages = (Counter(getattr(question, name) for question in QUESTIONS) for name in ("kind", "lang"))
    assert kinds.most_common(1)[0][0] == "how to" and min(kinds.values()) >= 6
    assert languages["ko"] >= 45
    assert all((question.reason and (question.accepted or question.declines)) for question in QUESTIONS)
    assert all(question.messages[-1]["role"] == "user" for question in QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_repeating_the_question_or_saying_nothing_is_wrong(question: NaturalQuestion) -> None:
    asked = said_by(question)
    for answer in ("", " ", asked[-1], f"You asked: {asked[-1]}", " ".join(asked), f"Sure! {asked[-1]} {asked[-1]}"):
        assert not is_right(answer, question)


@pytest.mark.parametrize("question", [q for q in ANSWERED if q.source], ids=lambda question: question.id)
def test_the_documentation_of_its_source_is_a_right_answer(question: NaturalQuestion) -> None:
    texts = [documentation(name) for name in question.source]
    if question.kind == "comparison":
        texts = [" ".join(text[:340] for text in texts)]
    for text in texts:
        assert is_right(text, question)


def test_the_documentation_of_other_questions_is_a_wrong_answer() -> None:
    texts = {name: documentation(name) for question in ANSWERED for name in question.source}
    for question in ANSWERED:
        if question.source:
            others = [name for name in texts if name not in question.source and is_right(texts[name], question)]
            # Several names are a right answer to some questions, such as which module handles dates.
            assert len(others) <= 8, (question.id, others)


@pytest.mark.parametrize("answer", DECLINES)
def test_declining_is_right_only_where_nothing_answers(answer: str) -> None:
    assert is_decline(answer)
    for question in QUESTIONS:
        assert is_right(answer, question) is question.declines


def test_documentation_is_no_decline() -> None:
    for question in ANSWERED:
        for name in question.source:
            assert not is_decline(f"{name}: {documentation(name)}"), name


@pytest.mark.parametrize(
    ("phrase", "said", "expected"),
    [
        ("json.load", "Use json.load.", True),
        ("json.load", "Use json.loads.", False),
        ("path.join", "posixpath.join(a, *p)", False),
        ("path.join", "os.path.join을 쓰세요", True),
        ("collections", "class collections.Counter", False),
        ("collections", "It is in collections.", True),
        ("JSON formatted str", "Serialize ``obj`` to a\n  JSON formatted ``str``.", True),
        ("zip()", "class builtins.zip", True),
        ("zip()", "use zip(a, b)", True),
        ("zip()", "a zip archive", False),
        ("zip()", "zipfile.zip(a)", False),
        ("enumerate()", "enumerate 함수를 쓰세요", True),
        ("sorted()", "a sorted list", False),
    ],
)
def test_a_phrase_occurs_only_as_a_whole(phrase: str, said: str, expected: bool) -> None:
    assert occurs(phrase, plain(said)) is expected


def test_a_refused_phrase_or_a_long_list_of_names_makes_an_answer_wrong() -> None:
    question = replace(ANSWERED[0], accepted=(("json.load",),), refused=("json.dump",))
    assert is_right("json.load reads it", question)
    assert not is_right("json.load or json.dump", question)
    assert not is_right("x" * ANSWER_CHARS + " json.load", question)


def ask_about(name: str, *turns: str | None, **other: Any) -> NaturalQuestion:
    messages = [{"role": "user" if n % 2 == 0 else "assistant", "content": turn} for n, turn in enumerate(turns)]
    row = {"id": name, "lang": "en", "kind": "what does", "messages": messages, "accepted": [[name]], "refused": [],
           "declines": False, "source": [], "reason": "r"}  # fmt: skip
    return NaturalQuestion.from_row(row | other)


class Parrot:
    """Says the name of the last question, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[Message]] = []

    def __call__(self, talks: Sequence[Sequence[Message]]) -> list[Given]:
        self.asked += map(list, talks)
        return [self.answer(talk) for talk in talks]

    def answer(self, talk: Sequence[Message]) -> Given:
        name = talk[-1]["content"].partition("?")[0].strip()
        if name == "c" and len(talk) > 1:
            return Given("lost")
        passages = ("nothing", f"about {name}") if name != "c" else ()
        return Given("I do not know." if name == "d" else name, passages, supported=0.5 if name == "b" else 1.0)


def test_measures_are_those_of_the_answers() -> None:
    questions = [
        ask_about("a", "a?"),
        ask_about("b", "b?", lang="ko"),
        ask_about("c", "c?", kind="how to"),
        ask_about("b2", "b?", None, "c?", kind="follow-up"),
        ask_about("d", "d?", kind="off topic", accepted=[], declines=True),
        ask_about("e", "d?", kind="how to"),
    ]
    parrot = Parrot()
    found = measure(questions, parrot)
    assert [row["right"] for row in found["answers"]] == [True, True, True, False, True, False]
    assert found["right"]["mean"] == pytest.approx(4 / 6) and found["right"]["n"] == 6
    assert 0 <= found["right"]["low"] <= found["right"]["mean"] <= found["right"]["high"] <= 1
    assert found["by_kind"]["how to"]["mean"] == 0.5 and found["by_lang"]["ko"]["mean"] == 1.0
    assert found["declined"]["to_decline"]["mean"] == 1.0 and found["declined"]["answerable"]["mean"] == 0.2
    assert found["recall"]["1"]["mean"] == 0.0 and found["recall"]["5"]["mean"] == pytest.approx(2 / 5)
    assert found["grounded"]["mean"] == pytest.approx(
        2 / 3
    )  # a, b and c say something; "lost" was not held against any
    # The assistant's turn that was left open has the voice's own answer.
    assert [
        {"role": "user", "content": "b?"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c?"},
    ] in parrot.asked


def test_second_turns_are_asked_after_another_question_and_its_answer() -> None:
    questions = [ask_about(name, f"{name}?") for name in ("c", "a", "b", "x")]
    turns = measure(questions, Parrot())["turns"]
    # The first and the fourth are asked again; c forgets its answer after another question.
    assert turns["first"]["mean"] == 1.0 and turns["second"]["mean"] == 0.5
    assert turns["difference"]["mean"] == -0.5 and turns["kept"] == 0.5


def test_two_voices_are_compared_question_by_question() -> None:
    questions = [ask_about(name, f"{name}?") for name in ("a", "b")]
    after = measure(questions, Parrot())
    before = measure(questions, lambda talks: [Given("a")] * len(talks))
    difference = paired_difference(after, before)
    assert difference["mean"] == 0.5 and difference["n"] == 2 and difference["low"] == 0.0
    assert paired_difference(after, after) == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 2}


def test_nothing_to_look_up_in_has_no_recall() -> None:
    found = measure([ask_about("a", "a?")], lambda talks: [Given("a")] * len(talks))
    assert found["recall"] == {} and found["grounded"]["n"] == 0
