"""How accurate a reward model gets with more rankings, and what the next ones are likely to bring.

A probe is fitted to random parts of the rankings, which takes seconds, and measured on rankings that were held out.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from malmoi import progress
from malmoi.data.comparisons import judge_of
from malmoi.errors import DataError
from malmoi.evals.counted_words import CountedWords
from malmoi.evals.interval import N_RESAMPLES, bootstrap
from malmoi.evals.reward_accuracy import score_gaps
from malmoi.evals.reward_baselines import WORDS, Row, Scores, baseline_scores
from malmoi.train.features import Features
from malmoi.train.probe import fit_probe

SIZES = (25, 50, 100, 200, 400, 1_600)
"""Rankings that are learned from; and all of them."""
N_SEEDS = 3
"""Random parts of each size."""
N_MORE = 100
FEWEST_SIZES = 3
"""Points that a line needs before it says anything about the next one."""
PROBE = "probe"


class Known(NamedTuple):
    """Rankings as rows, and what a probe reads of them."""

    rows: Sequence[Row]
    features: Features


def learning_curve(training: Known, heldout: Known) -> dict[str, Any]:
    """Held-out accuracy of a probe and of counted words by the number of rankings that they learned from.

    Returns `points`: for each size n, `seeds` and an interval of each, by tree, of the mean over the seeds;
    `baselines`: those that learn nothing; `next`: what `N_MORE` rankings more would bring the probe.
    Raises DataError if there are too few rankings to learn from, or none to measure on.
    """
    ranks = [row["ranks"] for row in heldout.rows]
    found = score_gaps([[0.0] * len(rank) for rank in ranks], ranks)
    if not len(found.gaps):
        raise DataError("the held-out rankings: none says which answer is better, so there is nothing to measure on")
    trees = [heldout.rows[place]["tree"] for place in found.prompts]
    n_all = len(training.rows)
    sizes = [size for size in SIZES if size < n_all] + [n_all]
    points: list[dict[str, Any]] = []
    right: dict[str, list[np.ndarray]] = {PROBE: [], WORDS: []}
    for number, size in enumerate(sizes):
        drawn = [_drawn(n_all, size, seed) for seed in range(N_SEEDS if size < n_all else 1)]
        point: dict[str, Any] = {"n": size, "seeds": len(drawn)}
        for name, measure in ((PROBE, by_probe), (WORDS, _by_words)):
            by_seed = np.array([score_gaps(measure(training, heldout, part), ranks).right for part in drawn])
            right[name].append(by_seed)
            point[name] = bootstrap(by_seed.mean(axis=0), trees).to_row()
        points.append(point)
        progress.report(number + 1, len(sizes), "sizes")
    fixed = {name: score_gaps(scores, ranks).right for name, scores in baseline_scores(heldout.rows, None).items()}
    return {
        "n_training": n_all, "n_heldout": len(heldout.rows), "n_pairs": len(trees), "points": points,
        "baselines": {name: bootstrap(of_pairs, trees).to_row() for name, of_pairs in fixed.items()},
        "next": next_gain(sizes, right[PROBE], trees) | {"n_more": N_MORE},
    }  # fmt: skip


def next_gain(
    sizes: Sequence[int], right: Sequence[np.ndarray], trees: Sequence[str], more: int = N_MORE
) -> dict[str, Any]:
    """What `more` rankings are likely to add to the accuracy, if it goes on rising with the logarithm of their number.

    right: of each size (seeds, P), whether each pair was ordered right
    A line through accuracy against log n, fitted to each resample of the seeds and of the trees of the pairs.
    Returns mean, low, high, n, and `is_known`: False if the interval holds 0, or if there are too few sizes.
    """
    nothing = {"mean": None, "low": None, "high": None, "n": 0, "is_known": False}
    if len(sizes) < FEWEST_SIZES:
        return nothing
    keys = np.unique(np.asarray(trees), return_inverse=True)[1]
    n_trees = int(keys.max()) + 1
    counts = np.bincount(keys, minlength=n_trees)
    sums = [np.array([np.bincount(keys, seed, n_trees) for seed in by_seed]) for by_seed in right]
    x = np.log(np.asarray(sizes, dtype=np.float64))
    slope_of = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    step = float(np.log((sizes[-1] + more) / sizes[-1]))
    rng = np.random.default_rng(0)
    gains = np.empty(N_RESAMPLES)
    for i in range(N_RESAMPLES):
        drawn = rng.integers(n_trees, size=n_trees)
        taken = [one[rng.integers(len(one), size=len(one))] for one in sums]
        means = [float(one[:, drawn].sum() / (len(one) * counts[drawn].sum())) for one in taken]
        gains[i] = step * float(slope_of @ np.array(means))
    mean = step * float(slope_of @ np.array([by_seed.mean() for by_seed in right]))
    low, high = np.percentile(gains, [2.5, 97.5]).tolist()
    return {"mean": mean, "low": low, "high": high, "n": n_trees, "is_known": not low <= 0 <= high}


def _drawn(n_all: int, size: int, seed: int) -> np.ndarray:
    """A random part; of one seed, a larger one holds the smaller ones."""
    return np.random.default_rng((seed, 7)).permutation(n_all)[:size]


def by_probe(training: Known, heldout: Known, part: np.ndarray | None = None) -> Scores:
    """Scores of the held-out answers by a probe that is fitted to the training rankings, or to these of them.

    If too few prefer one answer, all scores are equal.
    """
    part = np.arange(len(training.rows)) if part is None else part
    rows = [training.rows[number] for number in part.tolist()]
    try:
        ranks, trees = ([row[name] for row in rows] for name in ("ranks", "tree"))
        fit = fit_probe(training.features.take(part), ranks, trees, [judge_of(row) for row in rows])
    except DataError:
        return [[0.0] * len(row["ranks"]) for row in heldout.rows]
    return [scores.tolist() for scores in fit.scores(heldout.features)]


def _by_words(training: Known, heldout: Known, part: np.ndarray) -> Scores:
    return CountedWords([training.rows[number] for number in part.tolist()]).scores(heldout.rows)
