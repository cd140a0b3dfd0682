"""What a reward model is worth on rankings that it has never seen, by where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from malmoi.data.comparisons import Ranking
from malmoi.evals.batches import batches_by_length
from malmoi.evals.interval import bootstrap
from malmoi.evals.preferences import pairs_of, score_rankings
from malmoi.model.transformer import ScalarModel

MOST_TOKENS = 8_192


@dataclass(frozen=True)
class Sourced:
    """A ranking, where it comes from, and what it depends on: pairs of one tree are resampled together."""

    ranking: Ranking
    source: str
    tree: str


def judge_rewards(model: ScalarModel, rows: Sequence[Sourced], pad_id: int) -> dict[str, Any]:
    """What `judge_scores` says of the scores that this model gives."""
    return judge_scores(rows, score_all(model, [row.ranking for row in rows], pad_id))


def judge_scores(rows: Sequence[Sourced], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Accuracy by pair with its interval and calibration, in all and, in `by_source`, for each source.

    Pairs that people tied are counted and take no part; an accuracy of None: no pair was ranked apart.
    """
    sources = {
        name: [i for i, row in enumerate(rows) if row.source == name] for name in sorted({r.source for r in rows})
    }
    by_source = {name: _measures([rows[i] for i in own], [scores[i] for i in own]) for name, own in sources.items()}
    return _measures(rows, scores) | {"by_source": by_source}


def score_all(model: ScalarModel, rankings: Sequence[Ranking], pad_id: int) -> list[list[float]]:
    """The score of every answer of every ranking."""
    scores: list[list[float]] = [[] for _ in rankings]
    for batch in batches_by_length([sum(map(len, ranking.ids)) for ranking in rankings], MOST_TOKENS):
        part = [rankings[row] for row in batch]
        for row, found in zip(batch, score_rankings(model, part, pad_id, batch_size=len(part)), strict=True):
            scores[row] = found
    return scores


def _measures(rows: Sequence[Sourced], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    ranks = [row.ranking.ranks for row in rows]
    pairs = pairs_of(scores, ranks)
    n_pairs = sum(1 for rank in ranks for _ in combinations(rank, 2))
    counts = {"n_rankings": len(rows), "n_pairs": len(pairs.gaps), "n_ties": n_pairs - len(pairs.gaps)}
    if not len(pairs.gaps):
        return counts | {"accuracy": None, "log_loss": None, "calibration": []}
    trees = [rows[number].tree for number in pairs.prompts]
    right = (pairs.gaps > 0) + 0.5 * (pairs.gaps == 0)
    return counts | {
        "accuracy": bootstrap(right, trees).to_row(),
        "log_loss": bootstrap(np.logaddexp(0, -pairs.gaps), trees).to_row(),
        "calibration": pairs.calibration(),
    }
