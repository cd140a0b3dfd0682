"""What a picture of coloured shapes shows, read off its pixels by rules: no network, nothing learned.

Things are what differs from the background. Colour: the nearest of the palette to the middle of the thing. Shape: each
shape is drawn with the thing's area and centre of mass, and the one that overlaps most is it; so a ragged edge costs
little. How often it is right on real drawings is measured by `evals`, next to what it says about a model's drawings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from malmoi.synthetic.shapes import BACKGROUNDS, COLOURS, SHAPES, SIZES, Scene, Thing, coverage

LEAST_PIXELS = 0.012
"""Smallest thing, as a share of the picture: a small star has .016."""
DIFFERS = 60.0
"""Distance in RGB from the background from which a pixel belongs to a thing."""
LARGE = (SIZES["small"][1] + SIZES["large"][0]) / 2


@dataclass(frozen=True)
class Found:
    """A thing in a picture. x, y, side: its box, as shares of the picture's side; fit: overlap, 0 to 1"""

    colour: str
    shape: str
    x: float
    y: float
    side: float
    fit: float

    @property
    def size(self) -> str:
        return "large" if self.side > LARGE else "small"


@dataclass(frozen=True)
class Verdict:
    """How much of a caption a picture shows.

    n_things: that the caption asks for; n_colours, n_shapes: of them with the right colour, shape, at the right place
    number, sizes, relation, background: whether it is right, True where the caption says nothing of it
    """

    n_things: int
    n_colours: int
    n_shapes: int
    number: bool
    sizes: bool
    relation: bool
    background: bool

    @property
    def all_right(self) -> bool:
        things = self.n_colours == self.n_shapes == self.n_things
        return things and self.number and self.sizes and self.relation and self.background


def look(picture: np.ndarray) -> tuple[str, list[Found]]:
    """The background's name and the things of a picture, uint8 (H, W, 3), the largest first."""
    pixels = picture.astype(np.float64)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(edge, axis=0)
    background = _nearest(ground, BACKGROUNDS)
    labels, n = _components(np.linalg.norm(pixels - ground, axis=2) > DIFFERS)
    things = []
    for number in range(1, n + 1):
        mask = labels == number
        if mask.sum() >= LEAST_PIXELS * mask.size:
            things.append(_thing(pixels, mask, ground))
    return background, sorted(things, key=lambda thing: -thing.side)


def _nearest(colour: np.ndarray, palette: dict[str, tuple[int, int, int]]) -> str:
    return min(palette, key=lambda name: float(np.linalg.norm(colour - np.array(palette[name]))))


def _components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers of the connected parts of a mask (neighbours share an edge), 0 outside, and how many there are."""
    labels, n = np.zeros(mask.shape, dtype=np.int64), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if labels[start]:
            continue
        n += 1
        labels[start], stack = n, [start]
        while stack:
            y, x = stack.pop()
            for there in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= there[0] < mask.shape[0] and 0 <= there[1] < mask.shape[1]
                if inside and mask[there] and not labels[there]:
                    labels[there] = n
                    stack.append(there)
    return labels, n


def _thing(pixels: np.ndarray, mask: np.ndarray, ground: np.ndarray) -> Found:
    inner = mask & _shifted(mask, 1, 0) & _shifted(mask, -1, 0) & _shifted(mask, 0, 1) & _shifted(mask, 0, -1)
    middle = np.median(pixels[inner if inner.any() else mask], axis=0)
    colour = _nearest(middle, COLOURS)
    # How much of each pixel the thing covers: where it is between the background and the thing's colour.
    around = mask | _shifted(mask, 1, 0) | _shifted(mask, -1, 0) | _shifted(mask, 0, 1) | _shifted(mask, 0, -1)
    way = middle - ground
    cover = np.clip(((pixels - ground) @ way) / max(float(way @ way), 1.0), 0, 1) * around
    size = mask.shape[0]
    area = cover.sum() / size**2
    at = (np.arange(size) + 0.5) / size
    x, y = float((cover.sum(0) @ at) / cover.sum()), float((cover.sum(1) @ at) / cover.sum())
    best = max((_fit(shape, cover, x, y, area) for shape in SHAPES), key=lambda found: found[0])
    fit, shape, side, box_y = best
    return Found(colour, shape, x, box_y, side, fit)


def _shifted(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """The mask moved by one pixel; what comes in is empty."""
    moved = np.zeros_like(mask)
    height, width = mask.shape
    moved[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = mask[
        max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return moved


def _fit(shape: str, cover: np.ndarray, x: float, y: float, area: float) -> tuple[float, str, float, float]:
    """Overlap (intersection over union) with a shape of the same area and centre of mass; its side and its box's y."""
    fill, centre_y = _filled(shape)
    side = (area / fill) ** 0.5
    box_y = y - centre_y * side
    drawn = coverage(shape, x, box_y, side, cover.shape[0])
    return float(np.minimum(cover, drawn).sum() / np.maximum(cover, drawn).sum()), shape, side, box_y


@cache
def _filled(shape: str) -> tuple[float, float]:
    """Share of its box that a shape fills, and how far below the box's its centre of mass is, in sides."""
    drawn = coverage(shape, 0.5, 0.5, 1.0, 64)
    at = (np.arange(64) + 0.5) / 64
    return float(drawn.mean()), float((drawn.sum(1) @ at) / drawn.sum() - 0.5)


def judge(picture: np.ndarray, scene: Scene) -> Verdict:
    """Compare what a picture shows with what was asked for."""
    background, found = look(picture)
    wanted = list(scene.things) if scene.relation else [scene.things[0]] * scene.number
    pairs, relation = _paired(scene, wanted, found)
    return Verdict(
        n_things=len(wanted),
        n_colours=sum(is_.colour == thing.colour for thing, is_ in pairs),
        n_shapes=sum(is_.shape == thing.shape for thing, is_ in pairs),
        number=len(found) == len(wanted),
        sizes=len(pairs) == len(wanted) and all(is_.size == thing.size for thing, is_ in pairs if thing.size),
        relation=relation,
        background=background == (scene.background or "white"),
    )


def _paired(scene: Scene, wanted: Sequence[Thing], found: Sequence[Found]) -> tuple[list[tuple[Thing, Found]], bool]:
    """Each wanted thing with the one at its place, and whether the things are placed as the relation says.

    Of more things than were asked for, the largest count.
    """
    kept = list(found[: len(wanted)])
    if not scene.relation:
        return list(zip(wanted, kept, strict=False)), True
    if len(kept) < 2:
        one = [(thing, is_) for is_ in kept for thing in wanted if thing.colour == is_.colour][:1]
        return one, False
    is_row = scene.relation in ("left", "right")
    kept.sort(key=lambda is_: is_.x if is_row else is_.y, reverse=scene.relation in ("right", "below"))
    across, down = abs(kept[0].x - kept[1].x), abs(kept[0].y - kept[1].y)
    return list(zip(wanted, kept, strict=True)), across > down if is_row else down > across
