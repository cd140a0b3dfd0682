"""A taught answer is found for its question in other words, and for no other question."""

from pathlib import Path

import pytest

from benchmarks.rewordings import MORE, TABLE, blind_seen
from benchmarks.rewordings import found as found_in
from benchmarks.rewordings import read as rewordings_of_benchmark
from malmoi.retrieval.apart import are_initials, is_misspelt, is_short_for
from malmoi.retrieval.question import understand
from malmoi.retrieval.taught import SAME, SIMILAR, Taught, evidence, find_taught, likeness

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


@pytest.mark.parametrize(("table", "at_least", "wrong"), [(TABLE, 0.9, 0.03), (MORE, 0.44, 0.01)])
def test_rewordings_are_found_and_other_questions_are_not(table: Path, at_least: float, wrong: float) -> None:
    """What the weights were fitted to."""
    taught, rewordings, others = rewordings_of_benchmark(table)
    right = [found_in(taught, text) == id for id, text in rewordings]
    taken = [text for text in others if found_in(taught, text) is not None]
    assert sum(right) >= at_least * len(right)
    assert len(taken) <= wrong * len(others), taken


def test_of_a_blind_set_near_questions_are_told_apart() -> None:
    """The half that the weights were fitted to, without rewordings that share next to nothing."""
    taught, rewordings, others = blind_seen()
    assert sum(found_in(taught, text) == id for id, text in rewordings) >= 0.85 * len(rewordings)
    assert sum(found_in(taught, text) is not None for text in others) <= 0.09 * len(others)


@pytest.mark.parametrize(
    ("taught", "asked"),
    [("When does the choir sing on Fridays?", "When does the choir sing on Mondays?"),
     ("Where is the key to the kitchen?", "Where is the key to the library?"),
     ("급식실 겨울 식단은 어디 있어요?", "급식실 여름 식단은 어디 있어요?"),
     ("What do we bring to the picnic?", "What do they bring to the wedding?"),
     ("May dogs swim in the lake?", "May dogs not swim in the lake?"),
     ("창고 비밀번호가 뭐예요?", "창고 비밀번호는 누가 정해요?"),
     ("Where do I leave the blue form?", "Where do I leave the silk form?")],
)  # fmt: skip
def test_a_question_with_one_word_of_another_kind_is_another(taught: str, asked: str) -> None:
    assert likeness(understand(asked), Taught("0", taught, "…")) < SAME


@pytest.mark.parametrize(
    ("taught", "asked"),
    [("Where is the photocopier manual?", "where is the photocoppier manual"),
     ("방송동아리 회의는 언제예요?", "방송동 회의 언제예요"),
     ("How do I reset the elevator?", "How do I reset the lift?"),
     ("신규 입사자 교육은 언제예요?", "신입 교육은 언제인가요?"),
     ("What is the maximum speed of the cart?", "max speed of the cart?"),
     ("창고 열쇠 누가 가지고 있어요?", "창고열쇠는 누가 갖고 있나요")],
)  # fmt: skip
def test_words_misspelt_shortened_or_by_another_name_are_found(taught: str, asked: str) -> None:
    assert likeness(understand(asked), Taught("0", taught, "…")) >= SAME


def test_an_abbreviation_is_no_other_word() -> None:
    assert (
        is_short_for("동방", "동아리방") and is_short_for("max", "maximum") and are_initials("신입", "신규", "입사자")
    )
    assert not is_short_for("여객선", "여객선자전거") and not is_short_for("자", "자전거") and not is_short_for("", "")
    assert is_misspelt("elevater", "elevator") and is_misspelt("brach", "branch")
    assert not is_misspelt("form", "from") and not is_misspelt("paper", "caper") and not is_misspelt("", "")


def test_the_answer_to_a_similar_question_is_found_where_none_answers() -> None:
    """What the limit was chosen on."""
    taught, rewordings, others = rewordings_of_benchmark(MORE)
    missed = [(id, text) for id, text in rewordings if found_in(taught, text) is None]
    similar = [found_in(taught, text, SIMILAR) == id for id, text in missed]
    assert sum(similar) >= 0.45 * len(missed)
    assert sum(found_in(taught, text, SIMILAR) is not None for text in others) <= 0.2 * len(others)


@pytest.mark.parametrize(
    ("taught", "asked"),
    [("주차장에서 산장까지 얼마나 멀어요?", "주차장과 산장 사이 거리가 어떻게 돼요?"),
     ("Why was the museum trip postponed?", "How come the museum trip is postponed?"),
     ("In which cupboard are the cups?", "Where are the cups?")],
)  # fmt: skip
def test_kinds_of_answers_in_other_words(taught: str, asked: str) -> None:
    assert _evidence(asked, Taught("0", taught, "…"))["shared"] == 1


def test_an_answer_without_what_is_asked_for_speaks_against_it() -> None:
    asked = "How much is the canteen's lunch?"
    with_price, without = (Taught("0", "What is lunch in the canteen?", answer) for answer in ("Soup for $4.", "Soup."))
    assert _evidence(asked, without)["unanswered"] > _evidence(asked, with_price)["unanswered"] == 0
    assert likeness(understand(asked), without) < likeness(understand(asked), with_price)


def _evidence(asked: str, taught: Taught) -> dict[str, float]:
    found = evidence(understand(asked), taught)
    assert found is not None
    return found


def test_questions_that_share_nothing_are_not_compared() -> None:
    assert evidence(understand("Hello!"), TAUGHT[0]) is None
    assert likeness(understand("도서관은 어디예요?"), TAUGHT[1]) == 0


def test_of_two_answers_to_one_question_the_later_counts() -> None:
    both = [Taught("old", "When?", "At nine."), Taught("new", "when", "At ten.")]
    hit = find_taught(both, [{"role": "user", "content": "When?"}])
    assert hit is not None and hit[0].id == "new"


def test_a_source_names_who_taught_it() -> None:
    source = Taught("better-1", "When?", "At nine.", "Mina", "2026-11-29T10:00:00+00:00").source(1.0)
    row = source.to_row()
    assert (row["file"], row["heading"], row["sentence"]) == ("Mina", "When?", "At nine.")
