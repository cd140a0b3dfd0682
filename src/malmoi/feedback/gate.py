"""The gate: whether people prefer a candidate to the version in service.

People look at the verdict while comparisons still arrive, so it has to be valid at every moment, and not only at the
end. A bettor plays against the claim "the candidate wins a share m of the prompts". The stakes are fair if the claim is
true, so that the capital ever grows 20 times with a probability of at most 1/20, however often somebody looks. The
shares that no bettor has refuted make the interval. Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded
random variables by betting" (arXiv:2010.09686); the mixture of bets is Robbins 1970.

Answers to one prompt are alike, so a prompt is one bet: on the mean of its comparisons, once all that were planned have
arrived. A tie counts one half.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Outcome = Literal["better", "worse", "not known yet"]
Side = Literal["above", "below"]
ALPHA = 0.05
"""Highest probability that a candidate that is no better is ever called better; and the same for worse."""
REACH = 0.2
"""Bets are spread evenly over win rates up to this far from the claim: few candidates win more than seven of ten."""
HELD_BACK = 16.0
"""Prompts, half of them won, that a forecast begins with, so that a few lucky ones promise nothing."""
MOST_MORE = 5_000
"""Comparisons beyond which nobody would wait."""
_STEPS = REACH * (np.arange(50) + 0.5) / 50
_CLAIMS = np.arange(2, 399) / 400
_EVEN = 0.5


@dataclass(frozen=True)
class Compared:
    """What one person said of two answers to one prompt. score: 1: the candidate's is better, 0: worse, 0.5: a tie"""

    prompt: str
    score: float


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is better than the version in service.

    win_rate: share of the prompts that the candidate wins, NaN without any
    low, high: its interval, each end wrong with a probability of at most `ALPHA` at all times together
    n: prompts that count
    n_waiting: comparisons that do not count yet, or are more than were planned
    n_more: prompts that would settle it if the rate stays as it is; 0: it is settled; None: more than `MOST_MORE`
    """

    outcome: Outcome
    win_rate: float
    low: float
    high: float
    n: int
    n_waiting: int
    n_more: int | None

    def to_row(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome, "win_rate": self.win_rate if self.n else None, "low": self.low, "high": self.high,
            "n": self.n, "n_waiting": self.n_waiting, "n_more": self.n_more,
        }  # fmt: skip


def verdict(comparisons: Sequence[Compared], per_prompt: int = 1) -> Verdict:
    """The verdict after these comparisons, in the order of their arrival.

    per_prompt: how many comparisons each prompt was planned to get
    Raises ValueError if a score is not between 0 and 1.
    """
    scores = prompt_scores(comparisons, per_prompt)
    n_waiting = len(comparisons) - per_prompt * len(scores)
    above, below = _log_capital(scores, _EVEN, "above"), _log_capital(scores, _EVEN, "below")
    limit = -math.log(ALPHA)
    outcome: Outcome = "better" if above >= limit else "worse" if below >= limit else "not known yet"
    low, high = interval(scores)
    rate = float(np.mean(scores)) if len(scores) else math.nan
    return Verdict(
        outcome, rate, low, high, len(scores), n_waiting, 0 if outcome != "not known yet" else n_more(scores)
    )


def prompt_scores(comparisons: Sequence[Compared], per_prompt: int) -> NDArray[np.float64]:
    """The mean score of each prompt with all its comparisons, in the order in which they were complete.

    What comes after a prompt is complete does not count: who could add to it later could choose where to add.
    """
    found: dict[str, list[float]] = {}
    complete = []
    for one in comparisons:
        if not 0 <= one.score <= 1:
            raise ValueError(f"score {one.score}: a comparison scores from 0 to 1")
        scores = found.setdefault(one.prompt, [])
        scores.append(one.score)
        if len(scores) == per_prompt:
            complete.append(sum(scores) / per_prompt)
    return np.array(complete, dtype=np.float64)


def interval(scores: NDArray[np.float64]) -> tuple[float, float]:
    """The win rates that no bettor has refuted: (n,) scores from 0 to 1 -> lowest, highest."""
    limit = -math.log(ALPHA)
    low = next((m for m in _CLAIMS if _log_capital(scores, m, "above") < limit), 1.0)
    high = next((m for m in _CLAIMS[::-1] if _log_capital(scores, m, "below") < limit), 0.0)
    return (0.0 if low == _CLAIMS[0] else float(low)), (1.0 if high == _CLAIMS[-1] else float(high))


def n_more(scores: NDArray[np.float64]) -> int | None:
    """How many more prompts would settle whether the win rate is one half, if they are won as those so far.

    The rate so far is drawn towards one half, as if it had begun with `HELD_BACK` prompts of which half were won.
    """
    rate = (HELD_BACK / 2 + scores.sum()) / (HELD_BACK + len(scores))
    side: Side = "above" if rate >= _EVEN else "below"
    rates, log_shares = bets(_EVEN, side)
    begun = log_shares + _log_grown(scores, rates, _EVEN)
    each = rate * np.log(2 * rates) + (1 - rate) * np.log(2 * (1 - rates))
    settled = [k for k in _steps() if np.logaddexp.reduce(begun + k * each) >= -math.log(ALPHA)]
    return settled[0] if settled else None


def _steps() -> list[int]:
    """Numbers of prompts that a person can take in: 1 to 20, then in steps of 5, 10, 100."""
    return [
        *range(1, 20),
        *range(20, 100, 5),
        *range(100, 500, 10),
        *range(500, 1000, 50),
        *range(1000, MOST_MORE, 100),
    ]


def _log_capital(scores: NDArray[np.float64], claim: float, side: Side) -> float:
    """Logarithm of what one unit has become that was bet on win rates on this side of the claim."""
    rates, log_shares = bets(claim, side)
    return float(np.logaddexp.reduce(log_shares + _log_grown(scores, rates, claim)))


def _log_grown(scores: NDArray[np.float64], rates: NDArray[np.float64], claim: float) -> NDArray[np.float64]:
    values, counts = np.unique(scores, return_counts=True)
    return counts @ log_growth(values[:, None], rates, claim)


def bets(claim: float, side: Side) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The win rates that are bet on, and the logarithms of their shares of the stake."""
    rates = claim + _STEPS if side == "above" else claim - _STEPS
    rates = rates[(rates > 0) & (rates < 1)]
    return rates, np.full(len(rates), -math.log(len(rates)))


def log_growth(scores: NDArray[np.float64], rates: NDArray[np.float64], claim: float) -> NDArray[np.float64]:
    """Logarithm of what a bet on each rate pays for each score (broadcast); fair if the mean score is the claim."""
    return np.log(scores * rates / claim + (1 - scores) * (1 - rates) / (1 - claim))
