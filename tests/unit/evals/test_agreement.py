import math

import pytest

from malmoi.evals.agreement import outcomes, pairwise_agreement


def test_outcomes_follow_the_pairs_in_order() -> None:
    assert outcomes([1, 2, 2]).tolist() == [1, 1, 0]
    assert outcomes([3, 2, 1]).tolist() == [-1, -1, -1]


def test_pairwise_agreement_worked_by_hand() -> None:
    # Pairs 01: > and >; 02: > and >; 12: = and >.
    found = pairwise_agreement([1, 2, 2], [1, 2, 3])
    assert (found.n_agree, found.n_pairs, found.n_agree_untied, found.n_untied) == (2, 3, 2, 2)
    assert found.with_ties == pytest.approx(2 / 3)
    assert found.without_ties == 1
    assert pairwise_agreement([1, 1], [1, 1]).with_ties == 1
    assert math.isnan(pairwise_agreement([1, 1], [1, 1]).without_ties)


def test_rankings_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths"):
        pairwise_agreement([1, 2], [1, 2, 3])
