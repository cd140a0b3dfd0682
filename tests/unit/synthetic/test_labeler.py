from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from malmoi.errors import DataError
from malmoi.feedback.judgements import check_ranks, competition_ranks
from malmoi.synthetic.labeler import AGREEMENT, FORM, LENGTH, SimulatedLabeler, calibrate_sigma, gold_score, true_ranks

REFERENCE = "Use `len(items)` to count the items of a list."
texts = st.text(alphabet="ab 말_.\n!`(", max_size=30)
scores = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=8)
margins = st.sampled_from([0.0, 0.05, 0.3])


def score(answer: str, reference: str | list[str] = REFERENCE, finished: bool = True) -> float:
    return gold_score(answer, reference, finished)


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


def test_agreement_of_a_near_miss_stays_under_that_of_the_answer() -> None:
    # All 10 words, other punctuation: 0.8; 2 of 2 and of 10 words: 0.8 · 4/12, and no full stop halves the form.
    assert score("Use len(items) to count the items of a list.") == pytest.approx(AGREEMENT * 0.8 + FORM + LENGTH)
    assert score("Use len") == pytest.approx(AGREEMENT * 0.8 * 4 / 12 + FORM / 2 + LENGTH)
    # None of its words, though it has the form.
    assert score("No idea.") == pytest.approx(FORM + LENGTH)


@pytest.mark.parametrize(
    "answer",
    [
        "- use `len(items)` to count the items of a list.",
        "use `len(items)` to count the items of a list",
        "Sure, `len(items)` to count the items of a list.",
        "`len(items)` count the items of a list. Let me know.",
        "count the items, count the items of a list.",
        "use `len(items)` to count\nthe items of a list.",
    ],
)
def test_each_fault_of_form_halves_it(answer: str) -> None:
    # What is left beside agreement and length (which is whole: these are short) is the form.
    assert score(answer) - AGREEMENT * agreement(answer) - LENGTH == pytest.approx(FORM / 2)
    assert score(answer, finished=False) == pytest.approx(score(answer) - FORM / 4)


def agreement(answer: str) -> float:
    """0.8 F1 of the words, written once more."""
    clean = str.maketrans("`().,-\n", "       ")
    given, wanted = (sorted(text.lower().translate(clean).split()) for text in (answer, REFERENCE))
    common = sum(min(given.count(word), wanted.count(word)) for word in set(given))
    return 0.8 * 2 * common / (len(given) + len(wanted))


def test_a_fault_that_the_reference_has_too_is_none() -> None:
    poem = "@cache\ndef f(): pass"
    assert score("@cache\ndef g(): pass", poem) == pytest.approx(AGREEMENT * 0.8 * 6 / 8 + FORM + LENGTH)


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
    assert score("말모이는 첫 사전이다.", "말모이는 첫 사전이다.") == 1


def test_no_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        gold_score("words", [], True)


def test_ties_are_measured_from_the_best_of_the_group_not_along_a_chain() -> None:
    assert true_ranks([0.82, 0.90, 0.86, 0.10], 0.05) == [3, 1, 1, 4]
    assert true_ranks([0.5, 0.5], 0) == [1, 1]
    assert true_ranks([], 0.05) == []
    with pytest.raises(ValueError, match="finite"):
        true_ranks([0.1, float("nan")], 0.05)


@given(scores, margins)
def test_true_ranks_order_by_score_and_tie_only_what_is_near(values: list[float], margin: float) -> None:
    ranks = true_ranks(values, margin)
    check_ranks(ranks, len(values))
    for a, rank_a in zip(values, ranks, strict=True):
        for b, rank_b in zip(values, ranks, strict=True):
            if rank_a < rank_b:
                assert a > b
            if rank_a == rank_b:
                assert abs(a - b) <= margin
    assert true_ranks(values, 0) == competition_ranks([-value for value in values])
    assert true_ranks(values[::-1], margin) == ranks[::-1]


@given(st.floats(0.01, 1), st.floats(0.01, 0.49))
def test_the_noise_for_one_gap_is_thurstones(gap: float, error_rate: float) -> None:
    expected = -gap / (2**0.5 * NormalDist().inv_cdf(error_rate))
    assert calibrate_sigma([[0.0, gap]], error_rate) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30)
@given(st.lists(scores, min_size=1, max_size=5), st.sampled_from([0.1, 0.25, 0.4]), margins)
def test_the_noise_turns_round_the_share_that_was_asked_for(
    score_lists: list[list[float]], error_rate: float, margin: float
) -> None:
    gaps = [
        abs(values[i] - values[j])
        for values in score_lists
        for i in range(len(values))
        for j in range(i)
        if true_ranks(values, margin)[i] != true_ranks(values, margin)[j]
    ]
    assume(gaps)
    sigma = calibrate_sigma(score_lists, error_rate, margin)
    noise = NormalDist(0, 2**0.5 * sigma)
    assert np.mean([noise.cdf(-gap) for gap in gaps]) == pytest.approx(error_rate, abs=1e-6)


def test_the_noise_has_limits() -> None:
    assert calibrate_sigma([[0.1, 0.9]], 0) == 0
    with pytest.raises(ValueError, match=r"error_rate 0\.5"):
        calibrate_sigma([[0.1, 0.9]], 0.5)
    with pytest.raises(DataError, match="no two answers"):
        calibrate_sigma([[0.5, 0.52], [0.1]], 0.25, tie_margin=0.05)


def test_the_labeler_errs_as_often_as_it_should() -> None:
    rng = np.random.default_rng(0)
    score_lists = rng.random((1500, 4)).tolist()
    labeler = SimulatedLabeler(error_rate=0.25, tie_margin=0.0).calibrated(score_lists)
    wrong = n_pairs = 0
    for number, values in enumerate(score_lists):
        ranks = labeler.rank(values, labeler.rng(str(number)))
        check_ranks(ranks, 4)
        for i in range(4):
            for j in range(i):
                n_pairs += 1
                wrong += (ranks[i] < ranks[j]) != (values[i] > values[j])
    assert wrong / n_pairs == pytest.approx(0.25, abs=0.015)


@given(scores, margins)
def test_a_labeler_without_noise_tells_the_truth(values: list[float], margin: float) -> None:
    labeler = SimulatedLabeler(error_rate=0, tie_margin=margin, sigma=0.0)
    assert labeler.rank(values, labeler.rng("x")) == true_ranks(values, margin)


def test_the_labeler_depends_on_its_seed_and_the_prompt_alone() -> None:
    values = [i / 20 for i in range(20)]
    labeler = SimulatedLabeler(seed=1, sigma=0.3)
    first = labeler.rank(values, labeler.rng("a"))
    assert first == labeler.rank(values, labeler.rng("a"))
    assert first != labeler.rank(values, labeler.rng("b"))
    assert first != labeler.rank(values, SimulatedLabeler(seed=2).rng("a"))


def test_a_labeler_that_was_not_calibrated_says_so() -> None:
    labeler = SimulatedLabeler()
    with pytest.raises(ValueError, match="calibrated"):
        labeler.rank([0.1, 0.2], labeler.rng("x"))


def test_the_rule_is_written_down_and_names_the_labeler() -> None:
    labeler = SimulatedLabeler()
    assert labeler.rule.startswith("Simulated, not a person.")
    assert "25%" in labeler.rule
    assert labeler.calibrated([[0.1, 0.9]]).person_id == labeler.person_id
    ids = {one.person_id for one in (labeler, SimulatedLabeler(error_rate=0.1), SimulatedLabeler(seed=1))}
    assert len(ids) == 3
