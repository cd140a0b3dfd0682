"""Rows of like length together, so that little is padding."""

from collections.abc import Sequence


def batches_by_length(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Indices of the rows, longest first, in batches of at most `most_tokens` padded tokens (or of one row)."""
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= most_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
