"""Quantities in words: three digits, and the unit that they need after they are rounded."""

import pytest

from malmoi.units import duration, size


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (2_345_678, "2.35 MB"), (999_499, "999 kB"), (999_500, "1 MB"),
     (999_999_999, "1 GB"), (1.5e12, "1.5 TB")],
)  # fmt: skip
def test_a_size_has_three_digits_and_a_unit(n_bytes: float, said: str) -> None:
    assert size(n_bytes) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (59.4, "59.4 s"), (59.6, "1 min 0 s"), (312, "5 min 12 s")]
)
def test_a_duration_has_minutes_from_a_minute_on(seconds: float, said: str) -> None:
    assert duration(seconds) == said
