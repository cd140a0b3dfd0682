"""From noise to a picture in steps: DDPM, DDIM, Euler, Euler ancestral, DPM-Solver++ 2M, LCM, two for flows.

Each gives the numbers of diffusers' scheduler of that name, step by step, with the same noise. One difference is of
form: x is always what the network is given, signal · x0 + spread · noise, also where diffusers keeps x / signal
(Euler). In this form DDIM, Euler and Euler for flows are one step, on other times; what else a sampler does is a few
lines. Only `flow_ancestral` has none to be equal to: diffusers renews all of a flow's noise or none of it.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from malmoi.errors import ConfigError
from malmoi.image.schedule import NEARLY_ZERO, Process, alphas_cumprod

Sampler = Literal["ddpm", "ddim", "euler", "euler_ancestral", "dpmpp_2m", "lcm", "flow_euler", "flow_ancestral"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
BY_SIGMA = ("euler", "euler_ancestral", "dpmpp_2m")
"""Samplers whose levels lie between the indices that the network was trained with."""

FRESH = 0.6
"""Share of the noise that is new after each step of `flow_ancestral`. With new noise a network looks again at what an
earlier step got wrong, such as two halves of a shape that do not fit. Source: Karras et al. 2022, §4
(arXiv:2206.00364)."""


class Level(NamedTuple):
    """How noisy x is: x = signal · x0 + spread · noise; t: the time or index that the network is told."""

    t: float
    signal: float
    spread: float

    def mix(self, x0: Tensor, noise: Tensor) -> Tensor:
        return self.signal * x0 + self.spread * noise

    @property
    def sigma(self) -> float:
        return self.spread / self.signal if self.signal else math.inf


@dataclass(frozen=True)
class Step:
    """One step done. number: from 1; of: how many there are; x: what the next step gets, at the end the picture or its
    latents; x0: the picture that the network sees in it now; level: how noisy x is"""

    number: int
    of: int
    x: Tensor
    x0: Tensor
    level: Level


Predict = Callable[[Tensor, Tensor], Tensor]
"""(x (B, …), t (B,)) -> the network's output"""
Between = Callable[[Tensor, Level], Tensor]
"""(x after a step, how noisy it is) -> what goes on in its place, as for inpainting"""


def samplers_of(process: Process) -> tuple[Sampler, ...]:
    """The samplers that fit a process, the default first."""
    if process.kind == "flow":
        return ("flow_ancestral", "flow_euler", "lcm")
    return ("dpmpp_2m", "ddim", "euler", "euler_ancestral", "ddpm", "lcm")


