"""Whether a picture was seen before: the same pixels, or the same picture saved, scaled or coloured a little otherwise.

Pictures are compared as small copies in colour. A perceptual hash of signs (pHash) was tried first: flat and symmetric
drawings, such as emoji, have many waves of nearly nothing, whose signs say nothing, and copies saved as JPEG got away.
Means of parts of two copies never differ more than the copies do, so that only those of about the same means have to be
looked at, and none is missed: first by the mean colour, then by 4 × 4 parts.
"""

import hashlib
import itertools
from collections import defaultdict
from typing import Literal

import numpy as np
from PIL import Image

from malmoi.image.files import Pixels

SMALL, PARTS = 16, 4
MOST_GAP = 5.0
"""Root of the mean square between the small copies, of 255, up to which two pictures are alike."""
ROUNDING = 1e-3


def small_copy(pixels: Pixels) -> np.ndarray:
    """uint8 (SMALL · SMALL, 3)."""
    small = Image.fromarray(pixels).resize((SMALL, SMALL), Image.Resampling.BOX)
    return np.asarray(small).reshape(-1, 3)


def parts_of(copy: np.ndarray) -> np.ndarray:
    """Mean colours of the PARTS × PARTS parts of a small copy, float32 (PARTS · PARTS · 3,)."""
    side = SMALL // PARTS
    return copy.reshape(PARTS, side, PARTS, side, 3).mean((1, 3), dtype=np.float32).reshape(-1)


class Seen:
    """The pictures so far."""

    def __init__(self) -> None:
        self.digests: set[bytes] = set()
        self.copies: list[np.ndarray] = []
        self.parts = np.empty((1, PARTS * PARTS * 3), np.float32)
        self.places: dict[tuple[int, ...], list[int]] = defaultdict(list)

    def add(self, pixels: Pixels) -> Literal["new", "exact", "near"]:
        """What a picture, (H, W, 3), is to those so far. Only a new one is kept."""
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if digest in self.digests:
            return "exact"
        copy = small_copy(pixels)
        parts = parts_of(copy)
        # Colour by colour, means that differ by more than √3 gaps belong to copies that do, too.
        place = [int(mean // (MOST_GAP * 3**0.5)) for mean in copy.mean(0).tolist()]
        around = itertools.product(*((one - 1, one, one + 1) for one in place))
        near = np.array([i for found in around for i in self.places.get(found, ())], np.int64)
        gaps = ((self.parts[near] - parts) ** 2).mean(1)
        if any(self._gap(int(i), copy) <= MOST_GAP for i in near[gaps <= (MOST_GAP + ROUNDING) ** 2]):
            return "near"
        self.digests.add(digest)
        self.places[tuple(place)].append(len(self.copies))
        if len(self.copies) == len(self.parts):
            self.parts = np.concatenate([self.parts, np.empty_like(self.parts)])
        self.parts[len(self.copies)] = parts
        self.copies.append(copy)
        return "new"

    def _gap(self, i: int, copy: np.ndarray) -> float:
        return float(((self.copies[i].astype(np.float32) - copy) ** 2).mean() ** 0.5)
