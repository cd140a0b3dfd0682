"""A GAN: what drew sharply before diffusion, and drew only some of what there is.

Both networks take their step at once, in one loss: each is held still in the other's part of it. The critic's slope at
real pictures is penalised: without that the two run in circles, or the generator draws one flat picture. Sources:
Goodfellow et al. 2014 (arXiv:1406.2661, the loss that does not saturate), Mescheder et al. 2018 (arXiv:1801.04406: the
penalty R1, and an average of the generator's weights).
"""

import copy
from functools import partial

import torch
from pydantic import Field
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from malmoi.data.pictures import PixelBatch
from malmoi.image.gan import Gan, GanShape
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.train.optim import OptimConfig
from malmoi.train.pixels import PixelConfig, PixelInputs, pixel_job
from malmoi.unused import OF_PLAIN_PICTURES

ONE_IN = 8
"""The slope is taken at one of so many pictures, and counts as much more: it takes as long as a whole step."""


class Config(PixelConfig):
    """Settings of a GAN."""

    model: GanShape = GanShape()
    """Both networks."""
    gamma: float = Field(1.0, ge=0)
    """Half of it times the squared slope of the critic, by pixels from -1 to 1, is added to the critic's loss."""
    average_decay: float = Field(0.99, ge=0, lt=1)
    """What draws in the end is an exponential moving average of the generator; a longer one mixes the colours that the
    generator draws one after the other."""
    loop: LoopConfig = LoopConfig(
        optim=OptimConfig(lr=1e-3, beta1=0.0, beta2=0.99, decay="constant", max_grad_norm=1e6)
    )  # fmt: skip
    """Optimizer, checkpoints, compilation. Gradients are hardly clipped: one norm over both networks would let the
    critic's slow the generator down."""


Inputs = PixelInputs
UNUSED = OF_PLAIN_PICTURES


def loss(model: Gan, batch: PixelBatch, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """The critic's cross-entropy in nats with its penalty, and the generator's, summed over pictures."""
    drawn = model.generator(torch.randn(len(batch.x), model.n_code).to(batch.x.device))
    on_real, on_drawn = model.critic(batch.x), model.critic(drawn.detach())
    of_critic = F.softplus(-on_real).sum() + F.softplus(on_drawn).sum()
    still = {name: weight.detach() for name, weight in model.critic.named_parameters()}
    of_generator = F.softplus(-functional_call(model.critic, still, (drawn,))).sum()
    slope = steepness(model, batch.x[: -(-len(batch.x) // ONE_IN)]) * len(batch.x)
    told = ((on_real > 0).float().sum() + (on_drawn < 0).float().sum()) / 2
    total = of_critic + config.gamma / 2 * slope + of_generator
    return total, {"critic": of_critic.detach(), "slope": slope.detach(), "told_apart": told.detach()}


def steepness(model: Gan, x: Tensor) -> Tensor:
    """Squared gradient of the critic at pictures (B, 3, H, W), a mean over them."""
    x = x.detach().requires_grad_()
    with torch.autocast(x.device.type, enabled=False):  # of rounded products the slope is mostly noise
        (slope,) = torch.autograd.grad(model.critic(x).sum(), x, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()


def build(config: Config, inputs: Inputs) -> Job:
    """Both networks from nothing, and shuffled pictures. Raises ConfigError for a side not divided by eight."""
    job = pixel_job(config, inputs, partial(Gan, config.model), partial(loss, config=config))
    job.averaged, job.average_decay = copy.deepcopy(job.model).requires_grad_(False), config.average_decay
    return job
