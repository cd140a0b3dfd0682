"""A judge's win rates, corrected: by hand, and how often the intervals hold the truth."""

import numpy as np
import pytest

from malmoi.evals.interval import Interval
from malmoi.evals.judge_error import NO_DIFFERENCE, NOT_KNOWN, JudgeError, prediction_powered, with_verdict


def judge(accuracy: float, n: int, doubt: str = "") -> JudgeError:
    right = np.arange(n) < accuracy * n
    return JudgeError(right.astype(float), [str(i) for i in range(n)], doubt)


def test_a_judge_sees_only_a_part_of_a_difference() -> None:
    wins = [0.6] * 50
    assert judge(1.0, 400).corrected(wins)["mean"] == pytest.approx(0.6)
    found = judge(0.75, 400).corrected(wins)
    assert found["mean"] == pytest.approx(0.5 + 0.1 / 0.5)
    assert found["low"] < 0.7 < found["high"] and found["verdict"] == "better"
    assert judge(0.75, 400).corrected([0.4] * 50)["verdict"] == "worse"
    assert judge(0.75, 400).corrected([0.4, 0.6] * 25)["verdict"] == NO_DIFFERENCE


def test_a_judge_that_may_be_guessing_or_is_in_doubt_gives_no_verdict() -> None:
    for error in (judge(0.54, 100), judge(0.4, 400), judge(0.9, 0), judge(0.9, 400, "no better than length")):
        assert error.corrected([0.9] * 30) == {"mean": None, "low": None, "high": None, "n": 0, "verdict": NOT_KNOWN}


def test_a_win_rate_stays_a_share() -> None:
    found = judge(0.6, 2000).corrected([0.9] * 50)
    assert (found["mean"], found["high"]) == (1.0, 1.0)


def test_less_accurate_judges_have_wider_intervals() -> None:
    wins = np.random.default_rng(0).random(60) * 0.4 + 0.35
    widths = [(row := judge(accuracy, 600).corrected(wins))["high"] - row["low"] for accuracy in (0.95, 0.8, 0.65)]
    assert widths[0] < widths[1] < widths[2]


def test_the_corrected_interval_holds_the_truth() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(60):
        truth, accuracy, n_prompts = 0.6, 0.7, 60
        of_prompt = np.clip(rng.normal(truth, 0.2, n_prompts), 0, 1)
        better = rng.random((n_prompts, 8)) < of_prompt[:, None]
        seen = np.where(rng.random(better.shape) < accuracy, better, ~better).mean(axis=1)
        error = JudgeError((rng.random(300) < accuracy).astype(float), [str(i) for i in range(300)])
        found = error.corrected(seen)
        held += found["low"] <= truth <= found["high"]
    assert held >= 0.87 * 60


@pytest.mark.parametrize("bias", [0.0, 0.3])
@pytest.mark.parametrize("use", [0.0, 0.5, 0.95])
def test_prediction_powered_intervals_hold_the_truth_whatever_the_judge(use: float, bias: float) -> None:
    """use: how far the judge says what people say; bias: for one method."""
    rng, held, n = np.random.default_rng(2), 0, 400
    for _ in range(n):
        people = (rng.random(300) < 0.55).astype(float)
        follows = rng.random(300) < use
        seen = np.clip(np.where(follows, people, rng.random(300) < 0.5) + bias * (rng.random(300) < 0.5), 0, 1)
        found = prediction_powered(people[:60], seen[:60], seen[60:])
        held += found.low <= 0.55 <= found.high
    assert 0.915 * n <= held <= 0.99 * n


def test_a_good_judge_narrows_the_interval_and_a_bad_one_does_not_widen_it() -> None:
    rng = np.random.default_rng(3)
    people = (rng.random(400) < 0.5).astype(float)
    alone = prediction_powered(people[:50], people[:50], [])
    good, bad = (
        prediction_powered(people[:50], people[:50], people[50:]),
        prediction_powered(people[:50], rng.random(50), rng.random(350)),
    )
    width = alone.high - alone.low
    assert good.high - good.low < 0.5 * width
    assert bad.high - bad.low < 1.05 * width


def test_what_people_say_stays_a_share_when_the_judge_says_more_of_the_others() -> None:
    found = prediction_powered([1.0] * 9 + [0.5], [0.9] * 9 + [0.4], [1.0] * 50)
    assert found.low <= found.mean <= found.high == 1.0


def test_verdicts_follow_the_interval() -> None:
    found = [
        with_verdict(Interval(0.5, low, high, 9))["verdict"] for low, high in ((0.51, 0.6), (0.3, 0.49), (0.4, 0.6))
    ]
    assert found == ["better", "worse", NO_DIFFERENCE]
