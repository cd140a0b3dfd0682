"""Keys and values of the tokens that were already read, so that each new token costs one position.

Every row has its own length: prompts are padded on the right, and each row continues where its own text ends.
"""

import torch
from torch import Tensor

from malmoi.model.attention import bias_of


class KVCache:
    """Keys and values, (n_layer, B, H_kv, n_max, K).

    lengths: (B,) tokens already stored for each row
    """

    def __init__(
        self, n_layer: int, n_batch: int, n_kv_head: int, n_max: int, head_dim: int, dtype: torch.dtype,
        device: torch.device,
    ) -> None:  # fmt: skip
        shape = (n_layer, n_batch, n_kv_head, n_max, head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = torch.zeros(n_batch, dtype=torch.long, device=device)
        self._plan: _Plan | None = None

    @property
    def capacity(self) -> tuple[int, int]:
        """Rows, and positions of each row, that the memory holds."""
        return self.keys.shape[1], self.keys.shape[3]

    def row_bytes(self, n_positions: int) -> int:
        """Memory of a row with this many positions."""
        n_layer, _, n_head, _, head_dim = self.keys.shape
        return 2 * n_layer * n_head * n_positions * head_dim * self.keys.itemsize

    def resize(self, n_rows: int, n_positions: int) -> None:
        """Move to memory of another size and keep what fits. Views that `rows` returned keep the old memory.

        If there is not enough memory it raises, and the cache stays as it was.
        """
        kept_rows, kept = min(n_rows, self.keys.shape[1]), min(n_positions, self.keys.shape[3])
        made = []
        for old in (self.keys, self.values):
            new = old.new_zeros(old.shape[0], n_rows, old.shape[2], n_positions, old.shape[4])
            new[:, :kept_rows, :, :kept] = old[:, :kept_rows, :, :kept]
            made.append(new)
        lengths = self.lengths.new_zeros(n_rows)
        lengths[:kept_rows] = self.lengths[:kept_rows].clamp_max(kept)
        self.keys, self.values, self.lengths, self._plan = made[0], made[1], lengths, None

    def rows(self, start: int, end: int) -> "KVCache":
        """A view of these rows: it shares its storage with the whole cache."""
        part = KVCache.__new__(KVCache)
        part.keys, part.values = self.keys[:, start:end], self.values[:, start:end]
        part.lengths = self.lengths[start:end]
        part._plan = None
        return part

    def positions(self, n_new: int) -> Tensor:
        """(B, n_new) positions of the next tokens."""
        self._plan = _Plan(self.lengths, n_new, self.keys.shape[3], self.keys.dtype)
        return self._plan.positions

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Store k, v (B, H_kv, n_new, K). Returns all keys, all values, and the bias for `attend`, or None."""
        plan = self._plan
        if plan is None or plan.positions.shape[1] != k.shape[2]:
            plan = self._plan = _Plan(self.lengths, k.shape[2], self.keys.shape[3], self.keys.dtype)
        keys, values = self.keys[layer], self.values[layer]
        if plan.start is not None:
            keys[:, :, plan.start : plan.n_seen] = k
            values[:, :, plan.start : plan.n_seen] = v
            if plan.start == 0:
                return k, v, None
        else:
            keys[plan.row_index, :, plan.positions] = k.transpose(1, 2).to(keys.dtype)
            values[plan.row_index, :, plan.positions] = v.transpose(1, 2).to(values.dtype)
        return keys[:, :, : plan.n_seen], values[:, :, : plan.n_seen], plan.bias

    def advance(self, n_new: int | Tensor) -> None:
        """Count `n_new` more tokens (one number, or one per row) as stored."""
        self.lengths += n_new
        self._plan = None

    def swap(self, a: int, b: int) -> None:
        """Exchange two rows."""
        n_tokens = int(self.lengths[[a, b]].max())
        for tensor in (self.keys, self.values):
            tensor[:, [a, b], :, :n_tokens] = tensor[:, [b, a], :, :n_tokens]
        self.lengths[[a, b]] = self.lengths[[b, a]]

    def copy(self, source: int, target: int, n_tokens: int) -> None:
        """Make the first `n_tokens` of `source` the content of `target`."""
        if source != target:
            for tensor in (self.keys, self.values):
                tensor[:, target, :, :n_tokens] = tensor[:, source, :, :n_tokens]
        self.lengths[target] = n_tokens


class _Plan:
    """Where the next tokens of all rows are stored, computed once for all layers.

    start: their first position, if it is the same in every row; n_seen: number of keys that the queries may see
    Padding beyond the memory is written to position n_max - 1, which no prompt fills.
    """

    def __init__(self, lengths: Tensor, n_new: int, n_max: int, dtype: torch.dtype) -> None:
        self.positions = lengths[:, None] + torch.arange(n_new, device=lengths.device)
        shortest, longest = int(lengths.min()), int(lengths.max())
        self.start = longest if shortest == longest else None
        self.n_seen = min(longest + n_new, n_max)
        if self.start is None:
            self.positions.clamp_max_(n_max - 1)
        self.row_index = torch.arange(len(lengths), device=lengths.device)[:, None]
        self.bias: Tensor | None = None
        if longest > 0 and not (shortest == longest and n_new == 1):
            key = torch.arange(self.n_seen, device=lengths.device)
            self.bias = bias_of(key > self.positions[:, None, :, None]).to(dtype)
