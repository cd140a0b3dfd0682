"""Stable Diffusion's denoiser: a U-Net that looks at the caption's states. Modules are named as in diffusers."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from malmoi.config import Settings
from malmoi.image.blocks import Downsample, PictureTransformer, ResnetBlock, Upsample

DownKind = Literal["CrossAttnDownBlock2D", "DownBlock2D"]
UpKind = Literal["CrossAttnUpBlock2D", "UpBlock2D"]
WITH_TEXT_DOWN: DownKind = "CrossAttnDownBlock2D"
WITH_TEXT_UP: UpKind = "CrossAttnUpBlock2D"


class UNetConfig(Settings):
    """`unet/config.json`, under diffusers' names. The defaults are Stable Diffusion 1.x."""

    sample_size: int = Field(64, ge=1)
    """Height and width of latents that it was trained with."""
    in_channels: int = Field(4, ge=1)
    out_channels: int = Field(4, ge=1)
    down_block_types: tuple[DownKind, ...] = (*(WITH_TEXT_DOWN,) * 3, "DownBlock2D")
    up_block_types: tuple[UpKind, ...] = ("UpBlock2D", *(WITH_TEXT_UP,) * 3)
    block_out_channels: tuple[int, ...] = Field((320, 640, 1280, 1280), max_length=16)
    layers_per_block: int = Field(2, ge=1, le=64)
    cross_attention_dim: int = Field(768, ge=1)
    attention_head_dim: int | tuple[int, ...] = 8
    """How many heads there are, in spite of its name."""
    transformer_layers_per_block: int = Field(1, ge=1, le=64)
    use_linear_projection: bool = False
    norm_num_groups: int = Field(32, ge=1)
    norm_eps: float = Field(1e-5, gt=0)
    flip_sin_to_cos: bool = True
    freq_shift: int = 0

    @property
    def n_heads(self) -> tuple[int, ...]:
        heads = self.attention_head_dim
        return (heads,) * len(self.block_out_channels) if isinstance(heads, int) else heads

    @model_validator(mode="after")
    def _fits(self) -> "UNetConfig":
        n_blocks = {len(self.block_out_channels), len(self.n_heads), len(self.down_block_types)}
        if len(n_blocks | {len(self.up_block_types)}) != 1:
            raise ValueError("block_out_channels, attention_head_dim and the block types must be of one length")
        for width, heads in zip(self.block_out_channels, self.n_heads, strict=True):
            if width < 1 or heads < 1 or width % heads or width % self.norm_num_groups:
                raise ValueError(f"block_out_channels: {width} is no multiple of heads ({heads}) and norm_num_groups")
        return self


class Block(nn.Module):
    """Some resnets, each followed by a transformer if there is attention, then a change of size.

    All blocks take x (B, C, H, W), time (B, n_time), states (B, T, D) and mask (B, T), true where x may look.
    """

    def __init__(
        self, config: UNetConfig, widths: list[tuple[int, int]], n_heads: int | None, n_time: int
    ) -> None:  # fmt: skip
        """widths: channels in and out of each resnet; n_heads: None for no attention"""
        super().__init__()
        groups = config.norm_num_groups
        self.resnets = nn.ModuleList(ResnetBlock(*width, n_time, groups, config.norm_eps) for width in widths)
        if n_heads:
            shape = (n_heads, config.cross_attention_dim, config.transformer_layers_per_block, groups)
            self.attentions = nn.ModuleList(
                PictureTransformer(n_out, *shape, config.use_linear_projection) for _, n_out in widths
            )
        self.has_attention = bool(n_heads)

    def _step(self, index: int, x: Tensor, time: Tensor, states: Tensor, mask: Tensor | None) -> Tensor:
        x = self.resnets[index](x, time)
        return self.attentions[index](x, states, mask) if self.has_attention else x


