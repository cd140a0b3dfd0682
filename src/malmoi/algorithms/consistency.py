"""A picture in few steps: a network learns to see, from any point of a way to a picture, the picture at its end.

The ways are those of a denoiser that is there already, its guidance included; the network begins with its weights. Two
neighbouring points of a way have the same end, so what it sees from the noisier one is to equal what it sees from the
other. Sources: Song et al. 2023 (consistency distillation, arXiv:2303.01469), Luo et al. 2023 (guidance, arXiv:
2310.04378), Song and Dhariwal 2023 (the pseudo-Huber loss, arXiv:2310.14189).
"""

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from malmoi.config import Seed, Settings
from malmoi.data.pictures import TRAIN, Pictures, chosen_captions, read_pictures, to_signed
from malmoi.data.stream import Collate, Shuffled
from malmoi.errors import ConfigError
from malmoi.formats.own_pictures import load_own
from malmoi.image.dit import Denoiser
from malmoi.image.model import Context, PictureModel, guided
from malmoi.image.samplers import levels
from malmoi.image.schedule import Process
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.unused import OF_PICTURES


class Config(Settings):
    """Settings of a model of few steps."""

    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(64, gt=0)
    """Pictures in one step, over all ranks."""
    micro_batch_size: int = Field(64, gt=0)
    """Pictures in one forward pass."""
    guidance: float = Field(2.0, ge=1)
    """Strength of the guidance that is learned with the rest; the model is drawn with none."""
    n_levels: int = Field(16, ge=4)
    """Points of a way, from noise to the picture: as many steps as the denoiser would take. Few are learned sooner."""
    average_decay: float = Field(0.95, ge=0, lt=1)
    """The other point's picture is seen by, and saved are, weights that are an exponential moving average."""
    huber: float = Field(0.03, gt=0)
    """The loss's width: errors above it, of pixels in -1 to 1, count by their size and no longer by their square."""
    seed: Seed = 1
    """Of the order of the pictures, their captions, times and noise."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""


class Inputs(Settings):
    """What a model of few steps reads."""

    pictures: Path = Path()
    """Folder of pictures with captions."""
    model: Path = Path()
    """Folder of the picture model whose ways are learned."""


UNUSED = OF_PICTURES


@dataclass(frozen=True)
class Captioned:
    """x0: (B, 3, H, W), pixels in -1..1; states, mask: (B, T, D) and (B, T), what the model knows of the captions"""

    x0: Tensor
    states: Tensor
    mask: Tensor

    @property
    def count(self) -> int:
        return len(self.x0)

    def to(self, device: torch.device) -> "Captioned":
        return Captioned(self.x0.to(device), self.states.to(device), self.mask.to(device))


def loss(
    model: Denoiser, batch: Captioned, teacher: PictureModel, target: Denoiser, nothing: Context, config: Config
) -> tuple[Tensor, dict[str, Tensor]]:
    """Pseudo-Huber distance between the pictures seen from both points, summed over pictures."""
    process, n, times = teacher.process, len(batch.x0), points(teacher.process, config.n_levels).to(batch.x0.device)
    noise, level = torch.randn_like(batch.x0), torch.randint(1, config.n_levels + 1, (n,), device=batch.x0.device)
    t, s = times[level], times[level - 1]
    x_t = process.add_noise(batch.x0, noise, t)
    with torch.no_grad():
        context = Context(batch.states, batch.mask)
        predict = guided(teacher, context, nothing.repeat(n), config.guidance)
        x0, eps = process.split(predict(x_t, t), x_t, *process.level(t))
        x_s = process.add_noise(x0, eps, s)
        # At the end of the way there is nothing left to see.
        wanted = torch.where((level == 1)[:, None, None, None], x_s, seen(target, process, x_s, s, context))
    error = ((seen(model, process, x_t, t, context) - wanted) ** 2).mean((1, 2, 3))
    distance = (error + config.huber**2).sqrt() - config.huber
    return distance.sum(), {"error": error.sum().detach()}


def points(process: Process, n_levels: int) -> Tensor:
    """The times of a way, (n_levels + 1,) from 0, the picture, to 1: where the denoiser steps when it draws."""
    return torch.tensor([level.t for level in reversed(levels("flow_euler", process, n_levels))])


def seen(network: Denoiser, process: Process, x: Tensor, t: Tensor, context: Context) -> Tensor:
    """The picture that the network sees from x, float32 (B, 3, H, W)."""
    return process.to_x0(network(x, t, context.states, context.mask).float(), x, t)


def build(config: Config, inputs: Inputs) -> Job:
    """The denoiser's network twice more, and shuffled pictures. Raises ConfigError for a denoiser without flow."""
    pictures, teacher = read_pictures(inputs.pictures, TRAIN), load_own(inputs.model, torch.float32)
    check(teacher)
    torch.manual_seed(config.seed)
    model = copy.deepcopy(teacher.denoiser).requires_grad_(True).train()
    averaged = copy.deepcopy(teacher.denoiser)
    assert isinstance(model, Denoiser) and isinstance(averaged, Denoiser)
    steps = Shuffled(len(pictures), config.batch_size, config.seed, _collate(pictures, teacher, config))
    job_loss = partial(loss, teacher=teacher, target=averaged, nothing=teacher.embed([""]), config=config)
    return Job(model, steps, job_loss, config.n_steps, averaged=averaged, average_decay=config.average_decay)


def check(teacher: PictureModel) -> None:
    """Raises ConfigError if it is no flow, or needs few steps already."""
    if teacher.process.kind != "flow":
        raise ConfigError('consistency: learns only from flows; set denoiser.process to "flow" or "flow-v"')
    if teacher.few_steps:
        raise ConfigError("consistency: the model that it is to learn from needs few steps already; name a denoiser")


def _collate(pictures: Pictures, teacher: PictureModel, config: Config) -> Collate:
    def collate(epoch: int, chosen: np.ndarray) -> list[Captioned]:
        rows = [pictures.rows[i] for i in chosen]
        context = teacher.embed(list(chosen_captions(rows, [config.seed, epoch, int(chosen[0])])))
        x0 = to_signed(pictures.pixels[torch.from_numpy(chosen)])
        assert context.mask is not None
        parts = torch.split(torch.arange(len(chosen)), config.micro_batch_size)
        return [Captioned(x0[part], context.states[part], context.mask[part]) for part in parts]

    return collate
