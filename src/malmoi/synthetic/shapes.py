"""Coloured shapes with captions that compose: colour, shape, size, number, relation and background.

All is drawn by numpy, four times larger than asked and averaged down, so that a scene gives the same pixels everywhere.
"""

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Literal

import numpy as np

from malmoi.synthetic.korean import with_particle

COLOURS = {
    "red": (222, 45, 45),
    "orange": (247, 143, 30),
    "yellow": (250, 218, 50),
    "green": (48, 162, 76),
    "blue": (48, 92, 222),
    "purple": (146, 62, 186),
}
BACKGROUNDS = {"white": (255, 255, 255), "grey": (128, 128, 128), "black": (16, 16, 16)}
SHAPES = ("circle", "square", "triangle", "star")
SIZES = {"small": (0.24, 0.30), "large": (0.40, 0.46)}
"""Side of a thing as a share of the picture's side."""
Relation = Literal["", "left", "right", "above", "below"]
OPPOSITE: dict[str, Relation] = {"left": "right", "right": "left", "above": "below", "below": "above"}
MARGIN = 0.03
"""Least distance of a thing from the edge of its part of the picture, as a share of the picture's side."""
FINER = 4

_KOREAN_COLOURS = {
    "red": ("빨간", "빨간색"),
    "orange": ("주황색", "주황색"),
    "yellow": ("노란", "노란색"),
    "green": ("초록색", "초록색"),
    "blue": ("파란", "파란색"),
    "purple": ("보라색", "보라색"),
}
_KOREAN_SHAPES = {
    "circle": ("동그라미", "원"),
    "square": ("네모", "정사각형"),
    "triangle": ("세모", "삼각형"),
    "star": ("별", "별"),
}
_KOREAN_BACKGROUNDS = {"white": "하얀", "grey": "회색", "black": "검은"}
_KOREAN_SIZES = {"small": "작은", "large": "큰"}
_KOREAN_PLACES = {"left": "왼쪽", "right": "오른쪽", "above": "위", "below": "아래"}
_KOREAN_NUMBERS = {2: "두", 3: "세"}
_NUMBERS = {1: "a", 2: "two", 3: "three"}
_PLACES = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}


@dataclass(frozen=True)
class Thing:
    """size: "" where the caption does not say it"""

    colour: str
    shape: str
    size: str = ""


@dataclass(frozen=True)
class Scene:
    """What a caption says: one thing `number` times, or the first thing in a `relation` to the second.

    background: "" where the caption does not say it; the picture is then white
    """

    things: tuple[Thing, ...]
    number: int = 1
    relation: Relation = ""
    background: str = ""

    @property
    def composition(self) -> str:
        """What is split into training and held out: what is drawn, whatever its sizes, its background, its wording.

        "a red circle left of a blue square" and "a blue square right of a red circle" are one composition.
        """
        names = [f"{thing.colour} {thing.shape}" for thing in self.things]
        if not self.relation:
            return f"{self.number} {names[0]}"
        if self.relation in ("right", "below"):
            return f"{names[1]} {OPPOSITE[self.relation]} {names[0]}"
        return f"{names[0]} {self.relation} {names[1]}"


@dataclass(frozen=True)
class Placed:
    """A thing where it is drawn: its centre and its side as shares of the picture's side."""

    thing: Thing
    x: float
    y: float
    side: float


def random_scene(rng: np.random.Generator) -> Scene:
    """One thing, two or three equal things, or two things in a relation, in the ratio 1 : 1 : 2."""
    kind = int(rng.integers(4))
    background = str(rng.choice(["", *BACKGROUNDS], p=[0.4, 0.2, 0.2, 0.2]))
    first = _random_thing(rng)
    if kind == 0:
        return Scene((first,), background=background)
    if kind == 1:
        return Scene((first,), number=int(rng.integers(2, 4)), background=background)
    second = _random_thing(rng)
    while (second.colour, second.shape) == (first.colour, first.shape):
        second = _random_thing(rng)
    relations: tuple[Relation, ...] = ("left", "right", "above", "below")
    return Scene((first, second), relation=relations[int(rng.integers(4))], background=background)


def _random_thing(rng: np.random.Generator) -> Thing:
    colour, shape = str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))
    return Thing(colour, shape, str(rng.choice(["", *SIZES], p=[0.5, 0.25, 0.25])))


