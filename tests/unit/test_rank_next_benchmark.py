"""The simulation of what to rank next: who wins where there is something to win, and how labels saved are counted."""

import numpy as np
import pytest

from benchmarks.rank_next import CHANCE, INFORMED, report, saved, simulate, told
from malmoi.train.features import Features


def test_labels_saved_are_interpolated_where_the_informed_reach_the_accuracy_of_chance() -> None:
    assert saved((50, 100, 200), (0.6, 0.7, 0.8), (0.5, 0.55, 0.65)) == pytest.approx(1 - 75 / 200)
    assert saved((50, 100, 200), (0.6, 0.7, 0.8), (0.5, 0.55, 0.6)) == pytest.approx(0.75)
    assert saved((50, 100, 200), (0.5, 0.55, 0.6), (0.6, 0.7, 0.8)) == 0


def test_the_simulation_measures_both_on_the_same_held_out_pairs() -> None:
    rng = np.random.default_rng(0)
    n = 130
    states = rng.normal(size=(2 * n, 8)).astype(np.float32)
    prompts = rng.normal(size=(n, 4)).astype(np.float32)
    features = Features(states, np.full(2 * n, 4), prompts, np.full(n, 2), (1, 2))
    ranks = [[1, 2] if states[2 * i, 0] > states[2 * i + 1, 0] else [2, 1] for i in range(n)]
    right, trees = simulate(features, ranks, [str(i) for i in range(n)], (50, 75), seed=0)
    assert right[INFORMED].shape == right[CHANCE].shape == (2, 52) and len(trees) == 52
    assert right[INFORMED].mean() > 0.75
    found = report((50, 75), [(right, trees)])
    assert found["saved_range"][0] <= found["saved"] <= found["saved_range"][1]  # type: ignore[index, operator]
    assert "labels saved" in told(found)
