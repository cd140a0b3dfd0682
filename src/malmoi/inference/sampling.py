"""Logits -> next tokens."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from malmoi.config import Settings
from malmoi.errors import CheckpointError, DataError

LEAST_TEMPERATURE, AT_ONCE = 1e-5, 32


class Sampling(Settings):
    """How the tokens of an answer are sampled, and when the answer ends."""

    temperature: float = Field(1.0, ge=0, le=10)
    """Logits are divided by this; 0 takes the likeliest token."""
    top_k: int = Field(0, ge=0)
    """Sample from this many likeliest tokens; 0: from all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Sample from the likeliest tokens that together reach this probability (arXiv:1904.09751)."""
    min_p: float = Field(0.0, ge=0, le=1)
    """Sample from tokens with at least this share of the likeliest token's probability (arXiv:2407.01082)."""
    repetition_penalty: float = Field(1.0, ge=0.01, le=10)
    """Logits of tokens that are already in prompt or answer shrink by this factor (arXiv:1909.05858); 1: no change."""
    logit_bias: Mapping[int, float] = Field(default_factory=dict)
    """Added to the logits of these token ids."""
    max_tokens: int = Field(64, gt=0)
    """Longest answer in tokens, including the end of turn."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these texts."""
    logprobs: int = Field(-1, ge=-1, le=20)
    """Log-probabilities to return, of the model before any of the above. -1: none; 0: of the sampled token; N: of the N
    likeliest tokens as well."""

    @field_validator("temperature")
    @classmethod
    def _can_divide(cls, temperature: float) -> float:
        if 0 < temperature < LEAST_TEMPERATURE:
            raise ValueError(f"logits divided by it would overflow; use 0, or {LEAST_TEMPERATURE:g} to 10")
        return temperature

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("an empty stop text would end every answer")
        return stop

    @property
    def filters(self) -> bool:
        """Whether some tokens are never sampled."""
        return bool(self.top_k) or self.top_p < 1 or self.min_p > 0


class Sampler:
    """Samples the next tokens of rows that decode together. samplings: the settings of each row"""

    def __init__(self, samplings: Sequence[Sampling], vocab_size: int, device: torch.device) -> None:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, device=device)[:, None]

        self.greedy = torch.tensor([s.temperature == 0 for s in samplings], device=device)
        self.all_greedy = all(s.temperature == 0 for s in samplings)
        self.any_greedy = any(s.temperature == 0 for s in samplings)
        self.all_plain = all(s.temperature == 1 for s in samplings)
        self.temperature = column([s.temperature or 1.0 for s in samplings])
        self.filtered = [row for row, s in enumerate(samplings) if s.filters and s.temperature]
        chosen = [samplings[row] for row in self.filtered]
        self.top_k = column([float(s.top_k or vocab_size) for s in chosen])
        self.top_p = column([s.top_p for s in chosen])
        self.min_p = column([s.min_p for s in chosen])

    def __call__(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Next tokens (B,) from logits (B, V) and one number in [0, 1) per row.

        Inverse-CDF sampling: a row's token depends only on its own logits and number, not on the other rows.
        """
        logits = logits.float()  # finding the largest of bfloat16 numbers takes six times as long
        most, likeliest = logits.max(dim=-1)
        # The maximum of a row that has a NaN is NaN.
        if not bool(most.isfinite().all()):
            raise CheckpointError("the model computes numbers that are not finite (NaN or infinity); is it damaged?")
        if self.all_greedy:
            return likeliest
        probabilities = (logits if self.all_plain else logits / self.temperature).softmax(dim=-1)
        if self.filtered:
            kept = _filter(probabilities[self.filtered], self.top_k, self.top_p, self.min_p)
            probabilities[self.filtered] = kept
        cumulative = probabilities.cumsum(dim=-1)
        total = cumulative[:, -1:]
        # The product may round up to the total, and no token lies beyond it: then the last possible token is taken.
        point = torch.minimum(uniform[:, None].to(cumulative) * total, total.nextafter(torch.zeros_like(total)))
        index = torch.searchsorted(cumulative, point, right=True)[:, 0]
        return torch.where(self.greedy, likeliest, index) if self.any_greedy else index


def _filter(probabilities: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """Zero all but the `top_k` likeliest, all after the token that reaches `top_p`, and all below `min_p`."""
    ordered, order = probabilities.sort(dim=-1, descending=True)
    rank = torch.arange(ordered.shape[-1], device=ordered.device)
    dropped = (ordered.cumsum(dim=-1) - ordered >= top_p) | (rank >= top_k) | (ordered < min_p * ordered[:, :1])
    return torch.zeros_like(probabilities).scatter_(1, order, ordered.masked_fill(dropped, 0.0))


def adjust(logits: Tensor, sampling: Sampling, seen: Sequence[int]) -> Tensor:
    """One row's logits (V,) after repetition penalty and bias. seen: ids of prompt and answer."""
    logits = logits.float()
    if sampling.repetition_penalty != 1:
        ids = torch.tensor(sorted(set(seen)), device=logits.device)
        found = logits[ids]
        penalty = sampling.repetition_penalty
        logits = logits.index_copy(0, ids, torch.where(found > 0, found / penalty, found * penalty))
    if sampling.logit_bias:
        ids = torch.tensor(list(sampling.logit_bias), device=logits.device)
        logits = logits.index_add(0, ids, torch.tensor(list(sampling.logit_bias.values()), device=logits.device))
    return logits


class Uniforms:
    """Random numbers in [0, 1), drawn on demand. They depend only on the seed, not on what else is in the batch.

    Raises DataError for a seed that does not fit into 64 bits.
    """

    def __init__(self, seed: int) -> None:
        if not 0 <= seed < 2**64:
            raise DataError(f"seed: {seed}: not a whole number from 0 to 2^64 - 1")
        self._generator = np.random.default_rng(seed)
        self._drawn: list[float] = []

    def __getitem__(self, place: int) -> float:
        while place >= len(self._drawn):
            self._drawn += self._generator.random(AT_ONCE, dtype=np.float32).tolist()
        return self._drawn[place]
