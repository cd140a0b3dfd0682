"""How much people agree, corrected for ties and for chance.

Ranks are competition ranks, or any numbers where smaller is better; only their order counts. A statistic that is not
defined (all ranks are tied, or no disagreement is possible) is nan. Intervals come from `interval.bootstrap` over
prompts, because the pairs of one ranking depend on each other.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class PairwiseAgreement(NamedTuple):
    """Agreeing pairs and all pairs; and the same among pairs that neither ranking ties."""

    n_agree: int
    n_pairs: int
    n_agree_untied: int
    n_untied: int

    @property
    def with_ties(self) -> float:
        return self.n_agree / self.n_pairs if self.n_pairs else float("nan")

    @property
    def without_ties(self) -> float:
        return self.n_agree_untied / self.n_untied if self.n_untied else float("nan")


def outcomes(ranks: ArrayLike) -> NDArray[np.int8]:
    """For every pair i < j of K ranks, in lexicographic order: 1 if i is better, -1 if j is better, 0 for a tie."""
    values = np.asarray(ranks, dtype=np.float64)
    first, second = np.triu_indices(len(values), k=1)
    return np.sign(values[second] - values[first]).astype(np.int8)


def pairwise_agreement(a: ArrayLike, b: ArrayLike) -> PairwiseAgreement:
    """Pairs of answers that two rankings order the same way; a tie agrees only with a tie.

    Sum the counts over prompts before dividing. Source: Ouyang et al. 2022, arXiv:2203.02155, section 3.4, whose
    labelers agree on 73 % of the pairs.
    """
    left, right = _both(a, b)
    agree, untied = left == right, (left != 0) & (right != 0)
    return PairwiseAgreement(int(agree.sum()), len(left), int((agree & untied).sum()), int(untied.sum()))


def kendall_tau_b(a: ArrayLike, b: ArrayLike) -> float:
    """Kendall's rank correlation with ties, in [-1, 1]; nan if either ranking ties all answers.

    Source: Kendall 1945, "The treatment of ties in ranking problems", Biometrika 33.
    """
    left, right = (side.astype(np.float64) for side in _both(a, b))
    scale = np.sqrt((left @ left) * (right @ right))
    return float(left @ right / scale) if scale else float("nan")


def kendall_w(rankings: ArrayLike) -> float:
    """Kendall's concordance of m raters, corrected for ties, in [0, 1]; nan if all raters tie all answers.

    rankings: (m, n), each rater ranks the same n answers
    W = 12 S / (m² (n³ - n) - m ΣT), T = Σ (t³ - t) over each rater's groups of t tied answers.
    Source: Kendall & Babington Smith 1939; ties as in Kendall 1948, "Rank correlation methods", chapter 6.
    """
    values = np.asarray(rankings, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"rankings: expected (raters, answers), got shape {values.shape}")
    m, n = values.shape
    mean_ranks = np.array([_mean_ranks(row) for row in values])
    totals = mean_ranks.sum(axis=0)
    deviation = float(((totals - totals.mean()) ** 2).sum())
    groups = np.concatenate([np.unique(row, return_counts=True)[1] for row in values])
    ties = float((groups**3 - groups).sum())
    scale = m**2 * (n**3 - n) - m * ties
    return 12 * deviation / scale if scale else float("nan")


def krippendorff_alpha(ratings: ArrayLike, level: Literal["nominal", "ordinal"]) -> float:
    """Krippendorff's alpha: 1 - observed / expected disagreement; 1 is perfect, 0 is chance.

    ratings: (raters, units), nan where a rater did not rate; units with fewer than two ratings do not count
    level: nominal for pair outcomes (their orientation must be random), ordinal for Likert ratings
    nan if nothing can be compared, or all ratings are equal.
    Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability".
    """
    values = np.asarray(ratings, dtype=np.float64)
    categories = np.unique(values[~np.isnan(values)])
    counts = (values[:, :, None] == categories).sum(axis=0).astype(np.float64)  # (units, categories)
    counts = counts[counts.sum(axis=1) >= 2]
    weights = 1 / (counts.sum(axis=1) - 1)
    coincidences = (counts * weights[:, None]).T @ counts - np.diag((counts * weights[:, None]).sum(axis=0))
    totals = coincidences.sum(axis=1)
    distance = _distance(totals, level)
    expected = float(totals @ distance @ totals)
    if not expected:
        return float("nan")
    return 1 - (float(totals.sum()) - 1) * float((coincidences * distance).sum()) / expected


def _distance(totals: Floats, level: str) -> Floats:
    """Squared differences between categories (C, C), given how often each was paired (C,)."""
    if level == "nominal":
        return 1 - np.eye(len(totals))
    if level == "ordinal":
        # The distance of two categories: the ratings of all categories between, plus half of each of the two.
        middle = np.cumsum(totals) - totals / 2
        squared: Floats = (middle[:, None] - middle[None, :]) ** 2
        return squared
    raise ValueError(f"level {level!r}: expected nominal or ordinal")


def _mean_ranks(values: Floats) -> Floats:
    """Ranks 1…n; tied values get the mean of their places."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    ranks: Floats = below + (equal + 1) / 2
    return ranks


def _both(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    left, right = outcomes(a), outcomes(b)
    if len(left) != len(right):
        raise ValueError("the two rankings are of different lengths")
    return left, right
