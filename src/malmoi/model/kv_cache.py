"""Keys and values of what was already read, so that each new token costs one position.

Every row has its own length: prompts are padded on the right and each row writes on where its own text ends.
"""

import torch
from torch import Tensor


class KVCache:
    """Preallocated keys and values, (n_layer, B, H_kv, n_max, K).

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
        self.longest = 0

    @property
    def is_full(self) -> bool:
        """Whether some row has no place for another token."""
        return self.longest >= self.keys.shape[3]

    def positions(self, n_new: int) -> Tensor:
        """(B, n_new) positions that the next tokens take."""
        return self.lengths[:, None] + torch.arange(n_new, device=self.lengths.device)

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Store k, v (B, H_kv, n_new, K); returns all keys, all values, and which of them each query may see.

        The mask is (B, 1, n_new, n_seen), True where seen; None when plain causal attention says the same.
        """
        n_new = k.shape[2]
        if self.longest == 0:
            self.keys[layer, :, :, :n_new] = k
            self.values[layer, :, :, :n_new] = v
            return k, v, None
        positions = self.positions(n_new)
        rows = torch.arange(k.shape[0], device=k.device)[:, None]
        self.keys[layer][rows, :, positions] = k.transpose(1, 2).to(self.keys.dtype)
        self.values[layer][rows, :, positions] = v.transpose(1, 2).to(self.values.dtype)
        n_seen = self.longest + n_new
        mask = torch.arange(n_seen, device=k.device) <= positions[:, None, :, None]
        return self.keys[layer, :, :, :n_seen], self.values[layer, :, :, :n_seen], mask

    def advance(self, n_new: int | Tensor) -> None:
        """Count `n_new` tokens (one number, or one per row) as stored."""
        self.lengths = self.lengths + n_new
        self.longest = int(self.lengths.max())

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these: answers that have ended make room."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.lengths = self.lengths[rows]
        self.longest = int(self.lengths.max()) if len(rows) else 0
