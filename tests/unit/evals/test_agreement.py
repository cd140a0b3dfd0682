import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.evals.agreement import kendall_tau_b, kendall_w, krippendorff_alpha, outcomes, pairwise_agreement

NAN = float("nan")
# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: four observers, twelve units.
KRIPPENDORFF_2011 = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]
rankings = st.integers(2, 7).flatmap(
    lambda k: st.lists(st.lists(st.integers(1, k), min_size=k, max_size=k), min_size=2, max_size=5)
)


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


def test_tau_b_worked_by_hand() -> None:
    # Four concordant pairs; one pair tied on each side: 4 / sqrt(5 · 5).
    assert kendall_tau_b([1, 2, 2, 3], [1, 2, 3, 3]) == pytest.approx(0.8)
    assert math.isnan(kendall_tau_b([1, 1, 1], [1, 2, 3]))


@given(rankings)
def test_tau_b_is_symmetric_bounded_and_one_with_itself(rows: list[list[int]]) -> None:
    a, b = rows[0], rows[1]
    tau = kendall_tau_b(a, b)
    if math.isnan(tau):
        assert len(set(a)) == 1 or len(set(b)) == 1
        return
    assert tau == pytest.approx(kendall_tau_b(b, a))
    assert -1 - 1e-9 <= tau <= 1 + 1e-9
    assert kendall_tau_b(a, a) == pytest.approx(1)
    assert kendall_tau_b(a, [-rank for rank in a]) == pytest.approx(-1)


@given(st.integers(2, 7).flatmap(lambda k: st.lists(st.permutations(range(k)), min_size=2, max_size=5)))
def test_w_without_ties_is_the_mean_of_spearmans_correlations(ranks: list[list[int]]) -> None:
    mean_rho = np.mean([np.corrcoef(a, b)[0, 1] for a, b in combinations(ranks, 2)])
    m = len(ranks)
    assert kendall_w(ranks) == pytest.approx((1 + (m - 1) * mean_rho) / m, abs=1e-9)


@given(rankings)
def test_w_is_bounded_and_one_among_raters_who_agree_ties_and_all(rows: list[list[int]]) -> None:
    w = kendall_w(rows)
    assert math.isnan(w) == all(len(set(row)) == 1 for row in rows)
    assert math.isnan(w) or -1e-9 <= w <= 1 + 1e-9
    if len(set(rows[0])) > 1:
        assert kendall_w([rows[0]] * 3) == pytest.approx(1)


@pytest.mark.parametrize(("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_of_the_published_example(level: str, expected: float) -> None:
    assert krippendorff_alpha(KRIPPENDORFF_2011, level) == pytest.approx(expected, abs=5e-4)  # type: ignore[arg-type]


def test_alpha_of_two_raters_worked_by_hand() -> None:
    # Units 00 01 11: two of six paired values disagree; expected 2 · 3 · 3 / (6 · 5) of them: 1 - (2/6) / (18/30).
    assert krippendorff_alpha([[0, 0, 1], [0, 1, 1]], "nominal") == pytest.approx(1 - (2 / 6) / (18 / 30))


def test_alpha_ignores_units_with_one_rating_and_is_undefined_without_disagreement() -> None:
    ratings: list[list[float]] = [[1, 2, 3, 9], [1, 2, 1, NAN]]
    assert krippendorff_alpha(ratings, "ordinal") == krippendorff_alpha([row[:3] for row in ratings], "ordinal")
    assert math.isnan(krippendorff_alpha([[1, 1], [1, 1]], "nominal"))
    assert math.isnan(krippendorff_alpha([[1, NAN], [NAN, 2]], "nominal"))


def test_alpha_ordinal_knows_near_from_far() -> None:
    near, far = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 4]], [[1, 2, 3, 4, 5], [1, 2, 3, 4, 1]]
    assert krippendorff_alpha(near, "ordinal") > krippendorff_alpha(far, "ordinal")


def test_bad_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        pairwise_agreement([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="raters, answers"):
        kendall_w([1, 2, 3])
    with pytest.raises(ValueError, match="level 'interval'"):
        krippendorff_alpha(KRIPPENDORFF_2011, "interval")  # type: ignore[arg-type]
