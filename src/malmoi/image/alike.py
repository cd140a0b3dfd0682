"""Whether a picture was seen before: the same pixels, or the same picture saved, scaled or coloured a little otherwise.

Pictures are compared as small copies in colour. A perceptual hash of signs (pHash) was tried first: flat and symmetric
drawings, such as emoji, have many waves of nearly nothing, whose signs say nothing, and copies saved as JPEG got away.
The mean colours of two copies never differ much more than the copies do, so that only those of about the same mean have
to be looked at, and none is missed.
"""

import hashlib
import itertools
from collections import defaultdict
from typing import Literal

import numpy as np
from PIL import Image

from malmoi.image.files import Pixels

SMALL = 16
MOST_GAP = 5.0
"""Root of the mean square between the small copies, of 255, up to which two pictures are alike."""


def small_copy(pixels: Pixels) -> np.ndarray:
    """(SMALL · SMALL, 3), float32."""
    small = Image.fromarray(pixels).resize((SMALL, SMALL), Image.Resampling.BOX)
    return np.asarray(small, np.float32).reshape(-1, 3)


class Seen:
    """The pictures so far."""

    def __init__(self) -> None:
        self.digests: set[bytes] = set()
        self.copies: dict[tuple[int, ...], list[np.ndarray]] = defaultdict(list)

    def add(self, pixels: Pixels) -> Literal["new", "exact", "near"]:
        """What a picture, (H, W, 3), is to those so far. Only a new one is kept."""
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if digest in self.digests:
            return "exact"
        copy = small_copy(pixels)
        # Colour by colour, means that differ by more than √3 gaps belong to copies that do, too.
        place = [int(mean // (MOST_GAP * 3**0.5)) for mean in copy.mean(0).tolist()]
        for near in itertools.product(*((one - 1, one, one + 1) for one in place)):
            others = self.copies.get(near)
            if others and float(((np.stack(others) - copy) ** 2).mean((1, 2)).min()) <= MOST_GAP**2:
                return "near"
        self.digests.add(digest)
        self.copies[tuple(place)].append(copy)
        return "new"
