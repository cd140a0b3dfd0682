"""Best-of-n: sample n answers and keep the one that the reward model scores highest. No training, n times the work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malmoi.data.comparisons import Ranking
from malmoi.evals.preferences import score_rankings
from malmoi.generate.engine import Answer, generate
from malmoi.generate.sampling import Sampling
from malmoi.model.transformer import LanguageModel, ScalarModel


@dataclass(frozen=True)
class Best:
    """The answer that was kept, and the scores (n,) of all, in the reward model's units."""

    answer: Answer
    scores: list[float]


def best_of(
    policy: LanguageModel, reward_model: ScalarModel, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling, *,
    end_id: int, seed: int = 0, missing_eos_score: float | None = None,
) -> list[Best]:  # fmt: skip
    """The best of n answers to every prompt (ids).

    missing_eos_score: of an answer that never ended its turn, in place of the reward model's
    Raises DataError as `generate`.
    """
    seeds = [int(s) for s in np.random.default_rng((seed, n)).integers(2**62, size=n * len(prompts))]
    answers = generate(policy, [prompt for prompt in prompts for _ in range(n)], sampling, end_id=end_id, seeds=seeds)
    groups = [answers[start : start + n] for start in range(0, len(answers), n)]
    rankings = [
        Ranking([[*prompt, *answer.ids, *[end_id] * answer.finished] for answer in group], [1] * n)
        for prompt, group in zip(prompts, groups, strict=True)
    ]
    found = []
    for group, scores in zip(groups, score_rankings(reward_model, rankings, end_id), strict=True):
        if missing_eos_score is not None:
            scores = [s if a.finished else missing_eos_score for a, s in zip(group, scores, strict=True)]
        found.append(Best(group[int(np.argmax(scores))], scores))
    return found


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
