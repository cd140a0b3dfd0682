"""How well a reward model orders answers: accuracy by pair, and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from malmoi import device
from malmoi.data.comparisons import Ranking, collate_rankings
from malmoi.evals.interval import Interval, bootstrap
from malmoi.model.transformer import ScalarModel


@dataclass(frozen=True)
class Pairs:
    """Every pair of answers that the truth ranks apart. gaps: (P,) score of the better minus the worse, in nats;
    prompts: (P,) which prompt each pair belongs to."""

    gaps: np.ndarray
    prompts: np.ndarray

    def accuracy(self) -> Interval:
        """Share of pairs ordered rightly, resampled by prompt; an equal score counts one half."""
        return bootstrap((self.gaps > 0) + 0.5 * (self.gaps == 0), self.prompts.tolist())

    def calibration(self, n_bins: int = 5) -> list[dict[str, float]]:
        """In bins of |gap| of equal size: the confidence σ(|gap|) that the model claims, the accuracy that it has."""
        order = np.argsort(np.abs(self.gaps))
        bins = [part for part in np.array_split(order, n_bins) if len(part)]
        return [
            {
                "confidence": float((1 / (1 + np.exp(-np.abs(self.gaps[part])))).mean()),
                "accuracy": float((self.gaps[part] > 0).mean()),
                "n": len(part),
            }
            for part in bins
        ]


@torch.no_grad()
def score_rankings(
    model: ScalarModel, rankings: Sequence[Ranking], pad_id: int, batch_size: int = 64
) -> list[list[float]]:
    """The reward model's score of every answer of every prompt."""
    scores: list[list[float]] = []
    for start in range(0, len(rankings), batch_size):
        part = rankings[start : start + batch_size]
        batch = collate_rankings(part, pad_id).to(device.current().torch_device)
        with device.autocast():
            flat = model(batch.ids, batch.branches)[batch.row, batch.last].tolist()
        for ranking in part:
            scores.append(flat[: len(ranking.ids)])
            flat = flat[len(ranking.ids) :]
    return scores


def pairs_of(scores: Sequence[Sequence[float]], ranks: Sequence[Sequence[int]]) -> Pairs:
    """All pairs whose ranks differ. scores, ranks: per prompt, K each."""
    gaps, prompts = [], []
    for number, (row, rank) in enumerate(zip(scores, ranks, strict=True)):
        for i, j in combinations(range(len(row)), 2):
            if rank[i] != rank[j]:
                gaps.append(row[i] - row[j] if rank[i] < rank[j] else row[j] - row[i])
                prompts.append(number)
    return Pairs(np.array(gaps), np.array(prompts, dtype=np.int64))
