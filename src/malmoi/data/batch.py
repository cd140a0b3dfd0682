"""Micro-batches. Each knows its `count`: by how much its loss sum is divided, over all micro-batches and ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Tokens:
    """Sequences to predict, padded on the right (causal attention never looks there).

    ids: (B, T); targets: (B, T), the next token of each position; mask: (B, T), True where trained on
    """

    ids: Tensor
    targets: Tensor
    mask: Tensor

    @property
    def count(self) -> int:
        """Tokens that are trained on."""
        return int(self.mask.sum())

    def to(self, device: torch.device) -> "Tokens":
        return Tokens(self.ids.to(device), self.targets.to(device), self.mask.to(device))


@dataclass(frozen=True)
class Branches:
    """Rows in which several continuations of one beginning stand one after another, none seeing another.

    positions: (B, T) place of each token in its own text; segments: (B, T) 0 in the beginning, 1 … K in the
    continuations, -1 in padding
    """

    positions: Tensor
    segments: Tensor

    def to(self, device: torch.device) -> "Branches":
        return Branches(self.positions.to(device), self.segments.to(device))


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Rows of ids -> (B, T) padded on the right, and (B,) their lengths."""
    lengths = [len(row) for row in rows]
    ids = np.full((len(rows), max(lengths)), pad_id, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return torch.from_numpy(ids), torch.tensor(lengths)


def shift(ids: Tensor, trained: Tensor) -> Tokens:
    """Ids (B, T) and which are trained on -> inputs and next-token targets, (B, T - 1)."""
    return Tokens(ids[:, :-1], ids[:, 1:], trained[:, 1:])
