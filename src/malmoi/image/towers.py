"""CLIP: a tower that reads pictures and one that reads captions into one space, where what belongs together is near.

Source: Radford et al. 2021 (arXiv:2103.00020). The picture's tower is a small convolutional network, as the paper's
first ones were; the caption's is a transformer whose token states also guide a denoiser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.config import Settings
from malmoi.image.model import Context
from malmoi.image.reader import Attention, mlp
from malmoi.text import nfc
from malmoi.tokenizer.bpe import Tokenizer

FIRST_SCALE, LARGEST_SCALE = 14.3, 100.0
"""1 / temperature at the start (temperature .07), and at most."""
GRID = 4
"""Places of a picture, across and down, of which its tower keeps features."""


class ClipConfig(Settings):
    """Shape of both towers."""

    vocab_size: int = Field(512, gt=0)
    """Size of the captions' vocabulary at most."""
    n_tokens: int = Field(40, gt=1)
    """Tokens of a caption at most; the rest is cut off."""
    n_embd: int = Field(128, gt=0)
    """Width of the caption's tower, and of the common space."""
    n_layer: int = Field(3, gt=0)
    """Layers of the caption's tower."""
    n_head: int = Field(4, gt=0)
    """Attention heads of the caption's tower."""
    channels: tuple[Annotated[int, Field(gt=0)], ...] = Field((24, 48, 96, 128), min_length=1, max_length=9)
    """Channels of the picture's tower; each layer after the first halves the picture."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.n_embd % self.n_head:
            raise ValueError(f"n_embd: {self.n_embd} does not divide by n_head ({self.n_head})")
        return self


class TextTower(nn.Module):
    """Captions to states (B, T, D), and to one vector each."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.embed_positions = nn.Parameter(torch.randn(config.n_tokens, config.n_embd) * 0.3)
        self.layers = nn.ModuleList(TextBlock(config.n_embd, config.n_head) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd)
        nn.init.normal_(self.embed_tokens.weight, std=0.5)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed_tokens(ids) + self.embed_positions[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        normed: Tensor = self.norm(x)
        return normed


class TextBlock(nn.Module):
    """A pre-norm transformer layer over a caption's tokens."""

    def __init__(self, width: int, n_head: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), Attention(width, n_head)
        self.mlp_norm, self.mlp = nn.LayerNorm(width), mlp(width)

    def forward(self, x: Tensor, attend: Tensor | None) -> Tensor:
        seen = self.norm(x)
        x = x + self.attention(seen, seen, attend)
        return x + self.mlp(self.mlp_norm(x))


class ImageTower(nn.Module):
    """Pictures (B, 3, H, W) in -1..1 to features of GRID × GRID places, and to one vector each (B, D)."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        widths = (3, *config.channels)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=1 if i == 0 else 2, padding=1)
            for i, (before, after) in enumerate(pairwise(widths))
        )
        self.norms = nn.ModuleList(nn.GroupNorm(8 if width % 8 == 0 else 1, width) for width in config.channels)
        # What is where is kept: a mean over places would make "left of" and "right of" one.
        self.out = nn.Linear(config.channels[-1] * GRID**2, config.n_embd)

    def features(self, pixels: Tensor) -> Tensor:
        """(B, C · GRID²): the last layer, pooled to GRID × GRID places."""
        x = pixels
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.silu(norm(layer(x)))
        pooled = x if x.shape[-2:] == (GRID, GRID) else F.adaptive_avg_pool2d(x, GRID)
        return pooled.flatten(1)

    def places(self, pixels: Tensor, side: int) -> Tensor:
        """The same features where they are, (B, C, side, side)."""
        return F.interpolate(self.features(pixels).view(len(pixels), -1, GRID, GRID), (side, side))

    def forward(self, pixels: Tensor) -> Tensor:
        out: Tensor = self.out(self.features(pixels))
        return out


class Clip(nn.Module):
    """Both towers."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.image, self.text = ImageTower(config), TextTower(config)
        self.project = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(FIRST_SCALE).log())

    def image_vectors(self, pixels: Tensor) -> Tensor:
        """(B, D), of length 1."""
        return F.normalize(self.image(pixels), dim=-1)

    def text_vectors(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, D), of length 1: the state of the first token, which reads the whole caption."""
        return F.normalize(self.project(self.text(ids, mask)[:, 0]), dim=-1)

    def scale(self) -> Tensor:
        """1 / temperature."""
        return self.log_scale.exp().clamp(max=LARGEST_SCALE)


@dataclass(frozen=True)
class CaptionIds:
    """Captions to ids: a token that begins each caption, then the caption's own, padded on the right."""

    tokenizer: Tokenizer
    n_tokens: int

    def __call__(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """ids and mask, (B, T). T: of the longest caption here"""
        first = self.tokenizer.end_of_text_id
        rows = [
            [first, *ids[: self.n_tokens - 1]] for ids in self.tokenizer.encode_batch([nfc(text) for text in captions])
        ]
        ids = torch.full((len(rows), max(map(len, rows), default=1)), self.tokenizer.pad_id)
        mask = torch.zeros(ids.shape, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = True
        return ids, mask

    def n_cut(self, caption: str) -> int:
        """How many tokens of a caption are cut off."""
        return max(0, len(self.tokenizer.encode_batch([nfc(caption)])[0]) + 1 - self.n_tokens)


@dataclass(frozen=True)
class TowerText:
    """What a picture model reads captions with: the tower and its tokenizer."""

    captions: CaptionIds
    tower: TextTower

    @property
    def width(self) -> int:
        """Of what is known of a token."""
        return 2 * self.tower.config.n_embd

    def read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Each token's own embedding before its state, (B, T, width): a state has much of other tokens, too."""
        return torch.cat([self.tower.embed_tokens(ids), self.tower(ids, mask)], dim=-1)

    def embed(self, captions: Sequence[str]) -> Context:
        """All of one length, so that captions can be joined to one batch with others."""
        ids, mask = self.captions(captions)
        device, room = self.tower.norm.weight.device, (0, self.captions.n_tokens - ids.shape[1])
        states = self.read(ids.to(device), mask.to(device))
        return Context(F.pad(states, (0, 0, *room)), F.pad(mask, room).to(device))

    def n_cut(self, caption: str) -> int:
        return self.captions.n_cut(caption)
