"""The simulated labeler's rule: right first, then supported, then form, then length."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from malmoi.synthetic.gold import FORM, LENGTH, RIGHT, SUPPORTED, declines, gold_score

REFERENCE = "random.shuffle: Shuffle list x in place, and return None."
DOCUMENTS = [
    {"title": "random.shuffle", "text": "Shuffle list x in place, and return None."},
    {"title": "random.sample", "text": "Chooses k unique random elements from a population sequence."},
]
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "What does random.shuffle do?", "documents": DOCUMENTS}]
DECLINED = "I do not know random.shufle. The nearest I know: random.sample."
texts = st.text(alphabet="ab 말_.\n!`(", max_size=30)
ENDS = ("", ".", " I hope this helps.", "\n\n- and", " and and and and and and", " and so on" * 40)


def score(answer: str, reference: str | list[str] = REFERENCE, finished: bool = True) -> float:
    return gold_score(answer, reference, finished, MESSAGES)


@given(texts, st.lists(texts, min_size=1, max_size=3), st.booleans())
def test_a_score_lies_in_0_to_1_and_is_1_for_the_reference_alone(
    answer: str, references: list[str], finished: bool
) -> None:
    value = gold_score(answer, references, finished)
    assert 0 <= value <= 1
    assert value == max(gold_score(answer, one, finished) for one in references)
    if value == 1:
        assert finished
        assert answer.split() in [one.split() for one in references]


@given(texts)
def test_the_finished_reference_scores_1_whatever_it_looks_like(reference: str) -> None:
    assume(reference.strip())
    assert gold_score(reference, reference, True) == 1
    assert gold_score(f"  {reference} ", reference, True) == 1
    assert gold_score(reference, reference, False) == pytest.approx(1 - FORM / 2)


@pytest.mark.parametrize("answer", ["", "  \n "])
def test_an_empty_answer_scores_0(answer: str) -> None:
    assert score(answer) == 0


def test_right_comes_before_declined_and_that_before_wrong_and_invented() -> None:
    ordered = [
        REFERENCE,
        f"Sure! {REFERENCE}",
        "I do not know random.shuffle.",
        "random.sample: Chooses k unique random elements from a population sequence.",
        "os.frobnicate: Frobnicates 17 times.",
        "",
    ]
    values = [score(answer) for answer in ordered]
    assert all(better > worse for better, worse in pairwise(values))


@given(st.sampled_from(ENDS), st.sampled_from(ENDS), st.booleans(), st.booleans())
def test_no_form_makes_up_for_what_is_said(end: str, other: str, finished: bool, other_finished: bool) -> None:
    right = "random.shuffle: Shuffle list x in place and return None" + end
    assume(len(end) < 30)  # a long tail leaves too little of the answer
    declined, wrong = "I do not know random.shuffle" + other, "random.sample: Chooses k elements" + other
    assert score(right, finished=finished) > score(declined, finished=other_finished)
    assert score(declined, finished=other_finished) > score(wrong, finished=other_finished)


def test_not_to_know_is_right_where_nothing_fits_and_wrong_where_the_passage_is() -> None:
    reference = "I do not know random.shufle. The nearest I know: random.sample, random.shuffle."
    assert score(DECLINED, reference) > 0.8 > score("I do not know json.dumps and tk.Frame.", reference)
    assert score("random.shuffle: Shuffle list x in place, and return None.", reference) < 0.3
    assert score(DECLINED) < 0.45
    assert (
        declines("모르겠습니다. 제가 읽은 문서에 없습니다.")
        and declines("json.dump는 모릅니다.")
        and not declines(REFERENCE)
    )


def test_names_and_numbers_that_are_not_given_cost_the_support() -> None:
    near = "random.shuffle: Shuffle list x in place, and return None, says PEP {}."
    known = score("random.shuffle: Shuffle list x in place, and return None, says x.")
    assert known - score(near.format("8")) == pytest.approx(SUPPORTED, abs=0.05)
    assert known - score("random.shuffle: Shuffle list x in place, and return os.devnull.") >= SUPPORTED - 0.05


@pytest.mark.parametrize(
    "answer",
    [
        "- random.shuffle: Shuffle list x in place, and return None.",
        "random.shuffle: Shuffle list x in place, and return None",
        "Sure, random.shuffle: Shuffle list x in place, return None.",
        "random.shuffle: Shuffle x in place, return None. Let me know.",
        "random.shuffle: Shuffle list x in place, Shuffle list x, return None.",
        "random.shuffle:\nShuffle list x in place, and return None.",
    ],
)
def test_each_fault_of_form_halves_it(answer: str) -> None:
    words = answer.lower().replace(",", "").replace(".", " ").replace(":", " ").replace("-", " ").split()
    wanted = ["random", "shuffle", "shuffle", "list", "x", "in", "place", "and", "return", "none"]
    common = sum(min(words.count(word), wanted.count(word)) for word in set(words))
    overlap = 2 * common / (len(words) + len(wanted))
    right = 1 if answer.split() == REFERENCE.split() else 0.6 + 0.35 * overlap
    assert score(answer) == pytest.approx(RIGHT * right + SUPPORTED + FORM / 2 + LENGTH)
    assert score(answer, finished=False) == pytest.approx(score(answer) - FORM / 4)


def test_length_falls_from_1_25_to_2_5_times_the_reference() -> None:
    reference = "one two three four five six seven eight"
    expected = {8: 1, 10: 1, 15: 0.5, 20: 0, 30: 0}
    for n_words, length in expected.items():
        answer = " ".join(f"w{i}" for i in range(n_words))
        assert score(answer, reference) == pytest.approx(FORM + LENGTH * length)


def test_surely_is_no_filler_and_korean_counts() -> None:
    assert score("Surely.", "Never.") == pytest.approx(FORM + LENGTH)
    assert score("Sure.", "Never.") == pytest.approx(FORM / 2 + LENGTH)
    assert score("물론입니다. 말모이.", "사전의 이름.") == pytest.approx(FORM / 2 + LENGTH)
    korean = "random.shuffle은 이렇게 설명되어 있습니다: Shuffle list x in place, and return None."
    assert score(korean, korean) == 1 > score(f"물론입니다! {korean}", korean) > 0.8


def test_no_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        gold_score("words", [], True)
