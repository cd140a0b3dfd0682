"""How often people agree about pairs of answers, with and without ties.

Ranks are competition ranks, or any numbers where smaller is better; only their order counts. A share of nothing is nan.
Intervals come from `interval.bootstrap` over prompts, because the pairs of one ranking depend on each other.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


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


def _both(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    left, right = outcomes(a), outcomes(b)
    if len(left) != len(right):
        raise ValueError("the two rankings are of different lengths")
    return left, right
