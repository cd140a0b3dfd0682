"""What training on pictures without their captions shares: its settings, and the job."""

from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import Field
from torch import nn

from malmoi.config import Seed, Settings
from malmoi.data.pictures import TRAIN, pixel_batches, read_pictures
from malmoi.data.stream import Shuffled
from malmoi.errors import ConfigError
from malmoi.train.job import Job, Loss
from malmoi.train.loop import LoopConfig


class PixelConfig(Settings):
    """Settings of a network that learns pictures without captions."""

    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(64, gt=0)
    """Pictures in one step, over all ranks."""
    micro_batch_size: int = Field(64, gt=0)
    """Pictures in one forward pass."""
    seed: Seed = 1
    """Of the weights, the order of the pictures and the noise."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""


class PixelInputs(Settings):
    """What it reads."""

    pictures: Path = Path()
    """Folder of pictures."""


def pixel_job(config: PixelConfig, inputs: PixelInputs, make: Callable[[int], nn.Module], loss: Loss) -> Job:
    """A network from nothing, and shuffled pictures.

    make: side of the pictures -> the network; its ValueError becomes a ConfigError
    """
    pictures = read_pictures(inputs.pictures, TRAIN)
    torch.manual_seed(config.seed)
    try:
        model = make(pictures.size[0])
    except ValueError as error:
        raise ConfigError(str(error)) from None
    collate = pixel_batches(pictures, config.micro_batch_size)
    return Job(model, Shuffled(len(pictures), config.batch_size, config.seed, collate), loss, config.n_steps)
