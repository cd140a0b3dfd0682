"""Micro-batches. Each knows its `count`: by how much its loss sum is divided, over all micro-batches and ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LONGEST_SHARED = 768
"""Tokens in a row of `SharedPrompts`, about; a single answer may be longer."""


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


@dataclass(frozen=True)
class SharedPrompts:
    """Answers (B rows of ids, some to the same prompt) laid out so that what is read of a prompt is read once.

    ids, targets: (G, S), a row for each prompt: all of it but its last token, then, for each answer, that token and the
    answer; branches: which is which
    chooses: (G, S), True where the target is an answer's token; ends: (G, S), True at each answer's last token
    order: (B,), which of the rows each answer was
    """

    ids: Tensor
    targets: Tensor
    branches: Branches
    chooses: Tensor
    ends: Tensor
    order: Tensor

    def back(self, values: Tensor, mask: Tensor) -> Tensor:
        """What stands where `chooses` is True, (N,), at the places where `mask` (B, T) is; zero elsewhere."""
        rows = torch.zeros(mask.shape, dtype=values.dtype, device=values.device)
        return torch.zeros_like(rows).index_copy(0, self.order, rows.masked_scatter(mask[self.order], values))


def share_prompts(ids: Tensor, mask: Tensor) -> SharedPrompts | None:
    """Rows of (B, T + 1) ids whose answers begin with the token behind the first True of `mask` (B, T), and are as long
    as it is True; None where no two have a prompt in common, or an answer is empty.

    Source: the layout is arXiv:2506.05433's.
    """
    starts, lengths = mask.int().argmax(dim=1).tolist(), mask.sum(dim=1).tolist()
    groups: dict[tuple[int, ...], list[tuple[int, list[int]]]] = {}
    for number, (row, start, length) in enumerate(zip(ids.tolist(), starts, lengths, strict=True)):
        groups.setdefault(tuple(row[: start + 1]), []).append((number, row[start : start + 1 + length]))
    if len(groups) == len(ids) or 0 in lengths:
        return None
    rows: list[list[int]] = []
    positions: list[list[int]] = []
    segments: list[list[int]] = []
    order: list[int] = []
    for prompt, answers in groups.items():
        n_shared = len(prompt) - 1
        # What attention takes grows with the square of a row: a large group is several rows.
        n_together = max(1, (LONGEST_SHARED - n_shared) // max(len(own) for _, own in answers))
        for first in range(0, len(answers), n_together):
            together = answers[first : first + n_together]
            order += [number for number, _ in together]
            rows.append([*prompt[:-1], *(token for _, own in together for token in own)])
            positions.append([*range(n_shared), *(n_shared + i for _, own in together for i in range(len(own)))])
            parts = [segment for segment, (_, own) in enumerate(together, start=1) for _ in own]
            segments.append([0] * n_shared + parts)
    here = ids.device
    branches = Branches(pad(positions, 0)[0], pad(segments, -1)[0]).to(here)
    packed, in_answer = pad(rows, 0)[0].to(here), branches.segments > 0
    goes_on = branches.segments == branches.segments.roll(-1, dims=1)
    goes_on[:, -1] = False
    return SharedPrompts(
        packed, packed.roll(-1, dims=1), branches, in_answer & goes_on, in_answer & ~goes_on,
        torch.tensor(order, device=here),
    )  # fmt: skip


def as_ids(ids: Sequence[int]) -> np.ndarray:
    """Ids as they are held in memory: 4 bytes each, where a list takes 36."""
    return np.array(ids, dtype=np.int32)


def pad(rows: Sequence[Sequence[int] | np.ndarray], pad_id: int) -> tuple[Tensor, Tensor]:
    """Rows of ids -> (B, T) padded on the right, and (B,) their lengths."""
    lengths = [len(row) for row in rows]
    ids = np.full((len(rows), max(lengths)), pad_id, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return torch.from_numpy(ids), torch.tensor(lengths)


def shift(ids: Tensor, trained: Tensor) -> Tokens:
    """Ids (B, T) and which are trained on -> inputs and next-token targets, (B, T - 1)."""
    return Tokens(ids[:, :-1], ids[:, 1:], trained[:, 1:])


def batches_by_length(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Rows of similar length together, so that there is little padding.

    Returns row numbers, longest rows first, in batches of at most `most_tokens` padded tokens (or of one row).
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= most_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
