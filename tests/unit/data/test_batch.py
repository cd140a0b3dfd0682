"""Batches of rows."""

from malmoi.data.batch import batches_by_length


def test_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = [3, 9, 1, 4, 4, 20]
    batches = batches_by_length(lengths, 12)
    assert sorted(row for batch in batches for row in batch) == list(range(6))
    assert all(len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= 12 for batch in batches)
