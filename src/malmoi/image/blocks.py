"""What UNet and autoencoder are made of. Modules are named as in diffusers, so that its weights load as they are.

Pictures: (B, C, H, W). Source: Rombach et al. 2022 (arXiv:2112.10752).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResnetBlock(nn.Module):
    """Two convolutions with a way around them; between them the embedding of t (B, n_time), if there is one."""

    def __init__(self, n_in: int, n_out: int, n_time: int | None, groups: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, n_in, eps)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(n_time, n_out) if n_time else None
        self.norm2 = nn.GroupNorm(groups, n_out, eps)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(n_in, n_out, 1) if n_in != n_out else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if self.time_emb_proj is not None and time is not None:
            h = h + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + h


class Downsample(nn.Module):
    """Half the height and width. asymmetric: pads only right and below, as the autoencoder's encoder does"""

    def __init__(self, n_channels: int, asymmetric: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_channels, n_channels, 3, stride=2, padding=0 if asymmetric else 1)
        self.asymmetric = asymmetric

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.asymmetric else x)


class Upsample(nn.Module):
    """Twice the height and width, or a given size."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_channels, n_channels, 3, padding=1)

    def forward(self, x: Tensor, size: torch.Size | None = None) -> Tensor:
        size = size or torch.Size(2 * length for length in x.shape[-2:])
        return self.conv(F.interpolate(x, size=size, mode="nearest"))


class Attention(nn.Module):
    """x (B, N, D) looks at states (B, T, n_states), or at itself."""

    def __init__(self, n_channels: int, n_heads: int, n_states: int | None = None, bias: bool = False) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.to_q = nn.Linear(n_channels, n_channels, bias=bias)
        self.to_k = nn.Linear(n_states or n_channels, n_channels, bias=bias)
        self.to_v = nn.Linear(n_states or n_channels, n_channels, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(n_channels, n_channels)])

    def forward(self, x: Tensor, states: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """mask: (B, T), true where x may look"""
        seen = x if states is None else states
        q, k, v = (self._heads(part) for part in (self.to_q(x), self.to_k(seen), self.to_v(seen)))
        out = F.scaled_dot_product_attention(q, k, v, None if mask is None else mask[:, None, None, :])
        return self.to_out[0](out.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)


class PictureAttention(Attention):
    """Each place of a picture looks at all others, with one head; added to the picture."""

    def __init__(self, n_channels: int, groups: int, eps: float) -> None:
        super().__init__(n_channels, 1, bias=True)
        self.group_norm = nn.GroupNorm(groups, n_channels, eps)

    def forward(self, x: Tensor, states: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        found = super().forward(self.group_norm(x).flatten(2).transpose(1, 2))
        return x + found.transpose(1, 2).reshape(x.shape)


class GatedProjection(nn.Module):
    """GEGLU, (B, N, n_in) -> (B, N, n_out). Source: Shazeer 2020 (arXiv:2002.05202)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(n_in, 2 * n_out)

    def forward(self, x: Tensor) -> Tensor:
        x, gate = self.proj(x).chunk(2, -1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    """(B, N, D) -> (B, N, D), by way of 4 · D."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        # The middle one is dropout in diffusers; it keeps the last one's number.
        parts = (GatedProjection(n_channels, 4 * n_channels), nn.Identity(), nn.Linear(4 * n_channels, n_channels))
        self.net = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Places x (B, N, D) look at each other, then at the caption's states (B, T, n_states)."""

    def __init__(self, n_channels: int, n_heads: int, n_states: int) -> None:
        super().__init__()
        self.norm1, self.attn1 = nn.LayerNorm(n_channels), Attention(n_channels, n_heads)
        self.norm2, self.attn2 = nn.LayerNorm(n_channels), Attention(n_channels, n_heads, n_states)
        self.norm3, self.ff = nn.LayerNorm(n_channels), FeedForward(n_channels)

    def forward(self, x: Tensor, states: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), states, mask)
        return x + self.ff(self.norm3(x))


class PictureTransformer(nn.Module):
    """Transformer blocks over the places of a picture; added to the picture."""

    def __init__(
        self, n_channels: int, n_heads: int, n_states: int, n_layer: int, groups: int, linear: bool
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm = nn.GroupNorm(groups, n_channels, 1e-6)
        self.linear = linear
        self.proj_in = nn.Linear(n_channels, n_channels) if linear else nn.Conv2d(n_channels, n_channels, 1)
        blocks = (TransformerBlock(n_channels, n_heads, n_states) for _ in range(n_layer))
        self.transformer_blocks = nn.ModuleList(blocks)
        self.proj_out = nn.Linear(n_channels, n_channels) if linear else nn.Conv2d(n_channels, n_channels, 1)

    def forward(self, x: Tensor, states: Tensor, mask: Tensor | None) -> Tensor:
        around = x
        x = self.norm(x)
        x = x if self.linear else self.proj_in(x)
        # (B, C, H, W) -> (B, H, W, C): free where channels are last in memory.
        x = x.permute(0, 2, 3, 1)
        height, width = x.shape[1:3]
        x = x.flatten(1, 2)
        x = self.proj_in(x) if self.linear else x
        for block in self.transformer_blocks:
            x = block(x, states, mask)
        x = self.proj_out(x) if self.linear else x
        x = x.unflatten(1, (height, width)).permute(0, 3, 1, 2)
        return (x if self.linear else self.proj_out(x)) + around
