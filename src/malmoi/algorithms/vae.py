"""A plain variational autoencoder: what pictures were drawn with before diffusion, and why they were blurred.

Many pictures fit a code that is drawn at random; the squared error asks for their mean. Source: Kingma and Welling 2013
(arXiv:1312.6114).
"""

from functools import partial
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from malmoi.config import Seed, Settings
from malmoi.data.pictures import TRAIN, PixelBatch, pixel_batches, read_pictures
from malmoi.data.stream import Shuffled
from malmoi.errors import ConfigError
from malmoi.image.plain_vae import PlainVae, PlainVaeShape
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.unused import OF_OPTIM


class Config(Settings):
    """Settings of a plain VAE."""

    model: PlainVaeShape = PlainVaeShape()
    """The network."""
    spread: float = Field(0.1, gt=0)
    """Standard deviation of a pixel (-1 to 1) around what is drawn: a smaller one asks for more of the code."""
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


class Inputs(Settings):
    """What a plain VAE reads."""

    pictures: Path = Path()
    """Folder of pictures."""


UNUSED = OF_OPTIM


def loss(model: PlainVae, batch: PixelBatch, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative evidence lower bound in nats, without what does not depend on the weights, summed over pictures."""
    noise = torch.randn(len(batch.x), model.n_code).to(batch.x.device)
    drawn, kl = model(batch.x, noise)
    error = ((drawn - batch.x) ** 2).sum((1, 2, 3))
    total = error / (2 * config.spread**2) + kl
    return total.sum(), {"kl": kl.sum().detach(), "error": error.sum().detach()}


def build(config: Config, inputs: Inputs) -> Job:
    """The network from nothing, and shuffled pictures. Raises ConfigError for a side that does not divide by eight."""
    pictures = read_pictures(inputs.pictures, TRAIN)
    torch.manual_seed(config.seed)
    try:
        model = PlainVae(config.model, pictures.size[0])
    except ValueError as error:
        raise ConfigError(str(error)) from None
    collate = pixel_batches(pictures, config.micro_batch_size)
    steps = Shuffled(len(pictures), config.batch_size, config.seed, collate)
    return Job(model, steps, partial(loss, config=config), config.n_steps)
