"""What reads a caption for a denoiser: layers over its words, and places that ask them what is there.

A denoiser learns late which word belongs to which: much of a noisy picture can be seen without its caption. So a reader
has a task of its own first: to tell, of each place, the pixels and what CLIP's picture tower sees there. In pixels, the
mean of all pictures that fit a caption is a blur: that of a circle is much like that of a square.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.image.positions import smooth_places, smooth_positions

STROKE = 4
"""Side of a place in a sketch, in pixels."""
WORDS_GAIN = 3.0
"""Of the first layer. With words no stronger than positions a reader needs several times as many steps."""
FEW_SCORES = 2**15
"""Queries times keys up to which plain products are used in bfloat16 on a CPU. The backward pass of PyTorch's fused
kernel takes as long for a few keys as for 512: with 16 queries and keys of 128 heads 5.8 ms, plain products 0.3 ms."""


@dataclass(frozen=True)
class ReadCaption:
    """What a caption says: states (B, T, D), of each word; whole (B, D); places (B, side², D), of each place"""

    states: Tensor
    whole: Tensor
    places: Tensor


class Reader(nn.Module):
    """Words of captions, (B, T, n_context), to what they say.

    Layers over the words tell which belongs to which; then the places of the picture, side × side, ask them what is
    there. What is asked depends on the caption as a whole: whether "left of" or "right of" is said, and in which
    language, changes which words are about the left half.
    """

    def __init__(
        self, n_context: int, n_tokens: int, side: int, width: int, n_head: int, n_layer: int,
        n_channels: int, n_features: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.side, self.n_channels = side, n_channels
        self.text = nn.Linear(n_context, width)
        self.embed_positions = nn.Parameter(torch.empty(n_tokens, width))
        self.layers = nn.ModuleList(CaptionBlock(width, n_head, n_tokens) for _ in range(n_layer))
        self.norm = nn.LayerNorm(width)
        self.summarise, self.modulate = mlp(width), nn.Linear(width, 2 * width)
        self.embed_places = nn.Parameter(torch.empty(side**2, width))
        self.ask, self.look, self.answer = (nn.LayerNorm(width) for _ in range(3))
        self.whole_norm, self.places_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.around, self.mlp = Attention(width, n_head), Attention(width, n_head), mlp(width)
        self.draw, self.see = nn.Linear(width, n_channels * STROKE**2), nn.Linear(width, n_features)

    def forward(self, words: Tensor, mask: Tensor | None) -> ReadCaption:
        """mask: (B, T), True where there is a token."""
        x = self.text(words) + self.embed_positions[: words.shape[1]]
        for layer in self.layers:
            x = layer(x, mask)
        states = self.norm(x)
        whole = self.whole_norm(self.summarise(mean_of_tokens(states, mask)))
        shift, scale = self.modulate(whole)[:, None].chunk(2, dim=-1)
        places = self.embed_places.expand(len(words), -1, -1)
        asking = self.ask(places) * (1 + scale) + shift
        places = places + self.attention(asking, states, None if mask is None else mask[:, None, None, :])
        seen = self.look(places)
        places = places + self.around(seen, seen, None)
        # Of about 1, whatever the reader's training made of it: what is large here drowns the picture's noise and time.
        return ReadCaption(states, whole, self.places_norm(places + self.mlp(self.answer(places))))

    def sketch(self, words: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """What captions tell of: small pictures (B, C, side · `STROKE`, side · `STROKE`), and what CLIP's picture tower
        would see at each place (B, n_features, side, side). Each is a mean over all pictures that fit the caption."""
        places = self(words, mask).places
        strokes = self.draw(places).view(-1, self.side, self.side, self.n_channels, STROKE, STROKE)
        seen = self.see(places).transpose(1, 2).unflatten(2, (self.side, self.side))
        return strokes.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3), seen

    def initialise(self) -> None:
        """Words begin stronger than their positions, and places and positions so that near ones are alike."""
        self.embed_positions.data = smooth_positions(*self.embed_positions.shape)
        self.embed_places.data = smooth_places(self.side, self.embed_places.shape[1])
        nn.init.xavier_uniform_(self.text.weight, gain=WORDS_GAIN)
        nn.init.zeros_(self.draw.weight)
        nn.init.zeros_(self.see.weight)


class CaptionBlock(nn.Module):
    """A pre-norm transformer layer that knows how far tokens are from each other: a colour is just before its shape."""

    def __init__(self, width: int, n_head: int, n_tokens: int) -> None:
        super().__init__()
        self.n_head, self.n_tokens = n_head, n_tokens
        self.norm, self.mlp_norm, self.mlp = nn.LayerNorm(width), nn.LayerNorm(width), mlp(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.distances = nn.Parameter(torch.zeros(n_head, 2 * n_tokens - 1))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: (B, T, D); mask: (B, T), True where there is a token"""
        b, t, d = x.shape
        q, k, v = self.query_key_value(self.norm(x)).view(b, t, 3, self.n_head, -1).permute(2, 0, 3, 1, 4)
        at = torch.arange(t, device=x.device)
        bias = self.distances[:, at[None] - at[:, None] + self.n_tokens - 1][None].to(q.dtype)
        if mask is not None:
            bias = bias.masked_fill(~mask[:, None, None, :], -torch.inf)
        x = x + self.out(_attend(q, k, v, bias).transpose(1, 2).reshape(b, t, d))
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
        return self.out(_attend(q, k, v, attend).transpose(1, 2).reshape(b, -1, d))


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q kᵀ / √K + mask) v. q: (B, H, T, K); k, v: (B, H, S, K); mask: (B or 1, 1 or H, 1 or T, S), True where
    allowed, or numbers that are added. Returns (B, H, T, K)."""
    if q.device.type != "cpu" or v.dtype != torch.bfloat16 or q.shape[2] * k.shape[2] > FEW_SCORES:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(dim=-1) @ v


def mlp(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))


def mean_of_tokens(states: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over a caption's tokens, (B, D)."""
    if mask is None:
        return states.mean(1)
    weight = mask.to(states.dtype)[:, :, None]
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1)
