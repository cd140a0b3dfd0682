"""How much is learned from few rankings: every ranking is held out once, and all methods judge the same pairs."""

from typing import Any

import numpy as np
import pytest

from benchmarks.few_rankings import compared, distance, distance_if_true, joined, measure, told
from malmoi.evals.reward_baselines import LONGER, SHORTER, WORDS
from malmoi.evals.reward_curve import PROBE, Known
from malmoi.train.features import Features


def known(n: int, source: str, sign: int) -> Known:
    """Pairs whose first feature says which answer is better, or of a sign of -1 which is worse."""
    rng = np.random.default_rng(n)
    states = rng.normal(size=(2 * n, 8)).astype(np.float32)
    rows: list[dict[str, Any]] = [
        {"messages": [], "answers": ["yes " * int(rng.integers(1, 9)) for _ in range(2)], "source": source,
         "ranks": [1, 2] if sign * (states[2 * i, 0] - states[2 * i + 1, 0]) > 0 else [2, 1], "tree": f"{source} {i}"}
        for i in range(n)
    ]  # fmt: skip
    prompts = (rng.normal(size=(n, 4)) + 3 * sign).astype(np.float32)
    return Known(rows, Features(states, np.full(2 * n, 5), prompts, np.full(n, 2), (1,)))


def test_every_ranking_is_held_out_once_and_a_size_that_a_fold_cannot_give_is_left_out() -> None:
    found = measure(known(90, "a", 1), (50, 200))
    assert [point["n"] for point in found["points"]] == [50]
    (point,) = found["points"]
    assert point["n_pairs"] == 90 and len(point["draws"]) == 3 and point["by_source"] == {}
    accuracy = {name: row["mean"] for name, row in point["accuracy"].items()}
    assert accuracy[PROBE] > 0.75 and accuracy[LONGER] == pytest.approx(1 - accuracy[SHORTER])
    assert point["ahead"]["mean"] == pytest.approx(accuracy[PROBE] - accuracy[point["best"]])
    assert "0." in told("a", found)


def test_several_files_are_also_measured_by_source() -> None:
    found = measure(joined([known(60, "a", 1), known(61, "b", -1)]), (50,))
    (point,) = found["points"]
    parts = point["by_source"]
    assert point["n_pairs"] == 121 and {name: part["n_pairs"] for name, part in parts.items()} == {"a": 60, "b": 61}
    weighed = sum(part["n_pairs"] * part["accuracy"][PROBE]["mean"] for part in parts.values()) / 121
    assert point["accuracy"][PROBE]["mean"] == pytest.approx(weighed)
    assert told("both", found).count("only") == 2


def test_claims_are_compared_with_what_was_right() -> None:
    rng = np.random.default_rng(0)
    gaps = rng.normal(size=4000)
    true = np.where(rng.random(4000) < 1 / (1 + np.exp(-np.abs(gaps))), np.abs(gaps), -np.abs(gaps))
    assert distance(true) < 0.03 and distance_if_true(true) < 0.03
    assert distance(3 * true) > 0.1
    zeros = np.zeros((3, 4000))
    found = compared({PROBE: np.stack([3 * true] * 3), LONGER: zeros, SHORTER: zeros, WORDS: zeros}, list(range(4000)))  # type: ignore[arg-type]
    assert found["claims_more"]["low"] > 0.1 and found["distance"] == pytest.approx(distance(3 * true))
