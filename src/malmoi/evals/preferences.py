"""How well a reward model orders answers: accuracy by pair, and calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from malmoi import device, progress
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

    def log_loss(self, temperature: float = 1.0) -> float:
        """Mean of -log σ(gap / temperature), in nats; log 2 is a coin's."""
        return float(np.logaddexp(0, -self.gaps / temperature).mean())

    def fitted_temperature(self) -> float:
        """By what to divide scores so that σ(gap) is as good a probability as it can be: the least log-loss.

        Above 1: the model claims too much. Between 0.01 (it is always right) and 100 (its order says nothing).
        Raises ValueError when there is no pair. Source: arXiv:1706.04599, §4.2.
        """
        if not len(self.gaps):
            raise ValueError("no pairs to fit a temperature on")
        low, high = np.log(0.01), np.log(100.0)
        for _ in range(50):  # the slope in 1 / temperature rises, so it has one zero at most
            middle = (low + high) / 2
            scaled = self.gaps / np.exp(middle)
            slope = -(self.gaps * np.exp(-np.logaddexp(0, scaled))).mean()
            low, high = (middle, high) if slope > 0 else (low, middle)
        return float(np.exp((low + high) / 2))

    def calibration(self, n_bins: int = 5, temperature: float = 1.0) -> list[dict[str, float]]:
        """In bins of |gap| of equal size: the confidence σ(|gap| / temperature) that the model claims, and the accuracy
        that it has."""
        order = np.argsort(np.abs(self.gaps))
        bins = [part for part in np.array_split(order, n_bins) if len(part)]
        return [
            {
                "confidence": float((1 / (1 + np.exp(-np.abs(self.gaps[part]) / temperature))).mean()),
                "accuracy": float((self.gaps[part] > 0).mean()),
                "n": len(part),
            }
            for part in bins
        ]


@torch.no_grad()
def head_scores(
    model: ScalarModel, rankings: Sequence[Ranking], pad_id: int, batch_size: int = 64
) -> list[np.ndarray]:  # fmt: skip
    """What each head of the reward model says of every answer: (K, H) for each prompt, float32."""
    scores: list[np.ndarray] = []
    for start in range(0, len(rankings), batch_size):
        part = rankings[start : start + batch_size]
        batch = collate_rankings(part, pad_id).to(device.current().torch_device)
        with device.autocast():
            flat = model.scores(batch.ids, batch.branches)[batch.row, batch.last].cpu().numpy()
        scores += np.split(flat, np.cumsum([len(ranking.ids) for ranking in part])[:-1])
        if len(rankings) > batch_size:
            progress.report(len(scores), len(rankings), "rankings")
    return scores


def score_rankings(
    model: ScalarModel, rankings: Sequence[Ranking], pad_id: int, batch_size: int = 64
) -> list[list[float]]:
    """The reward model's score of every answer of every prompt: the mean over its heads."""
    return [scores.mean(axis=1).tolist() for scores in head_scores(model, rankings, pad_id, batch_size)]


def disagreement(scores: Sequence[np.ndarray], ranks: Sequence[Sequence[int]]) -> dict[str, float | None]:
    """How far the heads of an ensemble differ, over all pairs whose ranks differ.

    scores: as `head_scores` gives them. `std`: of a pair's gap over the heads, in nats (scores themselves may differ by
    a constant of each head); `divided`: share of the pairs that not all heads order alike; and the accuracy of the
    ensemble where they are divided and where they agree; each None where there is no such pair
    """
    gaps = np.stack(
        [pairs_of([row[:, head].tolist() for row in scores], ranks).gaps for head in range(len(scores[0].T))]
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


def pairs_of(scores: Sequence[Sequence[float]], ranks: Sequence[Sequence[int]]) -> Pairs:
    """All pairs whose ranks differ. scores, ranks: per prompt, K each."""
    gaps, prompts = [], []
    for number, (row, rank) in enumerate(zip(scores, ranks, strict=True)):
        for i, j in combinations(range(len(row)), 2):
            if rank[i] != rank[j]:
                gaps.append(row[i] - row[j] if rank[i] < rank[j] else row[j] - row[i])
                prompts.append(number)
    return Pairs(np.array(gaps), np.array(prompts, dtype=np.int64))
