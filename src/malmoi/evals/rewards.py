"""What a reward model is worth on rankings that it has never seen, by where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from malmoi import progress
from malmoi.data.comparisons import Ranking
from malmoi.evals.batches import batches_by_length
from malmoi.evals.interval import bootstrap
from malmoi.evals.preferences import disagreement, head_scores, pairs_of
from malmoi.model.transformer import ScalarModel

MOST_TOKENS = 8_192
SPREAD_RANKINGS = 128


@dataclass(frozen=True)
class Sourced:
    """A ranking, where it comes from, and what it depends on: pairs of one tree are resampled together."""

    ranking: Ranking
    source: str
    tree: str


def judge_rewards(model: ScalarModel, rows: Sequence[Sourced], pad_id: int) -> dict[str, Any]:
    """What `judge_scores` says of the scores that this model gives, and how far the heads of an ensemble differ."""
    heads = score_heads(model, [row.ranking for row in rows], pad_id)
    found = judge_scores(rows, [scores.mean(axis=1).tolist() for scores in heads])
    if model.n_heads > 1 and found["n_pairs"]:
        found["disagreement"] = disagreement(heads, [row.ranking.ranks for row in rows])
    return found


def judge_scores(rows: Sequence[Sourced], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Accuracy by pair with its interval and calibration, in all and, in `by_source`, for each source.

    Pairs that people tied are counted and take no part; an accuracy of None: no pair was ranked apart. `temperature` is
    what the scores would be divided by to fit these very rankings best; above 1 the model claims too much.
    """
    sources = {
        name: [i for i, row in enumerate(rows) if row.source == name] for name in sorted({r.source for r in rows})
    }
    by_source = {name: _measures([rows[i] for i in own], [scores[i] for i in own]) for name, own in sources.items()}
    return _measures(rows, scores) | {"by_source": by_source}


def score_all(model: ScalarModel, rankings: Sequence[Ranking], pad_id: int) -> list[list[float]]:
    """The score of every answer of every ranking."""
    return [scores.mean(axis=1).tolist() for scores in score_heads(model, rankings, pad_id)]


def score_heads(model: ScalarModel, rankings: Sequence[Ranking], pad_id: int) -> list[np.ndarray]:
    """What each head says of every answer, (K, H) for each ranking; those of like length are read together."""
    found: dict[int, np.ndarray] = {}
    for batch in batches_by_length([sum(map(len, ranking.ids)) for ranking in rankings], MOST_TOKENS):
        scores = head_scores(model, [rankings[row] for row in batch], pad_id, batch_size=len(batch))
        found.update(zip(batch, scores, strict=True))
        progress.report(len(found), len(rankings), "rankings")
    return [found[row] for row in range(len(rankings))]


def score_spread(model: ScalarModel, rankings: Sequence[Ranking], pad_id: int, seed: int) -> float:
    """Standard deviation of the model's scores over the answers of some of these rankings, in its own unit.

    It is the unit in which PPO, GRPO, best-of-n and comparisons price an answer that never ended.
    """
    drawn = np.random.default_rng((seed, 5)).permutation(len(rankings))[:SPREAD_RANKINGS]
    scores = score_all(model, [rankings[row] for row in drawn], pad_id)
    return max(1e-6, float(np.std(np.concatenate(scores))))


def _measures(rows: Sequence[Sourced], scores: Sequence[Sequence[float]]) -> dict[str, Any]:
    ranks = [row.ranking.ranks for row in rows]
    pairs = pairs_of(scores, ranks)
    n_pairs = sum(1 for rank in ranks for _ in combinations(rank, 2))
    counts = {"n_rankings": len(rows), "n_pairs": len(pairs.gaps), "n_ties": n_pairs - len(pairs.gaps)}
    if not len(pairs.gaps):
        return counts | {"accuracy": None, "log_loss": None, "temperature": None, "calibration": []}
    trees = [rows[number].tree for number in pairs.prompts]
    right = (pairs.gaps > 0) + 0.5 * (pairs.gaps == 0)
    return counts | {
        "accuracy": bootstrap(right, trees).to_row(),
        "log_loss": bootstrap(np.logaddexp(0, -pairs.gaps), trees).to_row(),
        "temperature": pairs.fitted_temperature(),
        "calibration": pairs.calibration(),
    }
