"""A plain variational autoencoder: what pictures were drawn with before diffusion, and why they were blurred.

Many pictures fit a code that is drawn at random; the squared error asks for their mean. Source: Kingma and Welling 2013
(arXiv:1312.6114).
"""

from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from malmoi.data.pictures import PixelBatch
from malmoi.image.plain_vae import PlainVae, PlainVaeShape
from malmoi.train.job import Job
from malmoi.train.pixels import PixelConfig, PixelInputs, pixel_job
from malmoi.unused import OF_PLAIN_PICTURES


class Config(PixelConfig):
    """Settings of a plain VAE."""

    model: PlainVaeShape = PlainVaeShape()
    """The network."""
    spread: float = Field(0.1, gt=0)
    """Standard deviation of a pixel (-1 to 1) around what is drawn: a smaller one asks for more of the code."""


Inputs = PixelInputs
UNUSED = OF_PLAIN_PICTURES


def loss(model: PlainVae, batch: PixelBatch, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Negative evidence lower bound in nats, without what does not depend on the weights, summed over pictures."""
    noise = torch.randn(len(batch.x), model.n_code).to(batch.x.device)
    drawn, kl = model(batch.x, noise)
    error = ((drawn - batch.x) ** 2).sum((1, 2, 3))
    total = error / (2 * config.spread**2) + kl
    return total.sum(), {"kl": kl.sum().detach(), "error": error.sum().detach()}


def build(config: Config, inputs: Inputs) -> Job:
    """The network from nothing, and shuffled pictures. Raises ConfigError for a side that does not divide by eight."""
    return pixel_job(config, inputs, partial(PlainVae, config.model), partial(loss, config=config))
