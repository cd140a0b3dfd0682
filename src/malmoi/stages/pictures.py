"""Pictures with captions, without exact duplicates, and split so that some compositions are never trained on."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from malmoi import config, progress
from malmoi.config import Seed
from malmoi.cost import Cost, Sizes
from malmoi.data.pictures import HELDOUT, TRAIN, write_pictures
from malmoi.errors import DataError
from malmoi.facts import Facts, Listing, Section, Sheet, SheetRow, listed
from malmoi.files import read_json, write_json
from malmoi.stage import Context, Finished, Role
from malmoi.stages._pictures import PNGS, read_sheet, write_sheet
from malmoi.synthetic.shapes import caption, draw, place, random_scene

N_SHOWN = 16
OURS = "Apache-2.0 (drawn by Malmoi)"


class Settings(config.Settings):
    """Which pictures, and how they are split."""

    source: Literal["shapes"] = "shapes"
    """Coloured shapes, drawn by code."""
    size: int = Field(32, ge=16, le=512)
    """Side of the pictures, in pixels."""
    n: int = Field(20_000, ge=20)
    """Pictures, before duplicates are dropped: as many as are drawn, or at most as many as are read."""
    heldout_share: float = Field(0.15, gt=0, lt=0.9)
    """Share of the compositions that are held out with all of their pictures."""
    n_heldout: int = Field(600, gt=0)
    """Held-out pictures at most."""
    seed: Seed = 1
    """Of the drawings and of the split."""


READS: dict[str, Role] = {}
MAKES = {"pictures": {"": ".", "facts": "pictures.json"}}


@dataclass(frozen=True)
class Picture:
    """pixels: uint8 (size, size, 3); concept: what is held out as a whole; row: what is known of it"""

    pixels: np.ndarray
    concept: str
    row: Mapping[str, Any]


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Drawing."""
    return Cost(fixed_s=settings.n * (settings.size / 32) ** 2 * 1.2e-3, holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Draw or read, drop duplicates, split, and write both sides."""
    counts: Counter[str] = Counter()
    sides: dict[str, list[Picture]] = {TRAIN: [], HELDOUT: []}
    seen: set[bytes] = set()
    for picture in progress.track(_drawn(settings), "pictures", settings.n):
        captions = sorted(picture.row["captions"].items())
        digest = hashlib.sha256(picture.pixels.tobytes() + repr(captions).encode()).digest()
        side = HELDOUT if is_held_out(picture.concept, settings) else TRAIN
        if digest in seen:
            counts["exact duplicates"] += 1
        elif side == HELDOUT and len(sides[HELDOUT]) >= settings.n_heldout:
            counts["more held-out ones than asked for"] += 1
        else:
            seen.add(digest)
            sides[side].append(picture)
    for side, pictures in sides.items():
        if not pictures:
            raise DataError(f"pictures: none is left for {side}; raise pictures.n, or change pictures.heldout_share")
        rows = [{**picture.row, "concept": picture.concept, "split": side} for picture in pictures]
        write_pictures(context.out, side, np.stack([picture.pixels for picture in pictures]), rows)
    n_of = {side: len(pictures) for side, pictures in sides.items()}
    facts = {
        "pictures": n_of,
        "concepts": {side: len({picture.concept for picture in pictures}) for side, pictures in sides.items()},
        "licences": dict(Counter(picture.row["licence"] for picture in sides[TRAIN])),
        "dropped": dict(counts),
        "captions": [list(picture.row["captions"].values()) for picture in sides[TRAIN][:N_SHOWN]],
    }
    write_json(context.out / "pictures.json", facts)
    write_sheet(context.out / PNGS, {"train": [picture.pixels for picture in sides[TRAIN][:N_SHOWN]]})
    context.say(
        f"{n_of[TRAIN]:,} pictures to train on, {n_of[HELDOUT]:,} held out; dropped: {listed(counts) or 'nothing'}"
    )


def is_held_out(concept: str, settings: Settings) -> bool:
    """Whether a composition is held out: by its own hash, so that more pictures move none to the other side."""
    digest = hashlib.sha256(f"{settings.seed} {concept}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < settings.heldout_share


def _drawn(settings: Settings) -> Iterator[Picture]:
    rng = np.random.default_rng(settings.seed)
    for _ in range(settings.n):
        scene = random_scene(rng)
        pixels = draw(scene, place(scene, rng), settings.size)
        captions = {"en": caption(scene, "en", rng), "ko": caption(scene, "ko", rng)}
        row = {"captions": captions, "source": settings.source, "licence": OURS, "scene": asdict(scene)}
        yield Picture(pixels, scene.composition, row)


def facts(finished: Finished) -> Facts:
    """How many, what was dropped, and some of them."""
    found = read_json(finished.out / "pictures.json")
    rows = [
        (label, f"{found['pictures'][side]:,} pictures of {found['concepts'][side]:,} compositions")
        for side, label in ((TRAIN, "to train on"), (HELDOUT, "held out"))
    ]
    rows += [("licence", listed(found["licences"])), ("dropped", listed(found["dropped"]) or "nothing")]
    shown = read_sheet(finished.out / PNGS)["train"]
    labels = [" · ".join(texts) for texts in found["captions"]]
    sheet = Sheet("Some of the pictures to train on", [SheetRow("", shown, labels)])
    lead = (
        "Pictures with captions. A composition that is held out is held out with all of its pictures, whatever their "
        "sizes, backgrounds and wordings: what is drawn for it later was never seen."
    )
    return Facts([Section("Pictures", lead, [Listing(rows), sheet])])
