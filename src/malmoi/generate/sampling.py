"""Logits -> next tokens."""

import torch
from pydantic import Field
from torch import Tensor

from malmoi.config import Settings


class Sampling(Settings):
    """How the next token is chosen."""

    temperature: float = Field(1.0, ge=0, le=10)
    """Logits are divided by this; 0 takes the likeliest token."""
    top_k: int = Field(0, ge=0)
    """Choose among this many likeliest tokens; 0: among all."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Choose among the likeliest tokens that together reach this probability (arXiv:1904.09751)."""
    max_tokens: int = Field(64, gt=0)
    """Longest answer, end of turn included."""


def choose(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """Next tokens (B,) from logits (B, V) and one number in [0, 1) per row.

    Inverse-CDF sampling: a row's choice depends on its own logits and number alone, not on its neighbours.
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = (logits.float() / sampling.temperature).softmax(dim=-1)
    if sampling.top_k or sampling.top_p < 1:
        probabilities = _nucleus(probabilities, sampling.top_k, sampling.top_p)
    cumulative = probabilities.cumsum(dim=-1)
    point = uniform[:, None].to(cumulative) * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, point, right=True)[:, 0]
    return index.clamp_max(logits.shape[-1] - 1)


def _nucleus(probabilities: Tensor, top_k: int, top_p: float) -> Tensor:
    """Zero all but the `top_k` likeliest, and all behind the first that reach `top_p` (that one stays)."""
    ordered, order = probabilities.sort(dim=-1, descending=True)
    dropped = ordered.cumsum(dim=-1) - ordered >= top_p
    if top_k:
        dropped[:, top_k:] = True
    return torch.zeros_like(probabilities).scatter_(1, order, ordered.masked_fill(dropped, 0.0))


def uniforms(seeds: list[int], n: int) -> Tensor:
    """(B, n) numbers in [0, 1): a row's depend on its seed alone, whoever else is in the batch."""
    rows = [torch.rand(n, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)
