"""The rows of an engine's cache: the text that each holds, which row is overwritten next, and memory for more.

Running requests use the first rows, in order. The rows after them keep the texts of ended requests, so that a shared
prefix is not read again.
Source: prefix caching, Zheng et al. 2023 (arXiv:2312.07104).
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

SHORTEST_PREFIX = 16
FIRST_POSITIONS = 64
# The share of the free memory that keys and values may take: while they move to larger memory, both copies exist.
SHARE_OF_FREE = 0.5


@dataclass(eq=False)
class Row:
    """text: tokens whose keys and values the row holds; left_at: step at which its last request ended"""

    text: list[int] = field(default_factory=list)
    left_at: int = 0


class CachedPrefix(NamedTuple):
    """The longest prefix of a text that a row holds: the row and the number of tokens, at least `SHORTEST_PREFIX`; or
    no row and 0."""

    row: Row | None
    n_tokens: int


class Rows:
    """Up to `n_rows` rows of at most `n_max` positions. Memory grows as texts are read.

    held: the row of a text that is read in parts; others may copy from it, and do not overwrite it
    """

    def __init__(self, config: ModelConfig, n_rows: int, n_max: int, dtype: torch.dtype, where: torch.device) -> None:
        self.n_rows, self.n_max = n_rows, n_max
        n_first = min(n_max, FIRST_POSITIONS)
        self.cache = KVCache(config.n_layer, 1, config.n_kv_head, n_first, config.head_dim, dtype, where)
        self.rows = [Row() for _ in range(n_rows)]
        self.held: Row | None = None

    def reset(self) -> None:
        """Drop the texts of all rows."""
        self.rows, self.held = [Row() for _ in range(self.n_rows)], None
        with torch.inference_mode():
            self.cache.lengths.zero_()

    def swap(self, a: int, b: int) -> None:
        """Exchange two rows."""
        if a != b:
            self.cache.swap(a, b)
            self.rows[a], self.rows[b] = self.rows[b], self.rows[a]

    def longest_prefix(self, text: list[int]) -> CachedPrefix:
        """The longest cached prefix of a text without its last token, which is always read for the logits after it."""
        found, longest, text = None, 0, text[:-1]
        for row in self.rows:
            n_least = max(longest + 1, SHORTEST_PREFIX)
            if len(text) >= n_least and row.text[:n_least] == text[:n_least]:
                found, longest = row, common_prefix_length(row.text, text)
        return CachedPrefix(found, longest)

    def assign(self, texts: Sequence[list[int]], prefixes: Sequence[CachedPrefix], first: int) -> None:
        """Copy the cached prefixes of some texts into the rows from `first`, and lose none that is still needed."""
        needed = Counter(row for row, _ in prefixes if row)
        for place, (text, prefix) in enumerate(zip(texts, prefixes, strict=True), start=first):
            source, n_tokens = prefix
            if source:
                needed[source] -= 1
            free = range(place, self.cache.capacity[0])
            self.swap(place, min(free, key=lambda at: self._loss(self.rows[at], prefix, needed)))
            row = self.rows[place]
            at = self.rows.index(source) if source and common_prefix_length(row.text, text) < n_tokens else place
            self.cache.copy(at, place, n_tokens)
            row.text = text[:n_tokens]

    def _loss(self, row: Row, prefix: CachedPrefix, needed: Counter[Row]) -> tuple[bool, bool, bool, bool, int]:
        """How much is lost if a text overwrites this free row; smaller is better.

        Nothing is lost if the text continues all that the row holds. Otherwise a prefix that other texts need counts
        most, then any text, and of two texts the one that was used last.
        """
        continues = row is prefix.row and len(row.text) == prefix.n_tokens
        return row is self.held, needed[row] > 0 and not continues, not continues, bool(row.text), row.left_at

    def reserve(self, n_rows: int, n_positions: int, n_kept: int = 0, must: bool = False) -> bool:
        """Get memory for the first `n_rows` rows with `n_positions` each, and if possible for `n_kept` cached rows.

        must: try it with whatever memory is free, and raise if that is not enough; otherwise return False then
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
                except RuntimeError:  # another process took the memory that was free a moment ago
                    if must and (rows, positions) == least:
                        raise
                    continue
                for place, row in enumerate(self.rows):
                    row.text = row.text[:positions] if place < min(rows, had_rows) else []
                return True
        return False
