"""Best-of-n: sample n answers and keep the one that the reward model scores highest. No training, n times the work."""

import math
from collections.abc import Sequence

import numpy as np

from malmoi.train.policy_maths import priced

MISSING_EOS_PENALTY = 1.0
"""What an answer that never ended loses where no setting says it, in standard deviations of the reward model's scores;
the default of PPO, GRPO and comparisons."""


def best_index(scores: Sequence[float], finished: Sequence[bool], price: float) -> int:
    """Place of the answer to keep: the highest score, less `price` where an answer never ended, as PPO is paid."""
    return int(priced(np.array(scores), np.array(finished), price).argmax())


def kl_bound(n: int) -> float:
    """log n - (n - 1) / n nats: how far best-of-n stands from the policy that it samples from, at most.

    Source: arXiv:2009.01325, appendix G.3; that it is a bound: arXiv:2401.01879.
    """
    return math.log(n) - (n - 1) / n


def best_weights(scores: np.ndarray, n: int) -> np.ndarray:
    """How likely each of a prompt's N answers is the best of n drawn from them without return.

    scores: (prompts, N), N at least n. Returns (prompts, N); rows sum to 1. Weighted means of anything else about the
    answers then estimate best-of-n without bias, from all N.
    Source: Nakano et al. 2021 (arXiv:2112.09332), appendix I.
    """
    n_all = scores.shape[1]
    chances = np.array([math.comb(n_all - 1 - place, n - 1) / math.comb(n_all, n) for place in range(n_all)])
    places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return np.asarray(chances[places])
