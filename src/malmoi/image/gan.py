"""A generative adversarial network: one draws, the other tells its pictures from real ones. It draws sharply, and only
some of what there is.

Sources: Goodfellow et al. 2014 (arXiv:1406.2661), Radford et al. 2015 (DCGAN, arXiv:1511.06434).
"""

from pydantic import Field
from torch import Tensor, nn

from malmoi.config import Settings
from malmoi.image.plain_vae import check_side, growing, shrinking


class GanShape(Settings):
    """What can be chosen of a GAN's shape."""

    n_code: int = Field(64, gt=0)
    """Numbers, drawn at random, from which a picture is drawn."""
    n_channels: int = Field(32, gt=0, multiple_of=8)
    """Channels at half of the side, a multiple of eight; twice as many with each halving after it."""


class Gan(nn.Module):
    """Both networks. Raises ValueError for a side that does not divide by eight."""

    def __init__(self, shape: GanShape, side: int) -> None:
        super().__init__()
        check_side(side, "gan")
        self.n_code = shape.n_code
        self.generator = growing(shape.n_code, shape.n_channels, side)
        self.critic = shrinking(shape.n_channels, 1, side)

    def draw(self, noise: Tensor) -> Tensor:
        """Pictures of codes (B, n_code) that are drawn at random."""
        pictures: Tensor = self.generator(noise)
        return pictures