class DownBlock(Block):
    """On the way down; the last one keeps the size."""

    def __init__(self, config: UNetConfig, index: int, n_time: int) -> None:
        n_out = config.block_out_channels[index]
        n_in = config.block_out_channels[max(index - 1, 0)]
        widths = [(n_in if layer == 0 else n_out, n_out) for layer in range(config.layers_per_block)]
        has_attention = config.down_block_types[index] == "CrossAttnDownBlock2D"
        super().__init__(config, widths, config.n_heads[index] if has_attention else None, n_time)
        if index < len(config.block_out_channels) - 1:
            self.downsamplers = nn.ModuleList([Downsample(n_out)])

    def forward(self, x: Tensor, time: Tensor, states: Tensor, mask: Tensor | None) -> list[Tensor]:
        """What it computes after each step; the last of it goes down."""
        found = []
        for index in range(len(self.resnets)):
            x = self._step(index, x, time, states, mask)
            found.append(x)
        return [*found, self.downsamplers[0](x)] if hasattr(self, "downsamplers") else found


class MidBlock(Block):
    """Between both ways: a resnet, a transformer, a resnet."""

    def __init__(self, config: UNetConfig, n_time: int) -> None:
        width = config.block_out_channels[-1]
        super().__init__(config, [(width, width)], config.n_heads[-1], n_time)
        self.resnets.append(ResnetBlock(width, width, n_time, config.norm_num_groups, config.norm_eps))

    def forward(self, x: Tensor, time: Tensor, states: Tensor, mask: Tensor | None) -> Tensor:
        return self.resnets[1](self._step(0, x, time, states, mask), time)


class UpBlock(Block):
    """On the way up, with the output of the way down at the same size; the last one keeps the size."""

    def __init__(self, config: UNetConfig, index: int, n_time: int) -> None:
        """index: counted from the lowest block"""
        widths = config.block_out_channels[::-1]
        n_out, below, above = widths[index], widths[max(index - 1, 0)], widths[min(index + 1, len(widths) - 1)]
        n_layers = config.layers_per_block + 1
        taken = [
            (below if layer == 0 else n_out) + (above if layer == n_layers - 1 else n_out) for layer in range(n_layers)
        ]
        has_attention = config.up_block_types[index] == "CrossAttnUpBlock2D"
        heads = config.n_heads[::-1][index] if has_attention else None
        super().__init__(config, [(width, n_out) for width in taken], heads, n_time)
        if index < len(widths) - 1:
            self.upsamplers = nn.ModuleList([Upsample(n_out)])

    def forward(self, x: Tensor, skips: list[Tensor], time: Tensor, states: Tensor, mask: Tensor | None) -> Tensor:
        """skips: what went down; the last of it is used first, and removed"""
        for index in range(len(self.resnets)):
            x = self._step(index, torch.cat([x, skips.pop()], 1), time, states, mask)
        return self.upsamplers[0](x, skips[-1].shape[-2:]) if hasattr(self, "upsamplers") else x


class TimeEmbedding(nn.Module):
    """Waves of a time (B, n_in) -> (B, n_out)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(n_in, n_out), nn.Linear(n_out, n_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class UNet(nn.Module):
    """x (B, C, H, W), t (B,), states (B, T, D) -> what the process predicts, of x's shape."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.block_out_channels
        n_time = 4 * widths[0]
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], n_time)
        self.down_blocks = nn.ModuleList(DownBlock(config, index, n_time) for index in range(len(widths)))
        self.mid_block = MidBlock(config, n_time)
        self.up_blocks = nn.ModuleList(UpBlock(config, index, n_time) for index in range(len(widths)))
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[0], config.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], config.out_channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        time = self.time_embedding(self.waves(t).to(x.dtype))
        x = self.conv_in(x)
        skips = [x]
        for down in self.down_blocks:
            skips += down(skips[-1], time, states, mask)
        x = self.mid_block(skips[-1], time, states, mask)
        for up in self.up_blocks:
            x = up(x, skips, time, states, mask)
        return self.conv_out(F.silu(self.conv_norm_out(x)))

    def waves(self, t: Tensor) -> Tensor:
        """Sines and cosines of t, (B, block_out_channels[0]). Source: Vaswani et al. 2017 (arXiv:1706.03762)."""
        width = self.config.block_out_channels[0]
        half = width // 2
        exponents = -math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device)
        angles = t.float()[:, None] * torch.exp(exponents / (half - self.config.freq_shift))[None]
        waves = [angles.cos(), angles.sin()] if self.config.flip_sin_to_cos else [angles.sin(), angles.cos()]
        return F.pad(torch.cat(waves, 1), (0, width % 2))
