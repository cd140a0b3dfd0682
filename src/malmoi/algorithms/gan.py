"""A GAN: what drew sharply before diffusion, and drew only some of what there is.

Both networks take their step at once, in one loss: each is held still in the other's part of it. Sources: Goodfellow et
al. 2014 (arXiv:1406.2661, the loss that does not saturate), Radford et al. 2015 (Adam with beta1 = 0.5,
arXiv:1511.06434).
"""

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from malmoi.config import Seed, Settings
from malmoi.data.pictures import TRAIN, PixelBatch, pixel_batches, read_pictures
from malmoi.data.stream import Shuffled
from malmoi.errors import ConfigError
from malmoi.image.gan import Gan, GanShape
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.train.optim import OptimConfig
from malmoi.unused import OF_OPTIM


class Config(Settings):
    """Settings of a GAN."""

    model: GanShape = GanShape()
    """Both networks."""
    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(64, gt=0)
    """Pictures in one step, over all ranks."""
    micro_batch_size: int = Field(64, gt=0)
    """Pictures in one forward pass."""
    seed: Seed = 1
    """Of the weights, the order of the pictures and the noise."""
    loop: LoopConfig = LoopConfig(optim=OptimConfig(lr=2e-4, beta1=0.5, beta2=0.999, decay="constant"))
    """Optimizer, checkpoints, compilation."""


class Inputs(Settings):
    """What a GAN reads."""

    pictures: Path = Path()
    """Folder of pictures."""


UNUSED = OF_OPTIM


def loss(model: Gan, batch: PixelBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """The critic's cross-entropy in nats, and the generator's, summed over pictures."""
    drawn = model.generator(torch.randn(len(batch.x), model.n_code).to(batch.x.device))
    on_real, on_drawn = model.critic(batch.x), model.critic(drawn.detach())
    of_critic = F.softplus(-on_real).sum() + F.softplus(on_drawn).sum()
    still = {name: weight.detach() for name, weight in model.critic.named_parameters()}
    of_generator = F.softplus(-functional_call(model.critic, still, (drawn,))).sum()
    told = ((on_real > 0).float().sum() + (on_drawn < 0).float().sum()) / 2
    return of_critic + of_generator, {"critic": of_critic.detach(), "told_apart": told.detach()}


def build(config: Config, inputs: Inputs) -> Job:
    """Both networks from nothing, and shuffled pictures. Raises ConfigError for a side not divided by eight."""
    pictures = read_pictures(inputs.pictures, TRAIN)
    torch.manual_seed(config.seed)
    try:
        model = Gan(config.model, pictures.size[0])
    except ValueError as error:
        raise ConfigError(str(error)) from None
    collate = pixel_batches(pictures, config.micro_batch_size)
    return Job(model, Shuffled(len(pictures), config.batch_size, config.seed, collate), loss, config.n_steps)
