"""How often the right caption can come first at all: recall at 1 of a reader that knows exactly what is drawn.

Several captions can fit a picture: "a red circle" fits a large one, too. The reader takes the one under which the
picture is likeliest, and guesses among equals, as CLIP does, which judges each caption by itself. One that also counts
how often each caption is among the held-out ones is above it. For the held-out pictures of `recipes/picture.toml`:

    python -m benchmarks.picture_recall
"""

import argparse
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np

from malmoi.stages.pictures import Settings, is_held_out
from malmoi.synthetic.shapes import OPPOSITE, SIZES, Placed, Relation, Scene, Thing, caption, draw, place, random_scene

LANGUAGES: tuple[Literal["en", "ko"], ...] = ("en", "ko")


@dataclass(frozen=True)
class Shown:
    """What is drawn, or what is said: of what is drawn each size is known, and the background is never ""."""

    things: tuple[Thing, ...]
    number: int
    relation: Relation
    background: str

    @classmethod
    def of(cls, scene: Scene) -> "Shown":
        """Both ways to say a relation are one: "left" or "above"."""
        if scene.relation in ("right", "below"):
            return cls(scene.things[::-1], 1, OPPOSITE[scene.relation], scene.background)
        return cls(scene.things, scene.number, scene.relation, scene.background)

    def likelihood(self, said: "Shown") -> float:
        """Of this picture, up to a factor that no caption changes: each size that is said makes it twice as likely.
        0 if it is not what is said."""
        same = (self.number, self.relation, len(self.things)) == (said.number, said.relation, len(said.things))
        if not same or self.background != (said.background or "white"):
            return 0.0
        pairs = list(zip(self.things, said.things, strict=True))
        if any((a.colour, a.shape) != (b.colour, b.shape) or b.size not in ("", a.size) for a, b in pairs):
            return 0.0
        return float(2 ** sum(bool(b.size) for _, b in pairs))


def drawn(scene: Scene, placed: list[Placed]) -> Shown:
    """The picture: its things with the sizes that they have."""
    sizes = ["small" if one.side < SIZES["large"][0] else "large" for one in placed[: len(scene.things)]]
    things = tuple(Thing(one.colour, one.shape, size) for one, size in zip(scene.things, sizes, strict=True))
    return Shown.of(Scene(things, scene.number, scene.relation, scene.background or "white"))


def held_out(settings: Settings) -> list[tuple[Shown, Shown, dict[str, str]]]:
    """What held-out pictures show, what their captions say, and the captions, as the stage `pictures` makes them."""
    rng, found, seen = np.random.default_rng(settings.seed), [], set[bytes]()
    for _ in range(settings.n):
        scene = random_scene(rng)
        placed = place(scene, rng)
        pixels = draw(scene, placed, settings.size)
        texts = {str(language): caption(scene, language, rng) for language in LANGUAGES}
        digest = hashlib.sha256(pixels.tobytes() + repr(sorted(texts.items())).encode()).digest()
        if is_held_out(scene.composition, settings) and digest not in seen:
            found.append((drawn(scene, placed), Shown.of(scene), texts))
        seen.add(digest)
    return found[: settings.n_heldout]


def bound(rows: list[tuple[Shown, Shown, dict[str, str]]], language: str, *, counting: bool = False) -> float:
    """Expected recall at 1. A caption that equals the right one is right, as in `evals.clip`.

    counting: take the caption that is likeliest with all that equal it
    """
    right = []
    for shown, _, own in rows:
        likelihoods = defaultdict[str, list[float]](list)
        for _, said, texts in rows:
            likelihoods[texts[language]].append(shown.likelihood(said))
        best = max(sum(found) if counting else max(found) for found in likelihoods.values())
        among = {
            text: 1 if counting else len(found)
            for text, found in likelihoods.items()
            if (sum(found) if counting else max(found)) == best
        }
        right.append(among.get(own[language], 0) / sum(among.values()))
    return sum(right) / len(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=24_000, help="pictures drawn, as pictures.n")
    parser.add_argument("--seed", type=int, default=1, help="as pictures.seed")
    chosen = parser.parse_args()
    rows = held_out(Settings(n=chosen.n, seed=chosen.seed))
    for language in LANGUAGES:
        distinct = len({texts[language] for _, _, texts in rows})
        alone, counting = bound(rows, language), bound(rows, language, counting=True)
        print(f"{language}: {alone:.3f}, counting {counting:.3f}; {len(rows)} pictures, {distinct} distinct captions")


if __name__ == "__main__":
    main()
