"""Which answers people should rank next: those whose ranking is expected to say most about the reward model.

Expected information is what a ranking would take from the uncertainty of a probe's weights: its posterior variance of
the answers' differences, where the outcome is not clear anyway. Each choice counts the earlier ones as ranked, so that
the same thing is not asked twice. Source: Houlsby et al. 2011 (arXiv:1112.5745), for a Gaussian posterior; greedy for a
whole batch as in Kirsch et al. 2019 (arXiv:1906.08158).
"""

import heapq
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.data.comparisons import encode_ranking
from malmoi.errors import UserError
from malmoi.formats.folder import load_config, load_model, load_text
from malmoi.model.probe import Probe
from malmoi.model.scalar_model import ScalarModel
from malmoi.train.features import Features, answer_features
from malmoi.train.probe import probe_directions, probe_scores


def next_to_rank(reward_model: Path, policy: Path, asked: Sequence[Mapping[str, Any]], n: int) -> list[int]:
    """The numbers of the n prompts whose answers people should rank next, the most informative first.

    reward_model: a folder with a probe, fitted to what is ranked already; policy: of the model that it reads
    asked: prompts with `messages` and two `answers` or more, none of them ranked
    What the policy reads of the answers is kept, so asking again, or for more, is quick.
    Raises UserError for a reward model that has no probe.
    """
    probe = load_model(reward_model, ScalarModel).probe
    if probe is None:
        raise UserError(f'{reward_model}: was trained and has no probe; make one with method = "probe"')
    text, n_layer = load_text(policy), load_config(policy).n_layer
    rankings = [encode_ranking(*text, row["messages"], row["answers"], [1] * len(row["answers"])) for row in asked]
    shares = [layer / n_layer for layer in probe.shape.layers]
    return order_to_rank(probe, answer_features(policy, rankings, shares), n) if asked else []


def order_to_rank(probe: Probe, features: Features, n: int) -> list[int]:
    """`next_to_rank` of what is read already.

    features: of all answers to each prompt, at least two, none of them ranked; probe: fitted to what is ranked already
    """
    known = _Known(probe, features)
    # A ranking never says more than it did before others were chosen: only the best guess has to be computed again.
    waiting = [(-known.information(number), number) for number in range(len(features.sizes))]
    heapq.heapify(waiting)
    chosen: list[int] = []
    while waiting and len(chosen) < n:
        _, number = heapq.heappop(waiting)
        now = -known.information(number)
        if waiting and now > waiting[0][0]:
            heapq.heappush(waiting, (now, number))
            continue
        chosen.append(number)
        known.add(number)
    return chosen


class _Known:
    """The posterior covariance of all differences of answers, given the rankings that were added.

    A ranking of K answers has K - 1 independent differences; two answers have theirs.
    """

    def __init__(self, probe: Probe, features: Features) -> None:
        found = probe_directions(probe, features)
        contrasts = [_contrasts(size) for size in features.sizes.tolist()]
        starts = np.cumsum(features.sizes) - features.sizes
        spans = [slice(start, start + size) for start, size in zip(starts, features.sizes, strict=True)]
        self.z = np.concatenate([one @ found.z[span] for one, span in zip(contrasts, spans, strict=True)])
        self.v = np.concatenate([one @ found.v[span] for one, span in zip(contrasts, spans, strict=True)])
        self.c = found.c
        ends = np.cumsum([len(one) for one in contrasts])
        self.rows = [np.arange(end - len(one), end) for end, one in zip(ends, contrasts, strict=True)]
        self.prompt = np.repeat(np.arange(len(contrasts)), [len(one) for one in contrasts])
        self.curvature = [_curvature(scores) for scores in probe_scores(probe, features)]
        self.taken: list[np.ndarray] = []

    def information(self, number: int) -> float:
        """Of this ranking, in nats: log det (I + w Σ) / 2, w: how much an outcome says, at most 1/4."""
        rows = self.rows[number]
        covariance = self._covariance(rows, number)
        return float(np.linalg.slogdet(np.eye(len(rows)) + self.curvature[number] * covariance)[1]) / 2

    def add(self, number: int) -> None:
        """Count this ranking as known: the rest of the uncertainty is what it does not say."""
        rows = self.rows[number]
        columns = self._covariance(np.arange(len(self.z)), number)
        root = np.linalg.cholesky(columns[rows] + np.eye(len(rows)) / self.curvature[number])
        self.taken.append(np.linalg.solve(root, columns.T))

    def _covariance(self, of: np.ndarray, number: int) -> np.ndarray:
        """(len(of), K - 1), of these differences with those of one ranking."""
        rows = self.rows[number]
        left = (self.c[self.prompt[of]] @ self.c[number])[:, None] * (self.z[of] @ self.z[rows].T)
        left -= self.v[of] @ self.v[rows].T
        for known in self.taken:
            left -= known[:, of].T @ known[:, rows]
        return np.asarray(left)


def _contrasts(size: int) -> np.ndarray:
    """(K - 1, K) orthogonal differences; of two answers, one minus the other."""
    rows = [np.array([1 / k] * k + [-1.0] + [0.0] * (size - k - 1)) for k in range(1, size)]
    return np.array([row * np.sqrt(2 * k / (k + 1)) for k, row in enumerate(rows, start=1)])


def _curvature(scores: Sequence[float] | np.ndarray) -> float:
    """Mean of σ(gap) (1 - σ(gap)) over the pairs: 1/4 where nothing is clear yet."""
    values = np.asarray(scores, dtype=np.float64)
    first, second = np.triu_indices(len(values), k=1)
    chances = 1 / (1 + np.exp(values[second] - values[first]))
    return max(1e-6, float((chances * (1 - chances)).mean()))
