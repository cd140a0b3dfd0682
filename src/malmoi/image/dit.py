"""A diffusion transformer: patches of a noisy picture attend to each other and to the states of a caption.

Source: Peebles & Xie 2023 (arXiv:2212.09748), with the cross-attention of PixArt-α (arXiv:2310.00426) for the caption.
What a caption says as a whole moves the modulation, and what it says of a place is added to the patch there; both come
from a reader with a task of its own (`image/reader.py`).

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
from malmoi.image.positions import smooth_places
from malmoi.image.reader import Attention, Reader, mean_of_tokens, mlp

N_FREQUENCIES = 64
POSITION_STD = 2.0
"""Strength of the patches' positions at the start: with weak ones a small network learns which colours there are long
before it learns where they are."""
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
    """Layers of the reader, over all tokens of the caption."""
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
    n_context: int = Field(256, gt=0)
    """Numbers that are known of each token: half of them its own, half its state in CLIP's tower."""
    n_caption: int = Field(40, gt=0)
    """Tokens of a caption at most."""
    n_features: int = Field(128, gt=0)
    """What CLIP's picture tower sees at a place, in numbers."""
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
        self.reader = Reader(
            config.n_context // 2, config.n_caption, config.size // config.patch, width,
            config.n_head, config.n_text_layer, config.n_channels, config.n_features,
        )  # fmt: skip
        self.gist, self.say = nn.Linear(config.n_context // 2, width), nn.Linear(width, width)
        self.layers = nn.ModuleList(Block(width, config.n_head) for _ in range(config.n_layer))
        self.final = nn.Linear(width, 2 * width)
        self.write = nn.Linear(width, patched)
        self._initialise()

    def _initialise(self) -> None:
        config = self.config
        self.embed_positions.data = POSITION_STD * smooth_places(config.size // config.patch, config.n_embd)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for block in self.layers:
            assert isinstance(block, Block)
            nn.init.zeros_(block.modulate.weight)
            nn.init.zeros_(block.from_text.out.weight)
            nn.init.zeros_(block.modulate_asking.weight)
        self.reader.initialise()
        nn.init.zeros_(self.gist.weight)
        nn.init.zeros_(self.final.weight)
        nn.init.zeros_(self.local_out.weight if config.n_local else self.write.weight)

    def forward(self, x: Tensor, t: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W); t: (B,), 0 to n_times; states: (B, T, n_context); mask: (B, T), True where there is a token.

        Returns (B, C, H, W). T is at most n_caption. The reader learns by `sketch` alone.
        """
        words, seen = states.chunk(2, dim=-1)
        with torch.no_grad():  # what a noisy picture shows anyway makes a reader forget which word is about what
            caption = self.reader(words, mask)
        whole = caption.whole + self.gist(mean_of_tokens(seen, mask))
        told = self.time(frequencies(t / self.config.n_times).to(x.dtype)) + whole
        places, attend = self.say(caption.places), None if mask is None else mask[:, None, None, :]
        if not self.config.n_local:
            return self._transform(x, told, places, caption.states, attend)
        near = self.local_before(self.local_in(F.pixel_unshuffle(x, HALF)), told)
        near = self.local_after(near + self._transform(near, told, places, caption.states, attend), told)
        return F.pixel_shuffle(self.local_out(F.silu(near)), HALF)

    def sketch(self, states: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What its reader takes captions to tell of: see `Reader.sketch`. states: (B, T, n_context)"""
        return self.reader.sketch(states.chunk(2, dim=-1)[0], mask)

    def _transform(self, x: Tensor, told: Tensor, places: Tensor, context: Tensor, attend: Tensor | None) -> Tensor:
        """Patches of x (B, C, H, W) through the blocks, and back."""
        b, p, n = len(x), self.patch, x.shape[-1] // self.patch
        patches = x.reshape(b, -1, n, p, n, p).permute(0, 2, 4, 1, 3, 5).reshape(b, n * n, -1)
        tokens = self.read(patches) + self.embed_positions + places
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
    """Self-attention, cross-attention to the caption, and an MLP; time and caption scale and shift what goes in."""

    def __init__(self, width: int, n_head: int) -> None:
        super().__init__()
        self.attention = Attention(width, n_head)
        self.from_text = Attention(width, n_head)
        self.norm = nn.LayerNorm(width)
        self.mlp = mlp(width)
        self.modulate = nn.Linear(width, 6 * width)
        self.modulate_asking = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, told: Tensor, context: Tensor, attend: Tensor | None) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulate(F.silu(told))[:, None].chunk(6, dim=-1)
        seen = F.layer_norm(x, x.shape[-1:]) * (1 + scale_a) + shift_a
        x = x + gate_a * self.attention(seen, seen, None)
        shift, scale = self.modulate_asking(F.silu(told))[:, None].chunk(2, dim=-1)
        x = x + self.from_text(self.norm(x) * (1 + scale) + shift, context, attend)
        seen = F.layer_norm(x, x.shape[-1:]) * (1 + scale_m) + shift_m
        return x + gate_m * self.mlp(seen)


def frequencies(t: Tensor) -> Tensor:
    """Sines and cosines of a time from 0 to 1, (B, 2 * N_FREQUENCIES), with periods from 2 π / 1000 to 2 π × 10."""
    rates = torch.exp(-math.log(10_000) * torch.arange(N_FREQUENCIES, device=t.device) / N_FREQUENCIES)
    angles = 1000 * t.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)
