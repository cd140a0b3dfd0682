"""How well a reward model orders answers that people or a rule ranked: accuracy by pair, calibration, disagreement."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from malmoi.data.comparisons import Ranking
from malmoi.evals.interval import Interval, bootstrap


@dataclass(frozen=True)
class SourcedRanking:
    """A ranking, its source, and the conversation tree it comes from: pairs of one tree are resampled together."""

    ranking: Ranking
    source: str
    tree: str


@dataclass(frozen=True)
class ScoreGaps:
    """The score gaps of all pairs whose ranks differ.

    gaps: (P,) score of the better answer minus that of the worse, in nats; prompts: (P,) number of each pair's prompt
    """

    gaps: np.ndarray
    prompts: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(P,) of each pair: 1 if the scores order it as its ranks do, 0 if not, one half if they are equal."""
        return np.asarray((self.gaps > 0) + 0.5 * (self.gaps == 0), dtype=np.float64)

    def accuracy(self) -> Interval:
        """Share of pairs in the right order, resampled by prompt; equal scores count one half."""
        return bootstrap(self.right, self.prompts.tolist())

    def log_loss(self, temperature: float = 1.0) -> float:
        """Mean of -log σ(gap / temperature), in nats; a coin has log 2."""
        return float(np.logaddexp(0, -self.gaps / temperature).mean())

    def fitted_temperature(self) -> float:
        """The temperature with the least log-loss: σ(gap / temperature) is then as good a probability as it can be.

        Above 1 the model is overconfident. Between 0.01 (it is always right) and 100 (its order carries no
        information). Raises ValueError when there is no pair. Source: arXiv:1706.04599, §4.2.
        """
        if not len(self.gaps):
            raise ValueError("no pairs to fit a temperature on")
        low, high = np.log(0.01), np.log(100.0)
        for _ in range(50):  # the slope in 1 / temperature rises, so it is zero at one place at most
            middle = (low + high) / 2
            scaled = self.gaps / np.exp(middle)
            slope = -(self.gaps * np.exp(-np.logaddexp(0, scaled))).mean()
            low, high = (middle, high) if slope > 0 else (low, middle)
        return float(np.exp((low + high) / 2))

    def calibration(self, n_bins: int = 5, temperature: float = 1.0) -> list[dict[str, float]]:
        """In bins with equally many pairs, ordered by |gap|: the confidence σ(|gap| / temperature) that the model
        claims, and its accuracy."""
        order = np.argsort(np.abs(self.gaps))
        bins = [part for part in np.array_split(order, n_bins) if len(part)]
        return [
            {
                "confidence": float((1 / (1 + np.exp(-np.abs(self.gaps[part]) / temperature))).mean()),
                "accuracy": float(self.right[part].mean()),
                "n": len(part),
            }
            for part in bins
        ]


def score_gaps(scores: Sequence[Sequence[float]], ranks: Sequence[Sequence[int]]) -> ScoreGaps:
    """All pairs whose ranks differ. scores, ranks: per prompt, K each."""
    gaps, prompts = [], []
    for number, (row, rank) in enumerate(zip(scores, ranks, strict=True)):
        for i, j in combinations(range(len(row)), 2):
            if rank[i] != rank[j]:
                gaps.append(row[i] - row[j] if rank[i] < rank[j] else row[j] - row[i])
                prompts.append(number)
    return ScoreGaps(np.array(gaps), np.array(prompts, dtype=np.int64))


def measure_heads(rows: Sequence[SourcedRanking], heads: Sequence[np.ndarray]) -> dict[str, Any]:
    """`measure_scores` of the heads' mean, and for an ensemble `disagreement` between them.

    heads: (K, H) of each ranking, as `head_scores` returns them
    """
    found = measure_scores(rows, [scores.mean(axis=1).tolist() for scores in heads])
    if found["n_pairs"] and heads[0].shape[1] > 1:
        found["disagreement"] = disagreement(heads, [row.ranking.ranks for row in rows])
    return found


def measure_scores(rows: Sequence[SourcedRanking], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Accuracy by pair with its interval, and calibration: of all rankings and, in `by_source`, of each source.

    Tied pairs are only counted. An accuracy of None means that no two ranks differ. `temperature` is the fitted
    temperature of these rankings; above 1 the model is overconfident.
    """
    sources = {
        name: [i for i, row in enumerate(rows) if row.source == name] for name in sorted({r.source for r in rows})
    }
    by_source = {name: _measures([rows[i] for i in own], [scores[i] for i in own]) for name, own in sources.items()}
    return _measures(rows, scores) | {"by_source": by_source}


def disagreement(scores: Sequence[np.ndarray], ranks: Sequence[Sequence[int]]) -> dict[str, float | None]:
    """How much the heads of an ensemble differ, over all pairs whose ranks differ.

    scores: as `head_scores` returns them
    Returns `std`: the standard deviation of a pair's gap over the heads, in nats (of gaps, because the scores of a head
    may differ by a constant); `divided`: the share of pairs that the heads order differently; and the accuracy of the
    ensemble where they are divided and where they agree. Each is None where there is no such pair.
    """
    gaps = np.stack(
        [score_gaps([row[:, head].tolist() for row in scores], ranks).gaps for head in range(len(scores[0].T))]
    )
    if not gaps.size:
        return dict.fromkeys(("std", "divided", "accuracy_divided", "accuracy_agreed"))
    right = gaps.mean(axis=0) > 0
    is_divided = (gaps > 0).any(axis=0) & (gaps <= 0).any(axis=0)
    return {
        "std": float(gaps.std(axis=0).mean()),
        "divided": float(is_divided.mean()),
        "accuracy_divided": float(right[is_divided].mean()) if is_divided.any() else None,
        "accuracy_agreed": float(right[~is_divided].mean()) if not is_divided.all() else None,
    }


def _measures(rows: Sequence[SourcedRanking], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    ranks = [row.ranking.ranks for row in rows]
    found = score_gaps(scores, ranks)
    n_pairs = sum(1 for rank in ranks for _ in combinations(rank, 2))
    counts = {"n_rankings": len(rows), "n_pairs": len(found.gaps), "n_ties": n_pairs - len(found.gaps)}
    if not len(found.gaps):
        return counts | {"accuracy": None, "log_loss": None, "temperature": None, "calibration": []}
    trees = [rows[number].tree for number in found.prompts]
    return counts | {
        "accuracy": bootstrap(found.right, trees).to_row(),
        "log_loss": bootstrap(np.logaddexp(0, -found.gaps), trees).to_row(),
        "temperature": found.fitted_temperature(),
        "calibration": found.calibration(),
    }
