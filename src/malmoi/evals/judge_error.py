"""Win rates by a judge, corrected for the judge's own error against people.

A judge that orders a share a of people's pairs as they did sees only 2a - 1 of a difference. Two ways to correct it:

- *Misclassification* (Rogan & Gladen 1978, "Estimating prevalence from the results of a screening test"): people's win
  rate is 1/2 + (w - 1/2) / (2a - 1), where w is the judge's. It needs people's rankings of any answers, and assumes
  that the judge errs on the compared answers as often as on those, and not in favour of one method.
- *Prediction-powered inference* (Angelopoulos et al. 2023, arXiv:2301.09633; power tuning: PPI++, arXiv:2311.01453):
  people rank some of the compared answers, drawn at random, and what the judge says of them and of all others narrows
  the interval. It assumes nothing about the judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from malmoi.evals.interval import Interval, resampled_means

Floats = Sequence[float] | np.ndarray
NOT_KNOWN, NO_DIFFERENCE = "not known yet", "no difference shown"
FEWEST_LABELLED = 20
"""Prompts that people must have ranked before `prediction_powered` is used: its interval holds for many."""
LEAST_SIGHT = 0.02
"""Below this 2a - 1 counts as nothing seen: a correction would divide by noise."""
NORMAL_95 = 1.96


@dataclass(frozen=True)
class JudgeError:
    """How often a judge is right.

    right: (P,) of people's pairs: 1 if the judge orders it alike, 0 if not, 1/2 for equal scores; trees: of each pair
    doubt: why the judge gives no verdict at all, or ""
    """

    right: np.ndarray
    trees: Sequence[str]
    doubt: str = ""

    @cached_property
    def accuracies(self) -> np.ndarray:
        """Of each bootstrap resample of the pairs, by tree."""
        return resampled_means(self.right, self.trees, seed=1)

    def corrected(self, wins: Floats) -> dict[str, Any]:
        """People's win rate, from the judge's by prompt: mean, low, high, n and `verdict`; None where it is not known.

        Prompts and people's pairs are resampled, independently of each other, so the interval holds both errors. It is
        unknown if a judge that guesses is within the interval of its accuracy.
        """
        if self.doubt or not len(self.right) or np.percentile(self.accuracies, 2.5) < 0.5 + LEAST_SIGHT / 2:
            return {"mean": None, "low": None, "high": None, "n": 0, "verdict": NOT_KNOWN}
        sight = 2 * self.accuracies - 1
        draws = 0.5 + (resampled_means(wins) - 0.5) / np.maximum(sight, LEAST_SIGHT)
        mean = 0.5 + (float(np.mean(wins)) - 0.5) / (2 * float(self.right.mean()) - 1)
        low, mean, high = np.clip([*np.percentile(draws, [2.5]), mean, *np.percentile(draws, [97.5])], 0, 1).tolist()
        return with_verdict(Interval(mean, low, high, len(wins)))


def prediction_powered(said: Floats, seen: Floats, others: Floats) -> Interval:
    """The mean of what people say, from few prompts that they ranked and many that only a judge did.

    said, seen: (n,) people's and the judge's win rate of each prompt that people ranked, which must be drawn at random
    others: (N,) the judge's of the prompts that they did not
    The judge counts as much as it is worth (its covariance with people): never less precise than people without it.
    Source: arXiv:2311.01453, eq. 3 and 7 for a mean.
    """
    y, f, rest = (np.asarray(values, dtype=np.float64) for values in (said, seen, others))
    n, n_rest = len(y), len(rest)
    spread = float(np.var(np.concatenate([f, rest]), ddof=1))
    share = float(np.cov(y, f)[0, 1]) / ((1 + n / n_rest) * spread) if n_rest and spread else 0.0
    mean = float(y.mean()) + (share * (float(rest.mean()) - float(f.mean())) if share else 0.0)
    variance = float(np.var(y - share * f, ddof=1)) / n + (share**2 * spread / n_rest if n_rest else 0.0)
    half = NORMAL_95 * variance**0.5
    low, mean, high = np.clip([mean - half, mean, mean + half], 0, 1).tolist()
    return Interval(mean, low, high, n)


def with_verdict(found: Interval) -> dict[str, Any]:
    """The row of a win rate's interval, and better, worse, or that no difference is shown."""
    verdict = "better" if found.low > 0.5 else "worse" if found.high < 0.5 else NO_DIFFERENCE
    return found.to_row() | {"verdict": verdict}
