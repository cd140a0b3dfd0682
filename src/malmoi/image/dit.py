"""A diffusion transformer: patches of a noisy picture attend to each other and to the states of a caption.

Source: Peebles & Xie 2023 (arXiv:2212.09748), with the cross-attention of PixArt-α (arXiv:2310.00426) for the caption,
and layers of its own that read the caption before the picture does (as in Lumina-Next, arXiv:2406.18583). The
caption's pooled states move the modulation, too: of the picture's places, and of what they ask the caption for, since
"left of" changes which words are about the left half. Positions begin stronger than what is read of the noise: with
weak ones a small network learns which colours there are long before it learns where they are. Layers that read the
caption begin as if they were not there: random ones mix its words before anything has been learned of their order.

Edges are local. Few large patches are ragged at theirs, and many small ones cost more than two cores have. So
convolutions around the transformer, at half of the picture's side, do what is local, as in Hoogeboom et al. 2023
(simple diffusion, arXiv:2301.11093).
"""

import math
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.config import Settings
from malmoi.image.positions import smooth_places, smooth_positions

N_FREQUENCIES = 64
POSITION_STD, CAPTION_STD = 2.0, 1.0
"""Strength of the positions at the start: of patches, and of a caption's tokens."""
HALF, GROUPS = 2, 8


class DenoiserShape(Settings):
    """What can be chosen of a diffusion transformer's shape."""

    patch: int = Field(2, gt=0)
    """Side of a patch, which is one token."""
    n_embd: int = Field(128, gt=0)
    """Width."""
    n_layer: int = Field(6, gt=0)
    """Blocks."""
    n_head: int = Field(4, gt=0)
    """Attention heads."""
    n_text_layer: int = Field(2, ge=0)
    """Layers that read the caption's states, over all of its tokens, before the picture attends to them."""
    n_local: int = Field(0, ge=0)
    """Channels of the convolutions around the transformer, at half of the side; 0: none."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd: {self.n_embd} does not divide by n_head ({self.n_head})")
        if self.n_local and (self.patch % HALF or self.n_local % GROUPS):
            raise ValueError(f"n_local: needs a patch that divides by {HALF}, and divides by {GROUPS} itself")
        return self


class DenoiserConfig(DenoiserShape):
    """A diffusion transformer, with what follows from its data."""

    n_channels: int = Field(4, gt=0)
    """Channels of what is denoised: of latents, or 3 for pixels."""
    size: int = Field(8, gt=0)
    """Side of what is denoised, in latents or pixels."""
    n_context: int = Field(128, gt=0)
    """Width of the caption's states."""
    n_caption: int = Field(0, ge=0)
    """Tokens of a caption at most: each has a position, and time and caption change what the picture asks them for.
    0: neither, as in models made before there was this."""
    n_times: int = Field(1, gt=0)
    """What a time is divided by: 1 for a flow, the number of indices otherwise."""

    @model_validator(mode="after")
    def _patches_fit(self) -> Self:
        if self.size % self.patch:
            raise ValueError(f"patch: {self.size} latents or pixels do not divide by {self.patch}")
        return self

    @property
    def n_tokens(self) -> int:
        return (self.size // self.patch) ** 2


class Denoiser(nn.Module):
    """Predicts what a process asks for from a noisy picture, the time, and a caption."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        width, n_local = config.n_embd, config.n_local
        self.patch = config.patch // HALF if n_local else config.patch
        patched = (n_local or config.n_channels) * self.patch**2
        if n_local:
            self.local_in = nn.Conv2d(config.n_channels * HALF**2, n_local, 3, padding=1)
            self.local_before, self.local_after = (LocalBlock(n_local, width) for _ in range(2))
            self.local_out = nn.Conv2d(n_local, config.n_channels * HALF**2, 3, padding=1)
        self.read = nn.Linear(patched, width)
        self.embed_positions = nn.Parameter(torch.empty(config.n_tokens, width))
        self.time = nn.Sequential(nn.Linear(2 * N_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.text = nn.Linear(config.n_context, width)
        self.text_layers = nn.ModuleList(TextBlock(width, config.n_head) for _ in range(config.n_text_layer))
        self.text_norm = nn.LayerNorm(width)
        if config.n_caption:
            self.embed_positions_caption = nn.Parameter(torch.empty(config.n_caption, width))
        self.layers = nn.ModuleList(Block(width, config.n_head, config.n_caption > 0) for _ in range(config.n_layer))
        self.final = nn.Linear(width, 2 * width)
        self.write = nn.Linear(width, patched)
        self._initialise()

    def _initialise(self) -> None:
        config = self.config
        self.embed_positions.data = POSITION_STD * smooth_places(config.size // config.patch, config.n_embd)
        if config.n_caption:
            self.embed_positions_caption.data = CAPTION_STD * smooth_positions(config.n_caption, config.n_embd)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for block in self.layers:
            assert isinstance(block, Block)
            nn.init.zeros_(block.modulate.weight)
            nn.init.zeros_(block.from_text.out.weight)
            if block.modulate_asking is not None:
                nn.init.zeros_(block.modulate_asking.weight)
        for layer in self.text_layers:
            assert isinstance(layer, TextBlock)
            layer.begin_as_nothing()
        nn.init.zeros_(self.final.weight)
        nn.init.zeros_(self.local_out.weight if config.n_local else self.write.weight)

    def forward(self, x: Tensor, t: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W); t: (B,), 0 to n_times; states: (B, T, n_context); mask: (B, T), True where there is a token.

        Returns (B, C, H, W). T is at most n_caption, unless that is 0.
        """
        context = self.text(states)
        if self.config.n_caption:
            context = context + self.embed_positions_caption[: states.shape[1]]
        attend = None if mask is None else mask[:, None, None, :]
        for text_layer in self.text_layers:
            context = text_layer(context, attend)
        context = self.text_norm(context)
        told = self.time(frequencies(t / self.config.n_times).to(x.dtype)) + _mean(context, mask)
        if not self.config.n_local:
            return self._transform(x, told, context, attend)
        near = self.local_before(self.local_in(F.pixel_unshuffle(x, HALF)), told)
        near = self.local_after(near + self._transform(near, told, context, attend), told)
        return F.pixel_shuffle(self.local_out(F.silu(near)), HALF)

    def _transform(self, x: Tensor, told: Tensor, context: Tensor, attend: Tensor | None) -> Tensor:
        """Patches of x (B, C, H, W) through the blocks, and back."""
        b, p, n = len(x), self.patch, x.shape[-1] // self.patch
        patches = x.reshape(b, -1, n, p, n, p).permute(0, 2, 4, 1, 3, 5).reshape(b, n * n, -1)
        tokens = self.read(patches) + self.embed_positions
        for layer in self.layers:
            tokens = layer(tokens, told, context, attend)
        shift, scale = self.final(F.silu(told))[:, None].chunk(2, dim=-1)
        out = self.write(F.layer_norm(tokens, tokens.shape[-1:]) * (1 + scale) + shift)
        return out.view(b, n, n, -1, p, p).permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


class LocalBlock(nn.Module):
    """Two convolutions with a residual; time and caption scale and shift what is between them."""

    def __init__(self, n_local: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, n_local) for _ in range(2))
        self.first, self.second = (nn.Conv2d(n_local, n_local, 3, padding=1) for _ in range(2))
        self.modulate = nn.Linear(width, 2 * n_local)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        shift, scale = self.modulate(F.silu(told))[:, :, None, None].chunk(2, dim=1)
        seen = self.norms[1](self.first(F.silu(self.norms[0](x)))) * (1 + scale) + shift
        out: Tensor = x + self.second(F.silu(seen))
        return out


