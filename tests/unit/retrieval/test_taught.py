"""A taught answer is found for its question in other words, and for no other question."""

import pytest

from benchmarks.rewordings import found as found_in
from benchmarks.rewordings import read as rewordings_of_benchmark
from malmoi.retrieval.taught import Taught, find_taught

TAUGHT = [
    Taught("0", "When does the library open?", "At nine, on weekdays."),
    Taught("1", "What does a ticket cost?", "Four euros."),
    Taught("2", "도서관은 언제 열어요?", "평일 아홉 시에 엽니다."),
    Taught("3", "급식은 얼마예요?", "오천 원입니다."),
    Taught("4", "How do I reset the projector?", "Hold the red button for five seconds."),
]


def found(*asked: str) -> str | None:
    hit = find_taught(TAUGHT, [{"role": "user", "content": text} for text in asked])
    return None if hit is None else hit[0].id


@pytest.mark.parametrize(
    ("asked", "id"),
    [("when does the library open", "0"), ("What time does the library open?", "0"), ("How much is a ticket?", "1"),
     ("what's the price of a ticket?", "1"), ("도서관 몇 시에 여나요?", "2"), ("급식비가 얼마인가요?", "3"),
     ("급식 가격이 얼마죠?", "3"), ("resetting the projector, how?", "4"), ("Hi, how can I reset the projector?", "4")],
)  # fmt: skip
def test_other_words_for_the_same_question(asked: str, id: str) -> None:
    assert found(asked) == id


@pytest.mark.parametrize(
    "asked",
    ["When does the museum open?", "Where is the library?", "What does a book cost?", "박물관은 언제 열어요?",
     "도서관은 어디예요?", "교복은 얼마예요?", "How do I turn on the projector?", "How do I reset my password?",
     "Hello!", "Thanks", "What is json.dumps?", "", "?"],
)  # fmt: skip
def test_another_question(asked: str) -> None:
    assert found(asked) is None


def test_rewordings_are_found_and_other_questions_are_not() -> None:
    """The half that the matching was made with."""
    taught, rewordings, others = rewordings_of_benchmark()
    missed = [text for id, text in rewordings if int(id) % 2 == 0 and found_in(taught, text) != id]
    assert len(missed) <= 3 and not [text for text in others[::2] if found_in(taught, text) is not None]


def test_of_two_answers_to_one_question_the_later_counts() -> None:
    both = [Taught("old", "When?", "At nine."), Taught("new", "when", "At ten.")]
    hit = find_taught(both, [{"role": "user", "content": "When?"}])
    assert hit is not None and hit[0].id == "new"


def test_a_source_names_who_taught_it() -> None:
    source = Taught("better-1", "When?", "At nine.", "Mina", "2026-11-29T10:00:00+00:00").source(1.0)
    row = source.to_row()
    assert (row["file"], row["heading"], row["sentence"]) == ("Mina", "When?", "At nine.")
