"""Stable Diffusion's autoencoder, small: pixels to a picture of latents, on which a denoiser could work, and back.

The divergence counts next to nothing, so that it draws nothing by itself but forgets little. Source: Rombach et al.
2022 (arXiv:2112.10752), without its perceptual and adversarial losses: no network that others trained is used.
"""

from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from malmoi.data.pictures import PixelBatch
from malmoi.image.autoencoder import Autoencoder, AutoencoderConfig
from malmoi.train.job import Job
from malmoi.train.pixels import PixelConfig, PixelInputs, pixel_job
from malmoi.unused import OF_PICTURES


class Config(PixelConfig):
    """Settings of an autoencoder."""

    channels: tuple[int, ...] = Field((16, 32, 64), min_length=1, max_length=6)
    """Channels at each size, multiples of eight; the side is halved between two. Those at full size take the most
    time."""
    n_latent: int = Field(4, gt=0)
    """Channels of the latents."""
    kl_weight: float = Field(1e-7, ge=0)
    """What the divergence of the latents from standard noise counts, in nats, next to the squared error of a pixel."""
    batch_size: int = Field(8, gt=0)
    """Pictures in one step, over all ranks. A short training needs many steps more than it needs exact ones."""


Inputs = PixelInputs
UNUSED = OF_PICTURES


def loss(model: Autoencoder, batch: PixelBatch, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error, a mean over each picture, and the weighted divergence, summed over pictures."""
    mean, log_variance = model.quant_conv(model.encoder(batch.x)).float().chunk(2, 1)
    log_variance = log_variance.clamp(-30, 20)
    latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    error = ((model.decoder(model.post_quant_conv(latents)) - batch.x) ** 2).mean((1, 2, 3))
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum((1, 2, 3))
    return (error + config.kl_weight * kl).sum(), {"error": error.sum().detach(), "kl": kl.sum().detach()}


def build(config: Config, inputs: Inputs) -> Job:
    """The network from nothing, and shuffled pictures. Raises ConfigError for sizes that do not fit."""
    return pixel_job(config, inputs, partial(network, config), partial(loss, config=config))


def network(config: Config, side: int) -> Autoencoder:
    """For pictures of this side. Raises ValueError for sizes that do not fit."""
    factor = 2 ** (len(config.channels) - 1)
    if side % factor or any(width % 8 or width < 8 for width in config.channels):
        raise ValueError(
            f"autoencoder.channels: {config.channels}: must be multiples of 8, and {side} pixels must divide by "
            f"{factor}"
        )
    return Autoencoder(
        AutoencoderConfig(
            sample_size=side, block_out_channels=config.channels, layers_per_block=1,
            latent_channels=config.n_latent, norm_num_groups=8, scaling_factor=1.0,
        )
    )  # fmt: skip
