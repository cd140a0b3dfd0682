"""Intervals hold what they promise, and know which values belong together."""

import numpy as np
import pytest

from malmoi.evals.interval import Interval, bootstrap


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    """Of 200 intervals about 190 should; chance alone moves that number by three."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        found = bootstrap((rng.random(60) < 0.3).astype(float).tolist())
        covered += found.low <= 0.3 <= found.high
    assert 178 <= covered <= 199


def test_its_width_is_that_of_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(5, 2, size=400)
    found = bootstrap(values.tolist())
    error = values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    assert found.n == 400


def test_values_of_one_prompt_are_drawn_together() -> None:
    """Ten copies of a value are no more evidence than one: the interval is that of the prompts."""
    values = np.random.default_rng(2).normal(size=50)
    prompts = [f"prompt {i}" for i in range(50)]
    alone = bootstrap(values.tolist())
    copied = bootstrap(np.repeat(values, 10).tolist(), np.repeat(prompts, 10).tolist())
    assert copied.n == 50
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.1)
    blind = bootstrap(np.repeat(values, 10).tolist())
    assert blind.high - blind.low < 0.5 * (alone.high - alone.low)


def test_prompts_of_unlike_sizes_weigh_by_their_values() -> None:
    found = bootstrap([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])
    assert (found.mean, found.low, found.high, found.n) == (0.75, 0.0, 1.0, 2)


def test_the_same_values_have_the_same_interval() -> None:
    values = [0.0, 1.0, 1.0, 0.5]
    assert bootstrap(values) == bootstrap(values) == bootstrap(values, groups=[7, 8, 9, 10])
    assert bootstrap([0.25]) == Interval(0.25, 0.25, 0.25, 1)
    assert str(bootstrap([0.25])) == "0.250 [0.250, 0.250]"


def test_of_nothing_there_is_no_interval_and_no_error() -> None:
    found = bootstrap([])
    assert found.to_row() == {"mean": None, "low": None, "high": None, "n": 0}
    assert str(found) == "no values"