def levels(name: Sampler, process: Process, n_steps: int) -> list[Level]:
    """How noisy x is before each of the steps, and at their end: n_steps + 1 levels.

    Raises ConfigError for a sampler that does not fit the process, or for a number of steps that it cannot take.
    """
    check_sampler(name, process, n_steps)
    if process.kind == "flow":
        times = np.linspace(1, 1 / n_steps, n_steps)
        times = process.schedule.shift * times / (1 + (process.schedule.shift - 1) * times)
        return [Level(t, 1 - t, t) for t in (*times.tolist(), 0.0)]
    if name in BY_SIGMA:
        return _sigma_levels(name, process, n_steps)
    schedule, alphas = process.schedule, alphas_cumprod(process.schedule)
    if name == "lcm":
        n_originals = _most_steps("lcm", process)
        originals = np.arange(1, n_originals + 1)[::-1] * (schedule.num_train_timesteps // n_originals) - 1
        indices = originals[np.floor(np.linspace(0, len(originals), n_steps, endpoint=False)).astype(int)]
    else:
        indices = _indices(process, n_steps, whole=True).astype(int)
    last = alphas[0] if name == "ddim" and not schedule.set_alpha_to_one else torch.tensor(1.0)
    squares = [*alphas[torch.from_numpy(indices.copy())].double().tolist(), float(last)]
    return [Level(t, a**0.5, (1 - a) ** 0.5) for t, a in zip([*indices.tolist(), 0], squares, strict=True)]


def check_sampler(name: Sampler, process: Process, n_steps: int) -> None:
    """Raises ConfigError as `levels`."""
    if name not in samplers_of(process):
        fitting = ", ".join(samplers_of(process))
        raise ConfigError(f"sampler {name}: does not fit this model; those that do: {fitting}")
    most = _most_steps(name, process)
    if not 1 <= n_steps <= most:
        raise ConfigError(f"steps {n_steps}: {name} takes 1 to {most} with this model")
    if name == "euler_ancestral" and process.prediction == "sample":
        raise ConfigError("sampler euler_ancestral: does not fit a network that predicts the picture; use ddim")


def _most_steps(name: Sampler, process: Process) -> int:
    """With more steps two of them would be at the same noise, or above that of the training."""
    schedule = process.schedule
    if process.kind == "flow":
        return 1000
    if name == "lcm":
        return min(schedule.original_inference_steps, schedule.num_train_timesteps)
    offset = schedule.steps_offset if schedule.timestep_spacing == "leading" else 0
    return schedule.num_train_timesteps - offset - (name == "dpmpp_2m")


def begin(name: Sampler, process: Process, noise: Tensor, n_steps: int) -> Tensor:
    """What the first step gets for a picture from nothing. noise: (B, …), standard normal"""
    first = levels(name, process, n_steps)[0]
    is_scaled = name in ("euler", "euler_ancestral") and process.schedule.timestep_spacing != "leading"
    return noise * first.spread if is_scaled else noise


def sample(
    name: Sampler, process: Process, predict: Predict, x: Tensor, n_steps: int, noise: Callable[[], Tensor],
    first: int = 0, between: Between | None = None,
) -> Iterator[Step]:  # fmt: skip
    """The steps from x to a picture, one after another.

    predict: the network, with its guidance; x: from `begin`, or `levels(...)[first].mix(x0, noise)` to go on from there
    noise: draws standard normal noise of x's shape; called only by samplers that add noise
    first: how many steps are left out, as when a picture is changed and not made from nothing
    between: changes x after each step but the last
    Raises ConfigError as `levels`.
    """
    ladder = levels(name, process, n_steps)
    before: tuple[Level, Tensor] | None = None
    for index in range(first, n_steps):
        here, after = ladder[index], ladder[index + 1]
        output = predict(x, torch.full((len(x),), here.t, device=x.device)).to(x.dtype)
        x0, eps = process.split(output, x, *(torch.tensor([value], dtype=torch.float64) for value in here[1:]))
        x0 = _clipped(name, process, x0)
        is_last = index == n_steps - 1
        if name == "ddpm":
            x = _ddpm(process, x, x0, here, after, None if is_last else noise())
        elif name == "euler_ancestral":
            x = _ancestral(x0, eps, here, after, None if is_last else noise())
        elif name == "dpmpp_2m":
            x, before = _dpmpp_2m(x, x0, here, after, before), (here, x0)
        elif name == "lcm":
            x0 = _consistent(process, x, x0, here)
            x = x0 if is_last else after.mix(x0, noise())
        elif name == "flow_ancestral":
            x = after.mix(x0, eps if is_last else (1 - FRESH**2) ** 0.5 * eps + FRESH * noise())
        else:
            x = _ddim_end(name, process, here, after, n_steps).mix(x0, eps)
        if between is not None and not is_last:
            x = between(x, after)
        yield Step(index + 1, n_steps, x, x0, after)


def _clipped(name: Sampler, process: Process, x0: Tensor) -> Tensor:
    schedule = process.schedule
    clips = name != "lcm" if schedule.clip_sample is None else schedule.clip_sample
    if not clips or process.kind == "flow" or name in BY_SIGMA:
        return x0
    return x0.clamp(-schedule.clip_sample_range, schedule.clip_sample_range)


def _ddim_end(name: Sampler, process: Process, here: Level, after: Level, n_steps: int) -> Level:
    """Where a step ends. DDIM counts back from where it is, which rounding can make another index than the next one."""
    if name != "ddim":
        return after
    n = process.schedule.num_train_timesteps
    index = int(here.t) - n // n_steps
    alphas = alphas_cumprod(process.schedule)
    last = torch.tensor(1.0) if process.schedule.set_alpha_to_one else alphas[0]
    square = float(alphas[index] if index >= 0 else last)
    return Level(max(index, 0), square**0.5, (1 - square) ** 0.5)


def _ddpm(process: Process, x: Tensor, x0: Tensor, here: Level, after: Level, noise: Tensor | None) -> Tensor:
    """A draw from the posterior. Source: Ho et al. 2020, equations 6 and 7."""
    alpha = here.signal**2 / after.signal**2
    beta, spread, spread_after = 1 - alpha, here.spread**2, after.spread**2
    mean = after.signal * beta / spread * x0 + alpha**0.5 * spread_after / spread * x
    variance = beta if process.schedule.variance_type == "fixed_large" else max(spread_after / spread * beta, 1e-20)
    return mean if noise is None else mean + variance**0.5 * noise


def _ancestral(x0: Tensor, eps: Tensor, here: Level, after: Level, noise: Tensor | None) -> Tensor:
    """A step of Euler to less noise than is next, and noise up to there."""
    if noise is None:
        return after.mix(x0, eps)
    share = after.sigma**2 / here.sigma**2
    up = (share * (here.sigma**2 - after.sigma**2)) ** 0.5
    down = (after.sigma**2 - up**2) ** 0.5
    return after.signal * (x0 + down * eps + up * noise)


def _dpmpp_2m(x: Tensor, x0: Tensor, here: Level, after: Level, before: tuple[Level, Tensor] | None) -> Tensor:
    """Source: Lu et al. 2022 (arXiv:2211.01095), algorithm 2. The first step, and a last one to no noise, are of first
    order."""
    if not after.spread:
        return after.signal * x0
    h = math.log(here.sigma) - math.log(after.sigma)
    if before is not None:
        r = (math.log(before[0].sigma) - math.log(here.sigma)) / h
        x0 = x0 + (x0 - before[1]) / (2 * r)
    return after.spread / here.spread * x - after.signal * math.expm1(-h) * x0


def _consistent(process: Process, x: Tensor, x0: Tensor, here: Level) -> Tensor:
    """What a consistency model returns. Source: Luo et al. 2023 (arXiv:2310.04378), its boundary condition."""
    if process.kind == "flow":
        return x0
    scaled, data = here.t * process.schedule.timestep_scaling, 0.5
    return scaled / (scaled**2 + data**2) ** 0.5 * x0 + data**2 / (scaled**2 + data**2) * x


def _indices(process: Process, n_steps: int, whole: bool) -> NDArray[np.float64]:
    """The indices of the steps, falling. whole: "linspace" is rounded"""
    n, offset = process.schedule.num_train_timesteps, process.schedule.steps_offset
    if process.schedule.timestep_spacing == "leading":
        return np.asarray(np.arange(n_steps)[::-1] * float(n // n_steps) + offset, np.float64)
    if process.schedule.timestep_spacing == "trailing":
        return _trailing(n, n_steps)
    found = np.linspace(0, n - 1, n_steps)[::-1]
    return found.round() if whole else found.astype(np.float32).astype(np.float64)


def _sigma_levels(name: Sampler, process: Process, n_steps: int) -> list[Level]:
    alphas = alphas_cumprod(process.schedule).numpy().copy()
    if process.schedule.rescale_betas_zero_snr:
        alphas[-1] = NEARLY_ZERO
    known = ((1 - alphas) / alphas) ** 0.5
    times = _solver_indices(process, n_steps) if name == "dpmpp_2m" else _indices(process, n_steps, whole=False)
    sigmas = np.interp(times, np.arange(len(known)), known)
    if process.schedule.use_karras_sigmas and name != "euler_ancestral":
        ends = (known[-1], known[0]) if name == "dpmpp_2m" else (sigmas[0], sigmas[-1])
        high, low = (float(end) ** (1 / 7) for end in ends)
        sigmas = (high + np.linspace(0, 1, n_steps) * (low - high)) ** 7
        times = np.interp(np.log(sigmas), np.log(known), np.arange(len(known)))
        if name == "dpmpp_2m":
            times = np.floor(times) if process.schedule.beta_schedule == "squaredcos_cap_v2" else times.round()
    pairs = zip([*times.tolist(), 0.0], [*sigmas.astype(np.float32).tolist(), 0.0], strict=True)
    return [Level(t, 1 / (s**2 + 1) ** 0.5, s / (s**2 + 1) ** 0.5) for t, s in pairs]


def _solver_indices(process: Process, n_steps: int) -> NDArray[np.float64]:
    """As `_indices`, for DPM-Solver, which divides the way into one more part and leaves out its end."""
    n, offset = process.schedule.num_train_timesteps, process.schedule.steps_offset
    if process.schedule.timestep_spacing == "leading":
        return np.asarray((np.arange(n_steps + 1)[::-1] * float(n // (n_steps + 1)))[:-1] + offset, np.float64)
    if process.schedule.timestep_spacing == "trailing":
        return _trailing(n, n_steps)
    return np.linspace(0, n - 1, n_steps + 1).round()[::-1][:-1]


def _trailing(n: int, n_steps: int) -> NDArray[np.float64]:
    """Indices from the last one down. Rounding can make one more than there are steps."""
    return np.asarray(np.arange(n, 0, -n / n_steps).round()[:n_steps] - 1, np.float64)
