"""A diffusion transformer: patches of a noisy picture attend to each other and to the states of a caption.

Source: Peebles & Xie 2023 (arXiv:2212.09748), with the cross-attention of PixArt-α (arXiv:2310.00426) for the caption.
What a caption says as a whole moves the modulation, and what it says of a place is added to the patch there; both come
from a reader with a task of its own (`image/reader.py`).

Edges are local, and alike wherever they are. Few large patches do not know that, and many small ones cost more than two
cores have. So convolutions do what is local, at half of the picture's side, a quarter and so on, and the transformer is
in their middle, as in Hoogeboom et al. 2023 (simple diffusion, arXiv:2301.11093).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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
    n_local: tuple[int, ...] = ()
    """Channels of the convolutions around the transformer: at half of the side, at a quarter, and so on."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd: {self.n_embd} does not divide by n_head ({self.n_head})")
        if any(n < GROUPS or n % GROUPS for n in self.n_local):
            raise ValueError(f"n_local: expected numbers that divide by {GROUPS}")
        if self.patch % HALF ** len(self.n_local):
            raise ValueError(f"n_local: {len(self.n_local)} need a patch that divides by {HALF ** len(self.n_local)}")
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
        width, sides = config.n_embd, (config.n_channels, *config.n_local)
        self.patch, patched = config.patch // HALF ** len(config.n_local), sides[-1]
        self.levels = nn.ModuleList(Level(outer, n, depth, width) for depth, (outer, n) in enumerate(pairwise(sides)))
        if config.n_local:
            self.tell_near = nn.Linear(width, sides[-1] * self.patch**2)
        self.read = nn.Linear(patched * self.patch**2, width)
        self.embed_positions = nn.Parameter(torch.empty(config.n_tokens, width))
        self.time = nn.Sequential(nn.Linear(2 * N_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.reader = Reader(
            config.n_context // 2, config.n_caption, config.size // config.patch, width,
            config.n_head, config.n_text_layer, config.n_channels, config.n_features,
        )  # fmt: skip
        self.gist, self.say = nn.Linear(config.n_context // 2, width), nn.Linear(width, width)
        self.layers = nn.ModuleList(Block(width, config.n_head) for _ in range(config.n_layer))
        self.final = nn.Linear(width, 2 * width)
        self.write = nn.Linear(width, patched * self.patch**2)
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
        nn.init.zeros_(self.write.weight)

    def forward(self, x: Tensor, t: Tensor, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """x: (B, C, H, W); t: (B,), 0 to n_times; states: (B, T, n_context); mask: (B, T), True where there is a token.

        Returns (B, C, H, W). T is at most n_caption. The reader learns only by `sketch`.
        """
        words, seen = states.chunk(2, dim=-1)
        with torch.no_grad():  # what a noisy picture shows anyway makes a reader forget which word is about what
            caption = self.reader(words, mask)
        whole = caption.whole + self.gist(mean_of_tokens(seen, mask))
        told = self.time(frequencies(t / self.config.n_times).to(x.dtype)) + whole
        attend = None if mask is None else mask[:, None, None, :]
        near = self._to_grid(self.tell_near(caption.places)) if self.levels else None
        return self._within(x, Told(told, self.say(caption.places), near, caption.states, attend), [*self.levels])

    def sketch(self, states: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What its reader takes captions to tell of: see `Reader.sketch`. states: (B, T, n_context)"""
        return self.reader.sketch(states.chunk(2, dim=-1)[0], mask)

    def _within(self, x: Tensor, told: "Told", levels: Sequence[nn.Module]) -> Tensor:
        """What these levels of convolutions make of x (B, C, H, W), and in their middle the transformer."""
        if not levels:
            return self._to_grid(self._transform(self._to_patches(x), told))
        level, *inner = levels
        assert isinstance(level, Level)
        near = level.inward(x, told, inner == [])
        return level.outward(near + self._within(near, told, inner), told, inner == [])

    def _transform(self, patches: Tensor, told: "Told") -> Tensor:
        """(B, side², C · patch²) to the same."""
        tokens = self.read(patches) + self.embed_positions + told.places
        for layer in self.layers:
            tokens = layer(tokens, told)
        shift, scale = self.final(F.silu(told.whole))[:, None].chunk(2, dim=-1)
        return self.write(F.layer_norm(tokens, tokens.shape[-1:]) * (1 + scale) + shift)

    def _to_patches(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, side², C · patch²)."""
        return F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)

    def _to_grid(self, patches: Tensor) -> Tensor:
        """(B, side², C · patch²) to (B, C, H, W)."""
        side = self.config.size // self.config.patch
        return F.pixel_shuffle(patches.transpose(1, 2).reshape(len(patches), -1, side, side), self.patch)


@dataclass(frozen=True)
class Told:
    """What time and caption say: whole (B, D), of all; places (B, side², D), of each patch; near (B, C, h, w), of each
    place of the innermost convolutions; states (B, T, D), the caption's words; attend (B, 1, 1, T), where one is"""

    whole: Tensor
    places: Tensor
    near: Tensor | None
    states: Tensor
    attend: Tensor | None


class Level(nn.Module):
    """Convolutions at half of the side of what is around them, on the way in and on the way out."""

    def __init__(self, n_outer: int, n: int, depth: int, width: int) -> None:
        """n_outer, n: channels around them, and of their own; depth: 0 for the level that reads and writes pixels"""
        super().__init__()
        side, n_around = 1 if depth else 3, n_outer * HALF**2
        self.enter = nn.Conv2d(n_around, n, side, padding=side // 2)
        # Further in nothing is normalised on the way: what comes from a picture and goes back to it keeps its size.
        self.norm = nn.Identity() if depth else nn.Sequential(nn.GroupNorm(GROUPS, n), nn.SiLU())
        self.leave = nn.Conv2d(n, n_around, side, padding=side // 2)
        if depth == 0:
            nn.init.zeros_(self.leave.weight)
        self.before, self.after = (nn.ModuleList(LocalBlock(n, width) for _ in range(1 + depth)) for _ in range(2))

    def inward(self, x: Tensor, told: Told, is_innermost: bool) -> Tensor:
        """(B, n_outer, H, W) to (B, n, H / 2, W / 2)."""
        near: Tensor = self.enter(F.pixel_unshuffle(x, HALF))
        return self._through(self.before, near, told, is_innermost)

    def outward(self, near: Tensor, told: Told, is_innermost: bool) -> Tensor:
        """(B, n, H / 2, W / 2) to (B, n_outer, H, W)."""
        return F.pixel_shuffle(self.leave(self.norm(self._through(self.after, near, told, is_innermost))), HALF)

    def _through(self, blocks: nn.ModuleList, near: Tensor, told: Told, is_innermost: bool) -> Tensor:
        for block in blocks:
            near = block(near, told.whole, told.near if is_innermost else None)
        return near


class LocalBlock(nn.Module):
    """Two convolutions with a residual; time and caption scale and shift what is between them."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, n) for _ in range(2))
        self.first, self.second = (nn.Conv2d(n, n, 3, padding=1) for _ in range(2))
        self.modulate = nn.Linear(width, 2 * n)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, told: Tensor, near: Tensor | None) -> Tensor:
        """x: (B, n, H, W); told: (B, D); near: (B, n, H, W), what is said of each place"""
        seen = self.first(F.silu(self.norms[0](x)))
        seen = seen if near is None else seen + near
        shift, scale = self.modulate(F.silu(told))[:, :, None, None].chunk(2, dim=1)
        out: Tensor = x + self.second(F.silu(self.norms[1](seen) * (1 + scale) + shift))
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

    def forward(self, x: Tensor, told: Told) -> Tensor:
        """x: (B, side², D)"""
        whole = F.silu(told.whole)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulate(whole)[:, None].chunk(6, dim=-1)
        seen = F.layer_norm(x, x.shape[-1:]) * (1 + scale_a) + shift_a
        x = x + gate_a * self.attention(seen, seen, None)
        shift, scale = self.modulate_asking(whole)[:, None].chunk(2, dim=-1)
        x = x + self.from_text(self.norm(x) * (1 + scale) + shift, told.states, told.attend)
        seen = F.layer_norm(x, x.shape[-1:]) * (1 + scale_m) + shift_m
        return x + gate_m * self.mlp(seen)


def frequencies(t: Tensor) -> Tensor:
    """Sines and cosines of a time from 0 to 1, (B, 2 * N_FREQUENCIES), with periods from 2 π / 1000 to 2 π × 10."""
    rates = torch.exp(-math.log(10_000) * torch.arange(N_FREQUENCIES, device=t.device) / N_FREQUENCIES)
    angles = 1000 * t.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)
