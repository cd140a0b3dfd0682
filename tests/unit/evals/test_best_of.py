"""Best-of-n: the kept answer, how far it stands from the policy, and what all samples say about every n."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from malmoi.evals.best_of import best_of, best_weights, kl_bound
from malmoi.generate.sampling import Sampling
from malmoi.model.transformer import LanguageModel, ScalarModel

pytestmark = pytest.mark.usefixtures("float32")
END = 3


def test_the_answer_that_scores_highest_is_kept(policy: LanguageModel, reward_model: ScalarModel) -> None:
    prompts, sampling = [[7, 8, 9], [10, 11]], Sampling(temperature=1.0, max_tokens=6)
    found = best_of(policy, reward_model, prompts, 5, sampling, end_id=END, seed=4)
    for prompt, best in zip(prompts, found, strict=True):
        ids = [*prompt, *best.answer.ids, *[END] * best.answer.finished]
        assert reward_model(torch.tensor([ids]))[0, -1].item() == pytest.approx(max(best.scores), abs=1e-5)
        assert len(set(best.scores)) > 1
    assert best_of(policy, reward_model, prompts, 5, sampling, end_id=END, seed=4) == found
    cut = best_of(policy, reward_model, prompts, 5, sampling, end_id=END, seed=4, missing_eos_score=-9.0)
    assert all(-9.0 in best.scores for best in cut)


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
