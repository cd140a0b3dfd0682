"""Bootstrap intervals of means; values that depend on each other, such as answers to one prompt, are one group."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

N_RESAMPLES = 2_000


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % bootstrap interval. n: number of values, or of groups if groups were resampled

    Without values n is 0 and the rest is NaN, which `to_row` writes as None.
    """

    mean: float
    low: float
    high: float
    n: int

    def to_row(self) -> dict[str, Any]:
        return asdict(self) if self.n else {"mean": None, "low": None, "high": None, "n": 0}

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]" if self.n else "no values"


def bootstrap(
    values: Sequence[float] | np.ndarray,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
    weights: Sequence[float] | None = None,
) -> Interval:
    """Mean of the values, and the 2.5 and 97.5 percentiles of the mean over resampled groups.

    groups: the group of each value, such as its prompt; whole groups are drawn. None: every value is a group
    weights: of the values in the mean, equal by default
    Source: Efron 1979, percentile method.
    """
    if not len(values):
        return Interval(math.nan, math.nan, math.nan, 0)
    means = resampled_means(values, groups, seed, weights)
    low, high = np.percentile(means, [2.5, 97.5])
    n_groups = len(values) if groups is None else len(np.unique(np.asarray(groups)))
    mean = float(np.average(np.asarray(values, dtype=np.float64), weights=weights))
    return Interval(mean, float(low), float(high), n_groups)


def resampled_means(
    values: Sequence[float] | np.ndarray, groups: Sequence[Any] | None = None, seed: int = 0,
    weights: Sequence[float] | None = None,
) -> np.ndarray:  # fmt: skip
    """(N_RESAMPLES,) the mean over each resample of the groups; arguments as of `bootstrap`, at least one value."""
    data = np.asarray(values, dtype=np.float64)
    keys = np.arange(len(data)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    n_groups = int(keys.max()) + 1
    weighed = np.ones(len(data)) if weights is None else np.asarray(weights, dtype=np.float64)
    sums, counts = np.bincount(keys, data * weighed, n_groups), np.bincount(keys, weighed, n_groups)
    rng = np.random.default_rng(seed)
    means = np.empty(N_RESAMPLES)
    for i in range(N_RESAMPLES):
        drawn = rng.integers(n_groups, size=n_groups)
        means[i] = sums[drawn].sum() / counts[drawn].sum()
    return means
