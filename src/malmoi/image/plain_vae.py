"""A plain variational autoencoder: pictures from a few hundred numbers drawn at random. Its pictures are blurred.

Source: Kingma and Welling 2013 (arXiv:1312.6114).
"""

from itertools import pairwise

from pydantic import Field
from torch import Tensor, nn

from malmoi.config import Settings

HALVINGS = 3


class PlainVaeShape(Settings):
    """What can be chosen of a plain VAE's shape."""

    n_code: int = Field(64, gt=0)
    """Numbers that stand for a picture."""
    n_channels: int = Field(32, gt=0, multiple_of=8)
    """Channels at half of the side, a multiple of eight; twice as many with each halving after it."""


def check_side(side: int, who: str) -> None:
    """Raises ValueError for pictures that cannot be halved often enough."""
    if side % 2**HALVINGS:
        raise ValueError(f"{who}: pictures of {side} pixels do not divide by {2**HALVINGS}; choose another size")


def shrinking(n_channels: int, n_last: int, side: int) -> nn.Sequential:
    """Pictures (B, 3, side, side) -> (B, n_last)."""
    widths = [3, *(n_channels * 2**i for i in range(HALVINGS))]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * (side // 2**HALVINGS) ** 2, n_last))


def growing(n_code: int, n_channels: int, side: int) -> nn.Sequential:
    """(B, n_code) -> pictures (B, 3, side, side) in -1..1."""
    widths, small = [n_channels * 2**i for i in reversed(range(HALVINGS))], side // 2**HALVINGS
    layers: list[nn.Module] = [nn.Linear(n_code, widths[0] * small**2), nn.Unflatten(1, (widths[0], small, small))]
    for before, after in zip(widths, [*widths[1:], n_channels], strict=True):
        layers += [nn.GroupNorm(8, before), nn.ReLU(), nn.Upsample(scale_factor=2)]
        layers.append(nn.Conv2d(before, after, 3, padding=1))
    return nn.Sequential(
        *layers, nn.GroupNorm(8, n_channels), nn.ReLU(), nn.Conv2d(n_channels, 3, 3, padding=1), nn.Tanh()
    )


class PlainVae(nn.Module):
    """Raises ValueError for a side that does not divide by eight."""

    def __init__(self, shape: PlainVaeShape, side: int) -> None:
        super().__init__()
        check_side(side, "vae")
        self.n_code = shape.n_code
        self.encoder = shrinking(shape.n_channels, 2 * shape.n_code, side)
        self.decoder = growing(shape.n_code, shape.n_channels, side)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, 3, H, W) in -1..1; noise: (B, n_code). Returns pictures, and the KL divergence of each, (B,), nats."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        log_variance = log_variance.clamp(-12, 12)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return self.decoder(mean + (0.5 * log_variance).exp() * noise), kl

    def draw(self, noise: Tensor) -> Tensor:
        """Pictures of codes (B, n_code) that are drawn at random."""
        pictures: Tensor = self.decoder(noise)
        return pictures
