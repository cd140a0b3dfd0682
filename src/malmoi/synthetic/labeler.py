"""A simulated labeler: it ranks by a written rule and errs as often as people do. It is always named as simulated."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from malmoi.synthetic.gold import RULE


def true_ranks(scores: Sequence[float], tie_margin: float) -> list[int]:
    """Competition ranks, 1 = best. Scores within `tie_margin` of the best of a group tie with it.

    Scores are compared with the best of the group, not with their neighbour, so a chain of small steps never ties a
    good answer with a bad one.
    """
    if not all(map(math.isfinite, scores)):
        raise ValueError("scores: expected finite numbers")
    ranks = [0] * len(scores)
    best, rank = math.inf, 0
    for place, index in enumerate(sorted(range(len(scores)), key=lambda i: -scores[i]), start=1):
        if best - scores[index] > tie_margin:
            best, rank = scores[index], place
        ranks[index] = rank
    return ranks


def calibrate_sigma(score_lists: Sequence[Sequence[float]], error_rate: float, tie_margin: float = 0.0) -> float:
    """The standard deviation of noise, in units of the score, that reverses `error_rate` of the truly different pairs.

    score_lists: the true scores of the answers to each prompt; a pair truly differs if its true ranks differ
    error_rate: expected share in [0, 0.5); coin flips err half the time
    Found by bisection; 0 if no two answers truly differ: noise would order answers that are the same.
    Source: Thurstone 1927, "A law of comparative judgment", case V.
    """
    if not 0 <= error_rate < 0.5:
        raise ValueError(f"error_rate {error_rate}: expected at least 0 and less than 0.5")
    gaps, counts = _gaps(score_lists, tie_margin)
    if error_rate == 0 or not len(gaps):
        return 0.0
    low, high = 0.0, float(gaps.max())
    while _error_share(gaps, counts, high) < error_rate:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _error_share(gaps, counts, middle) < error_rate else (low, middle)
    return high


@dataclass(frozen=True)
class SimulatedLabeler:
    """Ranks answers by `gold_score` with noise.

    It perceives each score plus Gaussian noise (Thurstone 1927, case V) and ties what it perceives within
    `tie_margin` of the best of a group. The noise is set so that, among the pairs whose true ranks differ,
    `error_rate` are perceived in the wrong order. Answers that read the same are perceived alike, so they tie.

    error_rate: in [0, 0.5); people who rank assistants' answers disagree on about a quarter of the pairs
    tie_margin: in units of the score, 0 to 1
    seed: of all its errors
    sigma: standard deviation of the noise, in units of the score; `calibrated` sets it
    """

    error_rate: float = 0.25
    tie_margin: float = 0.05
    seed: int = 0
    sigma: float | None = None

    @property
    def rule(self) -> str:
        """The rule in words, for `Person.description`."""
        return (
            f"Simulated, not a person. Compares an answer with its reference and its documents: {RULE} "
            f"Scores within {self.tie_margin:g} of the best of a group tie. It perceives scores through Gaussian noise "
            f"(Thurstone 1927) that turns {self.error_rate:.0%} of the truly different pairs round; answers that read "
            f"the same tie; seed {self.seed}."
        )

    @property
    def person_id(self) -> str:
        """An id that depends only on the rule."""
        return f"simulated-{hashlib.sha256(self.rule.encode()).hexdigest()[:8]}"

    def calibrated(self, score_lists: Sequence[Sequence[float]]) -> "SimulatedLabeler":
        """The same labeler with its noise calibrated to these true scores."""
        return replace(self, sigma=calibrate_sigma(score_lists, self.error_rate, self.tie_margin))

    def rng(self, prompt_id: str) -> np.random.Generator:
        """The noise for one prompt. It depends on no other prompt, so a resumed run produces the same ranks."""
        digest = hashlib.sha256(prompt_id.encode()).digest()
        return np.random.default_rng([self.seed, int.from_bytes(digest[:8], "big")])

    def rank(self, answers: Sequence[str], scores: Sequence[float], rng: np.random.Generator) -> list[int]:
        """Competition ranks, 1 = best, as perceived. scores: of each answer; of equal answers the first one's counts"""
        if self.sigma is None:
            raise ValueError("sigma: not set; use labeler.calibrated(score_lists)")
        score_of: dict[str, float] = {}
        for answer, score in zip(answers, scores, strict=True):
            score_of.setdefault(answer, score)
        noise = rng.normal(0.0, self.sigma, len(score_of)).tolist()
        seen = {answer: score + error for (answer, score), error in zip(score_of.items(), noise, strict=True)}
        return true_ranks([seen[answer] for answer in answers], self.tie_margin)


def _gaps(score_lists: Sequence[Sequence[float]], tie_margin: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distinct differences in score between answers with different true ranks, and how often each occurs."""
    gaps = [
        abs(scores[i] - scores[j])
        for scores in score_lists
        for ranks in (true_ranks(scores, tie_margin),)
        for i in range(len(scores))
        for j in range(i)
        if ranks[i] != ranks[j]
    ]
    return np.unique(np.array(gaps, dtype=np.float64), return_counts=True)


def _error_share(gaps: NDArray[np.float64], counts: NDArray[np.int64], sigma: float) -> float:
    # A difference of d is perceived as d + N(0, 2 sigma²): P(reversed) = Φ(-d / sigma √2) = erfc(d / 2 sigma) / 2.
    wrong = np.array([math.erfc(gap / (2 * sigma)) / 2 for gap in gaps])
    return float(wrong @ counts / counts.sum())
