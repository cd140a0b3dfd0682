"""Best-of-n: the kept answer, how far it stands from the policy, and what all samples say about every n."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.evals.best_of import best_index, best_weights, kl_bound


def test_the_highest_score_is_kept_once_answers_that_never_ended_have_paid_for_it() -> None:
    assert best_index([0.1, 0.9, 0.5], [True, True, True], 1.0) == 1
    assert best_index([0.1, 0.9, 0.5], [True, False, True], 1.0) == 2
    assert best_index([-3.0, 0.9, 0.5], [True, False, False], 1.0) == 1
    assert best_index([0.1, 0.9, 0.5], [False, False, False], 1.0) == 1
    assert best_index([-9.0, -9.0], [False, True], 0.1) == 1


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6, unique=True), st.integers(1, 6))
def test_the_estimate_is_the_mean_over_all_choices_of_n(scores: list[float], n: int) -> None:
    weights = best_weights(np.array([scores]), n)
    every = [max(chosen) for chosen in combinations(scores, n)]
    assert weights.sum() == pytest.approx(1)
    assert float((weights * np.array([scores])).sum()) == pytest.approx(float(np.mean(every)))


def test_the_bound_is_the_kl_where_no_two_answers_are_alike() -> None:
    """With M equally likely answers, distinct in score, best-of-n has p(i) = (i/M)ⁿ - ((i-1)/M)ⁿ."""
    assert kl_bound(1) == 0
    for n in (2, 4, 16):
        place = np.arange(1, 200_001) / 200_000
        p = place**n - (place - 1 / 200_000) ** n
        with np.errstate(divide="ignore", invalid="ignore"):
            kl = np.nansum(p * np.log(p * 200_000))
        assert kl == pytest.approx(kl_bound(n), abs=1e-3)
        assert kl <= kl_bound(n) < math.log(n)
