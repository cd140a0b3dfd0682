"""The verdict on a candidate: true at every moment, by prompt, with the number that would settle it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.gate import simulate
from malmoi.feedback.gate import ALPHA, HELD_BACK, Compared, Verdict, interval, n_more, prompt_scores, verdict


def compared(*scores: float) -> list[Compared]:
    return [Compared(f"prompt {i}", score) for i, score in enumerate(scores)]


def of(n_won: int, n_lost: int, n_ties: int = 0) -> Verdict:
    return verdict(compared(*[1.0] * n_won, *[0.0] * n_lost, *[0.5] * n_ties))


def test_nothing_is_known_without_comparisons() -> None:
    found = verdict([])
    assert (found.outcome, found.low, found.high, found.n) == ("not known yet", 0.0, 1.0, 0)
    assert found.to_row()["win_rate"] is None


def test_few_wins_settle_nothing_and_many_do() -> None:
    assert of(6, 2).outcome == "not known yet"
    assert of(45, 15).outcome == "better" and of(15, 45).outcome == "worse"
    assert of(45, 15).n_more == 0


def test_ties_say_nothing_about_which_is_better() -> None:
    assert of(45, 15, 40).outcome == "better"
    assert of(0, 0, 500).outcome == "not known yet"
    assert of(45, 15, 40).win_rate == pytest.approx(0.65)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=120))
def test_the_interval_and_the_outcome_agree(scores: list[float]) -> None:
    found = verdict(compared(*scores))
    assert (found.outcome == "better") == (found.low > 0.5)
    assert (found.outcome == "worse") == (found.high < 0.5)
    mirrored = verdict(compared(*[1 - score for score in scores]))
    assert mirrored.low == pytest.approx(1 - found.high) and mirrored.n_more == found.n_more


def test_a_prompt_counts_once_when_all_its_comparisons_are_there() -> None:
    given_ = [Compared("a", 1), Compared("b", 0), Compared("a", 0.5), Compared("a", 0), Compared("b", 1)]
    assert prompt_scores(given_, 2).tolist() == [0.75, 0.5]
    assert verdict(given_, 2).n_waiting == 1


def test_a_hundred_comparisons_of_one_prompt_are_no_hundred_prompts() -> None:
    assert verdict([Compared("the same", 1.0)] * 100).outcome == "not known yet"


def test_what_would_settle_it_settles_it() -> None:
    scores = np.array([1.0] * 24 + [0.0] * 12)
    more = n_more(scores)
    assert more is not None
    rate = (HELD_BACK / 2 + 24) / (HELD_BACK + 36)
    won = round(more * rate)
    assert of(24 + won + 1, 12 + more - won).outcome == "better"
    assert n_more(np.array([1.0, 0.0] * 200)) is None


def test_the_interval_narrows_and_holds_the_truth() -> None:
    rng = np.random.default_rng(3)
    misses = 0
    for _ in range(60):
        low, high = interval((rng.random(150) < 0.62).astype(float))
        misses += not low <= 0.62 <= high
        assert high - low < 0.35
    assert misses <= 60 * 2 * ALPHA


def test_looking_after_every_comparison_errs_as_seldom_as_said() -> None:
    for ties, per_prompt in ((0.0, 1), (0.3, 1), (0.0, 3)):
        better, worse = simulate(0.5, 1_500, 200, ties, per_prompt)
        assert (better <= 200).mean() <= ALPHA and (worse <= 200).mean() <= ALPHA
    better, _ = simulate(0.7, 500, 150)
    assert np.percentile(better, 80) <= 80


def test_a_score_beyond_a_win_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        verdict(compared(2.0))