def place(scene: Scene, rng: np.random.Generator) -> list[Placed]:
    """Where the scene's things are: each in its own part of the picture, so that they never touch."""
    if scene.relation:
        first, second = (_sized(thing, rng) for thing in scene.things)
        is_row = scene.relation in ("left", "right")
        swapped = scene.relation in ("right", "below")
        halves = [(0.5, 1.0), (0.0, 0.5)] if swapped else [(0.0, 0.5), (0.5, 1.0)]
        across = 0.5 + 0.5 * rng.uniform(-0.25, 0.25)
        found = []
        for (thing, side), half in zip((first, second), halves, strict=True):
            along = _within(half, side, rng)
            over = float(np.clip(across + rng.uniform(-0.12, 0.12), side / 2 + MARGIN, 1 - side / 2 - MARGIN))
            found.append(Placed(thing, along, over, side) if is_row else Placed(thing, over, along, side))
        return found
    thing, side = _sized(scene.things[0], rng)
    if scene.number == 1:
        return [Placed(thing, _within((0, 1), side, rng), _within((0, 1), side, rng), side)]
    quarters = rng.permutation(4)[: scene.number]
    return [
        Placed(thing, _within(_half(quarter % 2), side, rng), _within(_half(quarter // 2), side, rng), side)
        for quarter in map(int, quarters)
    ]


def _half(number: int) -> tuple[float, float]:
    return (number / 2, (number + 1) / 2)


def _sized(thing: Thing, rng: np.random.Generator) -> tuple[Thing, float]:
    size = thing.size or str(rng.choice(list(SIZES)))
    return thing, float(rng.uniform(*SIZES[size]))


def _within(part: tuple[float, float], side: float, rng: np.random.Generator) -> float:
    """A centre so that the whole thing is within a part of the picture, `MARGIN` from its ends where there is room."""
    low, high = part[0] + side / 2 + MARGIN, part[1] - side / 2 - MARGIN
    return float(rng.uniform(low, high)) if low < high else sum(part) / 2


def draw(scene: Scene, placed: list[Placed], size: int) -> np.ndarray:
    """The picture, uint8 (size, size, 3)."""
    picture = np.empty((size, size, 3), dtype=np.float64)
    picture[:] = BACKGROUNDS[scene.background or "white"]
    for one in placed:
        cover = coverage(one.thing.shape, one.x, one.y, one.side, size)[:, :, None]
        picture = picture * (1 - cover) + np.array(COLOURS[one.thing.colour]) * cover
    return np.round(picture).astype(np.uint8)


def coverage(shape: str, x: float, y: float, side: float, size: int) -> np.ndarray:
    """Share of each pixel that a shape covers, (size, size). x, y, side: of its box, as shares of the picture's side"""
    (left, right), (top, bottom) = (_pixels(centre, side, size) for centre in (x, y))
    cover = np.zeros((size, size))
    if right > left and bottom > top:
        across, down = (
            ((np.arange(low * FINER, high * FINER) + 0.5) / (size * FINER) - centre) * 2 / side
            for low, high, centre in ((left, right, x), (top, bottom, y))
        )
        inside = _inside(shape, across[None, :], down[:, None]).astype(np.float64)
        parts = inside.reshape(bottom - top, FINER, right - left, FINER)
        cover[top:bottom, left:right] = parts.mean(axis=(1, 3))
    return cover


def _pixels(centre: float, side: float, size: int) -> tuple[int, int]:
    """The first pixel that a box touches and the first after it."""
    return max(0, int((centre - side / 2) * size)), min(size, int((centre + side / 2) * size) + 1)


def _inside(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether points are inside of a shape whose box is [-1, 1] × [-1, 1]; y points down."""
    if shape == "circle":
        return np.asarray(x**2 + y**2 <= 1)
    if shape == "square":
        return np.asarray(np.maximum(abs(x), abs(y)) <= 0.9)
    if shape == "triangle":
        return np.asarray((abs(x) <= (y + 1) / 2) & (y <= 1))
    # A star: between a tip, at radius 1, and a notch its edge is straight.
    half = pi / 5
    angle = abs((np.arctan2(x, -y) + half) % (2 * half) - half)
    notch_x, notch_y = 0.45 * cos(half), 0.45 * sin(half)
    edge = notch_y / (notch_y * np.cos(angle) + (1 - notch_x) * np.sin(angle))
    return np.asarray(np.hypot(x, y) <= edge)


def caption(scene: Scene, language: Literal["en", "ko"], rng: np.random.Generator) -> str:
    """What the picture shows, in one of several wordings."""
    return _english(scene, rng) if language == "en" else _korean(scene, rng)


def _english(scene: Scene, rng: np.random.Generator) -> str:
    said = _english_thing(scene.things[0], scene.number)
    if scene.relation:
        said += f" {rng.choice(_PLACES[scene.relation])} {_english_thing(scene.things[1], 1)}"
    if scene.background:
        said += f" on {scene.background}" if rng.integers(3) == 0 else f" on a {scene.background} background"
    return said


def _english_thing(thing: Thing, number: int) -> str:
    words = f"{thing.size} {thing.colour} {thing.shape}{'s' if number > 1 else ''}".strip()
    return f"{'an' if number == 1 and words[0] in 'aeiou' else _NUMBERS[number]} {words}"


def _korean(scene: Scene, rng: np.random.Generator) -> str:
    first = _korean_thing(scene.things[0], rng)
    background = f"{_KOREAN_BACKGROUNDS[scene.background]} 배경에 " if scene.background else ""
    if scene.relation:
        second, where = _korean_thing(scene.things[1], rng), _KOREAN_PLACES[scene.relation]
        if rng.integers(3) == 0:
            return f"{background}{with_particle(first, '이')} {second} {where}에 있는 그림"
        return f"{background}{second} {where}에 있는 {first}"
    counted = f" {_KOREAN_NUMBERS[scene.number]} 개" if scene.number > 1 else ""
    return f"{background}{first}{counted}"


def _korean_thing(thing: Thing, rng: np.random.Generator) -> str:
    colour, shape = rng.choice(_KOREAN_COLOURS[thing.colour]), rng.choice(_KOREAN_SHAPES[thing.shape])
    return f"{_KOREAN_SIZES.get(thing.size, '')} {colour} {shape}".strip()
