"""Pixels to latents and back: Stable Diffusion's KL autoencoder. Modules are named as in diffusers.

Source: Kingma and Welling 2013 (arXiv:1312.6114); Rombach et al. 2022 (arXiv:2112.10752).
"""

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from malmoi.config import Settings
from malmoi.image.blocks import Downsample, PictureAttention, ResnetBlock, Upsample

EPS = 1e-6


class AutoencoderConfig(Settings):
    """`vae/config.json`, under diffusers' names. The defaults are Stable Diffusion 1.x."""

    sample_size: int = Field(512, ge=1)
    in_channels: int = Field(3, ge=1)
    out_channels: int = Field(3, ge=1)
    block_out_channels: tuple[int, ...] = Field((128, 256, 512, 512), max_length=16)
    layers_per_block: int = Field(2, ge=1, le=64)
    latent_channels: int = Field(4, ge=1)
    norm_num_groups: int = Field(32, ge=1)
    scaling_factor: float = Field(0.18215, gt=0)
    """Latents are multiplied by it, so that they vary about as much as noise does."""

    @property
    def factor(self) -> int:
        """Pixels of a latent's side."""
        return 2 ** (len(self.block_out_channels) - 1)

    @model_validator(mode="after")
    def _fits(self) -> "AutoencoderConfig":
        bad = [width for width in self.block_out_channels if width < 1 or width % self.norm_num_groups]
        if bad or not self.block_out_channels:
            raise ValueError("block_out_channels must be multiples of norm_num_groups")
        return self


class Block(nn.Module):
    """Some resnets, then a change of size if there is one."""

    def __init__(self, config: AutoencoderConfig, n_in: int, n_out: int, n_layers: int) -> None:
        super().__init__()
        widths = [(n_in if layer == 0 else n_out, n_out) for layer in range(n_layers)]
        self.resnets = nn.ModuleList(ResnetBlock(*width, None, config.norm_num_groups, EPS) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        for resnet in self.resnets:
            x = resnet(x)
        for change in (*getattr(self, "downsamplers", ()), *getattr(self, "upsamplers", ())):
            x = change(x)
        return x


class MidBlock(nn.Module):
    """A resnet, attention of all places to all, a resnet; sizes stay."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        width, groups = config.block_out_channels[-1], config.norm_num_groups
        self.resnets = nn.ModuleList(ResnetBlock(width, width, None, groups, EPS) for _ in range(2))
        self.attentions = nn.ModuleList([PictureAttention(width, groups, EPS)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Encoder(nn.Module):
    """Pixels (B, 3, H, W) -> means and log variances (B, 2 · latent_channels, H / factor, W / factor)."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        for index, width in enumerate(widths):
            block = Block(config, widths[max(index - 1, 0)], width, config.layers_per_block)
            if index < len(widths) - 1:
                block.downsamplers = nn.ModuleList([Downsample(width, asymmetric=True)])
            self.down_blocks.append(block)
        self.mid_block = MidBlock(config)
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    """Latents (B, latent_channels, h, w) -> pixels (B, 3, h · factor, w · factor)."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = config.block_out_channels[::-1]
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.mid_block = MidBlock(config)
        self.up_blocks = nn.ModuleList()
        for index, width in enumerate(widths):
            block = Block(config, widths[max(index - 1, 0)], width, config.layers_per_block + 1)
            if index < len(widths) - 1:
                block.upsamplers = nn.ModuleList([Upsample(width)])
            self.up_blocks.append(block)
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], config.out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class Autoencoder(nn.Module):
    """Both ways. n_channels: of latents; factor: pixels of a latent's side"""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.n_channels, self.factor = config.latent_channels, config.factor
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = nn.Conv2d(2 * config.latent_channels, 2 * config.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.latent_channels, config.latent_channels, 1)

    def encode(self, pixels: Tensor, noise: Tensor | None = None) -> Tensor:
        """Scaled latents (B, C, H / factor, W / factor) of pixels (B, 3, H, W) in -1..1.

        noise: standard normal, of the latents' shape, with which they are drawn; None gives their means
        """
        mean, log_variance = self.quant_conv(self.encoder(pixels)).chunk(2, 1)
        if noise is not None:
            mean = mean + torch.exp(0.5 * log_variance.clamp(-30, 20)) * noise
        return mean * self.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels, about -1..1, of scaled latents."""
        return self.decoder(self.post_quant_conv(latents / self.config.scaling_factor))
