"""Micro-batches. Each has a `count`: loss sums are divided by its sum over all micro-batches and ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MAX_SHARED_TOKENS = 768
"""About how many tokens a row of `SharedPrompts` has; a row with a single answer may be longer."""


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
        """How many tokens are trained on."""
        return int(self.mask.sum())

    def to(self, device: torch.device) -> "Tokens":
        return Tokens(self.ids.to(device), self.targets.to(device), self.mask.to(device))


@dataclass(frozen=True)
class Branches:
    """Rows that hold a shared prefix and then its K continuations, which do not attend to each other.

    positions: (B, T) index of each token in its own text
    segments: (B, T) 0 in the prefix, 1 … K in the continuations, -1 in padding
    """

    positions: Tensor
    segments: Tensor

    def to(self, device: torch.device) -> "Branches":
        return Branches(self.positions.to(device), self.segments.to(device))


@dataclass(frozen=True)
class SharedPrompts:
    """B answers packed into G rows, so that a prompt that several answers share is read only once.

    ids, targets: (G, S), each row has a prompt without its last token, then, for each answer, that token and the answer
    branches: the position and segment of each token; starts: (G,) how many tokens the prompt has
    predicts: (G, S), True where the target is a token of an answer; ends: (G, S), True at each answer's last token
    order: (B,), the index of each packed answer among the original B rows
    """

    ids: Tensor
    targets: Tensor
    branches: Branches
    starts: Tensor
    predicts: Tensor
    ends: Tensor
    order: Tensor

    def unpack(self, values: Tensor, mask: Tensor) -> Tensor:
        """Move values (N,), one for each True in `predicts`, to where `mask` (B, T) is True; all else is zero."""
        rows = torch.zeros(mask.shape, dtype=values.dtype, device=values.device)
        return torch.zeros_like(rows).index_copy(0, self.order, rows.masked_scatter(mask[self.order], values))


def share_prompts(ids: Tensor, mask: Tensor) -> SharedPrompts | None:
    """Pack answers that share a prompt into one row. None if no two share a prompt, or an answer is empty.

    ids: (B, T + 1); mask: (B, T), True where the next token belongs to the answer
    Source: the layout of arXiv:2506.05433.
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
    n_prompt: list[int] = []
    order: list[int] = []
    for prompt, answers in groups.items():
        n_shared = len(prompt) - 1
        # The cost of attention grows with the square of a row's length, so a large group becomes several rows.
        n_in_row = max(1, (MAX_SHARED_TOKENS - n_shared) // max(len(own) for _, own in answers))
        for first in range(0, len(answers), n_in_row):
            in_row = answers[first : first + n_in_row]
            order += [number for number, _ in in_row]
            rows.append([*prompt[:-1], *(token for _, own in in_row for token in own)])
            n_prompt.append(len(prompt))
            positions.append([*range(n_shared), *(n_shared + i for _, own in in_row for i in range(len(own)))])
            parts = [segment for segment, (_, own) in enumerate(in_row, start=1) for _ in own]
            segments.append([0] * n_shared + parts)
    here = ids.device
    branches = Branches(pad(positions, 0)[0], pad(segments, -1)[0]).to(here)
    packed, in_answer = pad(rows, 0)[0].to(here), branches.segments > 0
    goes_on = branches.segments == branches.segments.roll(-1, dims=1)
    goes_on[:, -1] = False
    return SharedPrompts(
        packed, packed.roll(-1, dims=1), branches, torch.tensor(n_prompt, device=here), in_answer & goes_on,
        in_answer & ~goes_on, torch.tensor(order, device=here),
    )  # fmt: skip


def compact_ids(ids: Sequence[int]) -> np.ndarray:
    """Ids as an array of 4 bytes each; a list takes 36."""
    return np.array(ids, dtype=np.int32)


def pad(rows: Sequence[Sequence[int] | np.ndarray], pad_id: int) -> tuple[Tensor, Tensor]:
    """Rows of ids -> (B, T) padded on the right, and their lengths (B,)."""
    lengths = [len(row) for row in rows]
    ids = np.full((len(rows), max(lengths)), pad_id, dtype=np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
    return torch.from_numpy(ids), torch.tensor(lengths)


def shift(ids: Tensor, trained: Tensor) -> Tokens:
    """Ids (B, T) and a mask of those trained on -> inputs and next-token targets, (B, T - 1)."""
    return Tokens(ids[:, :-1], ids[:, 1:], trained[:, 1:])


def batches_by_length(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Rows of similar length in one batch, so that there is little padding.

    Returns row numbers, longest rows first, in batches of at most `most_tokens` padded tokens (or of one row).
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= most_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