class Block(nn.Module):
    """Self-attention, cross-attention to the caption, and an MLP; time and caption scale, shift and gate them.

    asks: whether they scale and shift what the caption is asked for, too
    """

    def __init__(self, width: int, n_head: int, asks: bool) -> None:
        super().__init__()
        self.attention = Attention(width, n_head)
        self.from_text = Attention(width, n_head)
        self.norm = nn.LayerNorm(width)
        self.mlp = mlp(width)
        self.modulate = nn.Linear(width, 6 * width)
        self.modulate_asking = nn.Linear(width, 2 * width) if asks else None

    def forward(self, x: Tensor, told: Tensor, context: Tensor, attend: Tensor | None) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulate(F.silu(told))[:, None].chunk(6, dim=-1)
        seen = F.layer_norm(x, x.shape[-1:]) * (1 + scale_a) + shift_a
        x = x + gate_a * self.attention(seen, seen, None)
        asking = self.norm(x)
        if self.modulate_asking is not None:
            shift, scale = self.modulate_asking(F.silu(told))[:, None].chunk(2, dim=-1)
            asking = asking * (1 + scale) + shift
        x = x + self.from_text(asking, context, attend)
        seen = F.layer_norm(x, x.shape[-1:]) * (1 + scale_m) + shift_m
        return x + gate_m * self.mlp(seen)


class TextBlock(nn.Module):
    """A pre-norm transformer layer over a caption's tokens."""

    def __init__(self, width: int, n_head: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, n_head)
        self.mlp_norm, self.mlp = nn.LayerNorm(width), mlp(width)

    def begin_as_nothing(self) -> None:
        """Set the last weights of both parts to 0, so that the layer returns what it is given."""
        for last in (self.attention.out, self.mlp[-1]):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, attend: Tensor | None) -> Tensor:
        seen = self.norm(x)
        x = x + self.attention(seen, seen, attend)
        return x + self.mlp(self.mlp_norm(x))


class Attention(nn.Module):
    """Multi-head attention from `x` (B, T, D) to `context` (B, S, D). attend: (B, 1, 1, S), True where allowed"""

    def __init__(self, width: int, n_head: int) -> None:
        super().__init__()
        self.n_head = n_head
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, context: Tensor, attend: Tensor | None) -> Tensor:
        b, _, d = x.shape
        q, k, v = (
            made.view(b, -1, self.n_head, d // self.n_head).transpose(1, 2)
            for made in (self.query(x), self.key(context), self.value(context))
        )
        q, k = (F.rms_norm(each, each.shape[-1:]) for each in (q, k))
        return self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=attend).transpose(1, 2).reshape(b, -1, d))


def mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))


def frequencies(t: Tensor) -> Tensor:
    """Sines and cosines of a time from 0 to 1, (B, 2 * N_FREQUENCIES), with periods from 2 π / 1000 to 2 π × 10."""
    rates = torch.exp(-math.log(10_000) * torch.arange(N_FREQUENCIES, device=t.device) / N_FREQUENCIES)
    angles = 1000 * t.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _mean(states: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over a caption's tokens, (B, D)."""
    if mask is None:
        return states.mean(1)
    weight = mask.to(states.dtype)[:, :, None]
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1)
