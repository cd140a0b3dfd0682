from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from malmoi.feedback.judgements import check_ranks, competition_ranks
from malmoi.synthetic.labeler import SimulatedLabeler, calibrate_sigma, true_ranks

scores = st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=8)
margins = st.sampled_from([0.0, 0.05, 0.3])
DIFFERENT = [chr(ord("a") + number) for number in range(20)]


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
    assert calibrate_sigma([[0.5, 0.52], [0.1]], 0.25, tie_margin=0.05) == 0


def test_the_labeler_errs_as_often_as_it_should() -> None:
    rng = np.random.default_rng(0)
    score_lists = rng.random((1500, 4)).tolist()
    labeler = SimulatedLabeler(error_rate=0.25, tie_margin=0.0).calibrated(score_lists)
    wrong = n_pairs = 0
    for number, values in enumerate(score_lists):
        ranks = labeler.rank(DIFFERENT[:4], values, labeler.rng(str(number)))
        check_ranks(ranks, 4)
        for i in range(4):
            for j in range(i):
                n_pairs += 1
                wrong += (ranks[i] < ranks[j]) != (values[i] > values[j])
    assert wrong / n_pairs == pytest.approx(0.25, abs=0.015)


@given(scores, margins)
def test_a_labeler_without_noise_tells_the_truth(values: list[float], margin: float) -> None:
    labeler = SimulatedLabeler(error_rate=0, tie_margin=margin, sigma=0.0)
    assert labeler.rank(DIFFERENT[: len(values)], values, labeler.rng("x")) == true_ranks(values, margin)


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=8), st.integers(0, 5))
def test_answers_that_read_the_same_tie_whatever_the_noise(answers: list[str], seed: int) -> None:
    labeler = SimulatedLabeler(seed=seed, tie_margin=0, sigma=0.3)
    ranks = labeler.rank(answers, ["abc".index(answer) / 10 for answer in answers], labeler.rng("x"))
    check_ranks(ranks, len(answers))
    for a, rank_a in zip(answers, ranks, strict=True):
        for b, rank_b in zip(answers, ranks, strict=True):
            assert (a == b) == (rank_a == rank_b)


def test_a_copy_changes_nothing_about_the_other_answers() -> None:
    labeler = SimulatedLabeler(seed=1, sigma=0.3)
    alone = labeler.rank(["a", "b", "c"], [0.1, 0.5, 0.4], labeler.rng("x"))
    copied = labeler.rank(["a", "b", "a", "c"], [0.1, 0.5, 0.1, 0.4], labeler.rng("x"))
    assert copied[0] == copied[2]
    assert np.argsort([copied[0], copied[1], copied[3]]).tolist() == np.argsort(alone).tolist()


def test_a_text_whose_copies_score_differently_has_one_score() -> None:
    """The end of a turn cannot be seen in the text."""
    labeler = SimulatedLabeler(error_rate=0, tie_margin=0, sigma=0.0)
    assert labeler.rank(["a", "b", "a"], [0.6, 0.5, 0.3], labeler.rng("x")) == [1, 3, 1]


def test_the_labeler_depends_on_its_seed_and_the_prompt_alone() -> None:
    values = [i / 20 for i in range(20)]
    labeler = SimulatedLabeler(seed=1, sigma=0.3)
    first = labeler.rank(DIFFERENT, values, labeler.rng("a"))
    assert first == labeler.rank(DIFFERENT, values, labeler.rng("a"))
    assert first != labeler.rank(DIFFERENT, values, labeler.rng("b"))
    assert first != labeler.rank(DIFFERENT, values, SimulatedLabeler(seed=2).rng("a"))


def test_a_labeler_that_was_not_calibrated_says_so() -> None:
    labeler = SimulatedLabeler()
    with pytest.raises(ValueError, match="calibrated"):
        labeler.rank(["a", "b"], [0.1, 0.2], labeler.rng("x"))


def test_the_rule_is_written_down_and_names_the_labeler() -> None:
    labeler = SimulatedLabeler()
    assert labeler.rule.startswith("Simulated, not a person.")
    assert "25%" in labeler.rule
    assert labeler.calibrated([[0.1, 0.9]]).person_id == labeler.person_id
    ids = {one.person_id for one in (labeler, SimulatedLabeler(error_rate=0.1), SimulatedLabeler(seed=1))}
    assert len(ids) == 3
