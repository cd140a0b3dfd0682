"""How noise is added to a picture, and what a network that takes it away predicts. Pure functions of tensors.

x_t = signal · x0 + spread · noise. Two kinds of process:
- "ddpm": t is an index, 0 (nearly clean) to 999; signal² + spread² = 1. Source: Ho et al. 2020 (arXiv:2006.11239).
- "flow": t is a time, 0 (clean) to 1 (noise); signal = 1 - t, spread = t. Source: Liu et al. 2022 (arXiv:2209.03003).
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from malmoi.config import Settings

Kind = Literal["ddpm", "flow"]
Prediction = Literal["epsilon", "v", "sample"]
Spacing = Literal["leading", "trailing", "linspace"]
NEARLY_ZERO = 2.0**-24
"""What the signal's square is at the last index instead of 0, where a division by it follows."""


class Schedule(Settings):
    """Settings of `scheduler_config.json`, under diffusers' names. The defaults are Stable Diffusion 1.x."""

    num_train_timesteps: int = Field(1000, ge=1, le=100_000)
    beta_start: float = Field(0.00085, gt=0, lt=1)
    beta_end: float = Field(0.012, gt=0, lt=1)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "scaled_linear"
    trained_betas: tuple[float, ...] | None = None
    """Given one by one, in place of a rule."""
    rescale_betas_zero_snr: bool = False
    """At the last index there is only noise. Source: Lin et al. 2023 (arXiv:2305.08891)."""
    steps_offset: int = Field(1, ge=0)
    """Added to the indices of "leading" spacing."""
    timestep_spacing: Spacing = "leading"
    """Which indices few steps use."""
    clip_sample: bool | None = False
    """Whether the predicted picture is clipped in every step of DDPM, DDIM and LCM. None: in the first two."""
    clip_sample_range: float = Field(1.0, gt=0)
    set_alpha_to_one: bool = False
    """Whether DDIM's last step ends at no noise, or at the noise of index 0."""
    variance_type: Literal["fixed_small", "fixed_large"] | None = None
    """How much noise DDPM adds in a step; None: fixed_small."""
    use_karras_sigmas: bool = False
    """Whether Euler's and DPM-Solver's steps are spaced as by Karras et al. 2022 (arXiv:2206.00364), equation 5."""
    original_inference_steps: int = Field(50, ge=1)
    """Of how many steps LCM takes a few."""
    timestep_scaling: float = Field(10.0, gt=0)
    shift: float = Field(1.0, gt=0)
    """Of flows: above 1, more steps go where there is much noise. Source: Esser et al. 2024 (arXiv:2403.03206)."""

    @model_validator(mode="after")
    def _fits(self) -> "Schedule":
        n, betas = self.num_train_timesteps, self.trained_betas
        if betas is not None and (len(betas) != n or not all(0 < beta < 1 for beta in betas)):
            raise ValueError(f"trained_betas: must be {n} numbers between 0 and 1, one for each of num_train_timesteps")
        if self.steps_offset and self.steps_offset >= n:
            raise ValueError(f"steps_offset: {self.steps_offset} must be below num_train_timesteps ({n})")
        return self


@lru_cache(maxsize=32)
def alphas_cumprod(schedule: Schedule) -> Tensor:
    """The square of the signal at each index, float32 (num_train_timesteps,)."""
    n, start, end = schedule.num_train_timesteps, schedule.beta_start, schedule.beta_end
    if schedule.trained_betas is not None:
        betas = torch.tensor(schedule.trained_betas)
    elif schedule.beta_schedule == "linear":
        betas = torch.linspace(start, end, n)
    elif schedule.beta_schedule == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, n) ** 2
    else:
        left = [math.cos((i / n + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(n + 1)]
        betas = torch.tensor([min(1 - after / before, 0.999) for before, after in pairwise(left)])
    alphas = torch.cumprod(1 - betas, 0)
    if not schedule.rescale_betas_zero_snr:
        return alphas
    root = alphas.sqrt()
    root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
    # By way of the betas, as diffusers does it: the rounding is part of its numbers.
    alphas = root**2
    return torch.cumprod(1 - (1 - torch.cat([alphas[:1], alphas[1:] / alphas[:-1]])), 0)


def _like(value: Tensor, x: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1), to be multiplied with x."""
    return value.to(x.device, x.dtype).reshape(-1, *[1] * (x.ndim - 1))


@dataclass(frozen=True)
class Process:
    """kind: how noise is added; prediction: what the network returns; schedule: of "ddpm", and how steps are spaced.

    "v" is signal · noise - spread · x0 for "ddpm" (Salimans and Ho 2022, arXiv:2202.00512), noise - x0 for "flow".
    """

    kind: Kind = "ddpm"
    prediction: Prediction = "epsilon"
    schedule: Schedule = field(default_factory=Schedule)

    def level(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and spread at t, (B,) each."""
        if self.kind == "flow":
            return 1 - t, t
        alphas = alphas_cumprod(self.schedule).to(t.device)[t.round().long()]
        return alphas.sqrt(), (1 - alphas).sqrt()

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t. x0, noise: (B, …); t: (B,)"""
        signal, spread = self.level(t)
        return _like(signal, x0) * x0 + _like(spread, x0) * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network is to return for x_t."""
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return x0
        if self.kind == "flow":
            return noise - x0
        signal, spread = self.level(t)
        return _like(signal, x0) * noise - _like(spread, x0) * x0

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean picture that an output of the network stands for."""
        return self.split(output, x_t, *self.level(t))[0]

    def split(self, output: Tensor, x: Tensor, signal: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """The clean picture and the noise of which x consists, by an output of the network. signal, spread: (B,)"""
        signal, spread = _like(signal, x), _like(spread, x)
        if self.prediction == "epsilon":
            return (x - spread * output) / signal, output
        if self.prediction == "sample":
            return output, (x - signal * output) / spread
        if self.kind == "flow":
            return x - spread * output, x + signal * output
        return signal * x - spread * output, signal * output + spread * x
