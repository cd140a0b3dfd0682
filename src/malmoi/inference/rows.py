"""The rows of an engine's cache: which text each has read, which is overwritten next, and memory for more.

Running requests take the first rows, in order. The rows after them keep what ended requests have read, so that a text
with the same beginning is not read from its start again.
Source: prefix reuse, Zheng et al. 2023 (arXiv:2312.07104).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from malmoi import device
from malmoi.model.config import ModelConfig
from malmoi.model.kv_cache import KVCache
from malmoi.text import common_prefix_length

SHORTEST_SHARED = 16
FIRST_POSITIONS = 64
# Of the memory that is free, how much keys and values may take: while they move to a larger place, both are there.
SHARE_OF_FREE = 0.5


@dataclass(eq=False)
class Row:
    """text: the tokens whose keys and values the row holds; left_at: the step at which its last request ended."""

    text: list[int] = field(default_factory=list)
    left_at: int = 0


class Beginning(NamedTuple):
    """The longest beginning of a text that a row holds: which row, and how many tokens; none is shorter than
    `SHORTEST_SHARED`."""

    row: Row | None
    n_tokens: int


class Rows:
    """Up to `n_rows` rows of at most `n_max` positions; memory grows with what is read."""

    def __init__(self, config: ModelConfig, n_rows: int, n_max: int, dtype: torch.dtype, where: torch.device) -> None:
        self.n_rows, self.n_max = n_rows, n_max
        n_first = min(n_max, FIRST_POSITIONS)
        self.cache = KVCache(config.n_layer, 1, config.n_kv_head, n_first, config.head_dim, dtype, where)
        self.rows = [Row() for _ in range(n_rows)]

    def forget(self) -> None:
        """Trust nothing of what the rows hold."""
        self.rows = [Row() for _ in range(self.n_rows)]
        with torch.inference_mode():
            self.cache.lengths.zero_()

    def swap(self, a: int, b: int) -> None:
        """Let two rows change places."""
        if a != b:
            self.cache.swap(a, b)
            self.rows[a], self.rows[b] = self.rows[b], self.rows[a]

    def longest(self, text: list[int]) -> Beginning:
        """What does not have to be read of a text. The last token is always read, for the logits after it."""
        found, longest, text = None, 0, text[:-1]
        for row in self.rows:
            n_least = max(longest + 1, SHORTEST_SHARED)
            if len(text) >= n_least and row.text[:n_least] == text[:n_least]:
                found, longest = row, common_prefix_length(row.text, text)
        return Beginning(found, longest)

    def take(self, texts: Sequence[list[int]], beginnings: Sequence[Beginning], first: int) -> None:
        """Let the rows from `first` begin as some texts do; no beginning of a later text is lost on the way."""
        needed = Counter(row for row, _ in beginnings if row)
        for place, (text, beginning) in enumerate(zip(texts, beginnings, strict=True), start=first):
            source, n_tokens = beginning
            if source:
                needed[source] -= 1
            free = range(place, self.cache.capacity[0])
            self.swap(place, min(free, key=lambda at: self._loss(self.rows[at], beginning, needed)))
            row = self.rows[place]
            at = self.rows.index(source) if source and common_prefix_length(row.text, text) < n_tokens else place
            self.cache.copy(at, place, n_tokens)
            row.text = text[:n_tokens]

    def _loss(self, row: Row, beginning: Beginning, needed: Counter[Row]) -> tuple[bool, bool, bool, int]:
        """What is lost when a text goes into a free row; the least first.

        Nothing, where it goes on from all that the row holds; otherwise a beginning that others need, or the row's
        text, which matters less the longer ago it was used.
        """
        goes_on = row is beginning.row and len(row.text) == beginning.n_tokens
        return needed[row] > 0 and not goes_on, not goes_on, bool(row.text), row.left_at

    def reserve(self, n_rows: int, n_positions: int, n_kept: int = 0, must: bool = False) -> bool:
        """Have memory for the first n rows with so many positions, and if it suffices for what others have read.

        must: try whatever is free, and raise when it is not enough; without it, return False then
        """
        had_rows, had = self.cache.capacity
        n_positions = min(n_positions, self.n_max)
        wanted = min(max(n_rows + n_kept, had_rows), self.n_rows)
        if wanted <= had_rows and n_positions <= had:
            return True
        doubled = min(max(n_positions, 2 * had), self.n_max) if n_positions > had else had
        many = min(max(wanted, 2 * had_rows), self.n_rows) if wanted > had_rows else had_rows
        most = device.memory_bytes()[0] * SHARE_OF_FREE
        least = (n_rows, max(n_positions, had if n_rows <= had_rows else n_positions))
        for rows, positions in ((many, doubled), (wanted, doubled), (n_rows, doubled), least):
            if rows * self.cache.row_bytes(positions) <= most or (must and (rows, positions) == least):
                try:
                    self.cache.resize(rows, positions)
                except RuntimeError:  # the memory that was free a moment ago is not
                    if must and (rows, positions) == least:
                        raise
                    continue
                for place, row in enumerate(self.rows):
                    row.text = row.text[:positions] if place < min(rows, had_rows) else []
                return True
        return False
