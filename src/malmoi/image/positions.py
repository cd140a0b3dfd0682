"""Positions that begin smooth: what is near is alike, so that "early" and "left" are directions, not sets of places.

Each is a sum of slow waves (cosines), each wave in a random direction; they are only where learned positions begin.
"""

import math

import torch
from torch import Tensor

N_WAVES, WAVE_TOKENS = 8, 24
"""Waves of a sequence's positions; tokens over which the slowest is half a wave."""


def smooth_positions(n: int, width: int) -> Tensor:
    """(n, width) of a sequence, mean square about 1."""
    at = (torch.arange(n) + 0.5) / WAVE_TOKENS
    return _directed(torch.stack([torch.cos(math.pi * k * at) / k**0.5 for k in range(1, N_WAVES + 1)], dim=1), width)


def smooth_places(side: int, width: int) -> Tensor:
    """(side², width) of a square, row by row, with waves across, down and both; mean square about 1."""
    at = (torch.arange(side) + 0.5) / side
    waves = torch.stack([torch.cos(math.pi * k * at) / (1 + k) for k in range(side)], dim=1)
    both = torch.einsum("ya,xb->yxab", waves, waves).reshape(side**2, side**2)
    # The first wave is the same everywhere.
    return _directed(both[:, 1:] if side > 1 else both, width)


def _directed(waves: Tensor, width: int) -> Tensor:
    """Waves (n, W), each in a random direction, (n, width)."""
    return waves / waves.square().sum(1).mean().sqrt() @ torch.randn(waves.shape[1], width)
