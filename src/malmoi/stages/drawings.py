"""What a picture model draws of captions that it never saw, judged by an oracle that is measured first."""

import time
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from malmoi import config
from malmoi.config import Seed
from malmoi.cost import Cost, Sizes
from malmoi.data.pictures import HELDOUT, TRAIN, Pictures, read_pictures
from malmoi.evals.clip import features_of
from malmoi.evals.drawings import draw_captions, judged, scene_of, turned_captions
from malmoi.facts import (
    Block,
    Card,
    Cell,
    Facts,
    Line,
    Note,
    Plot,
    Section,
    Sheet,
    SheetRow,
    Summary,
    Table,
    figures,
    show,
)
from malmoi.files import read_json, write_json
from malmoi.formats.own_pictures import load_clip, load_own
from malmoi.image.draw import MOST_GUIDANCE
from malmoi.image.metrics import frechet_distance, memorised, precision_recall
from malmoi.stage import Context, Finished, required
from malmoi.stages._pictures import LEAST, PNGS, Steps, arrays_of, extractor_name, read_sheet, tensor_of, write_sheet

N_SHOWN = 12


class Settings(config.Settings):
    """How many pictures are drawn, and which settings are swept."""

    n: int = Field(200, ge=4)
    """Held-out captions that are drawn at most."""
    n_sweep: int = Field(64, ge=4)
    """Of them, those that are drawn with each setting of the sweeps."""
    guidances: tuple[Annotated[float, Field(ge=0, le=MOST_GUIDANCE)], ...] = (1.0, 2.0, 3.0, 5.0)
    """Strengths of guidance to compare."""
    steps: Steps = (1, 2, 4, 8, 16, 32)
    """Numbers of steps to compare."""
    seed: Seed = 1
    """Of the noise."""


READS = {"pictures": required("pictures"), "clip": required("clip"), "model": required("picture model")}
MAKES = {"drawings": {"facts": "drawings.json", "sheet": PNGS}}
JUDGED = {
    "colour": "colours right, at the place of their thing",
    "shape": "shapes right",
    "number": "number of things right",
    "sizes": "sizes right, where said",
    "relation": "left, right, above, below right",
    "background": "background right",
    "all_right": "all right",
}


NO_ORACLE = (
    "No oracle: its rules are for coloured shapes drawn by code, and do not apply to these pictures. The figures below "
    "compare features of pictures. To know whether a drawing shows what its caption says, look at it."
)


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Drawing: two passes of the network a step."""
    n = settings.n * 20 + settings.n_sweep * (20 * len(settings.guidances) + sum(settings.steps))
    return Cost(fixed_s=n * 0.006, holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Validate the oracle on real drawings, draw held-out captions, and measure."""
    folder, clip_folder = context.reads("pictures").path, context.reads("clip").path
    heldout, train = read_pictures(folder, HELDOUT), read_pictures(folder, TRAIN)
    model = load_own(context.reads("model").path)
    clip, _ = load_clip(clip_folder)
    asked = Asked(heldout, settings)
    steps, guidance = model.about["steps"], model.about["guidance"]
    real = features_of(clip, heldout.pixels)
    drawn = draw_captions(model, asked.texts, steps, guidance, model.sampler, settings.seed)
    own, of_train = features_of(clip, tensor_of(drawn)), features_of(clip, train.pixels)
    nearest, share = memorised(tensor_of(drawn), train.pixels, own, of_train)
    found: dict[str, Any] = {
        "extractor": extractor_name(clip_folder), "steps": steps, "guidance": guidance, "n": len(drawn),
        "memorised": share, "captions": asked.texts[:N_SHOWN], **compared(real, own),
    }  # fmt: skip
    if asked.scenes:
        found["oracle"] = judged(arrays_of(heldout.pixels)[: settings.n], asked.scenes)
        found["drawn"] = judged(drawn, asked.scenes)
    sheets = {
        "0 real": list(arrays_of(heldout.pixels)[:N_SHOWN]), "1 drawn": list(drawn[:N_SHOWN]),
        "2 nearest": [arrays_of(train.pixels)[i] for i in nearest[:N_SHOWN]],
    }  # fmt: skip
    found["sweeps"] = {"guidance": [], "steps": []}
    tries = [("guidance", value, steps, value) for value in settings.guidances]
    tries += [("steps", float(n), n, guidance) for n in settings.steps]
    for name, value, n_steps, strength in tries:
        began = time.monotonic()
        part = asked.texts[: settings.n_sweep]
        pictures = draw_captions(model, part, n_steps, strength, model.sampler, settings.seed)
        row = {"value": value, **compared(real, features_of(clip, tensor_of(pictures)))}
        if asked.scenes:
            scenes = asked.scenes[: settings.n_sweep]
            row |= {key: one["mean"] for key, one in judged(pictures, scenes).items()}
        said = f"distance {row['distance']:.2f}, " if "distance" in row else ""
        context.say(f"{name} {value:g}: {said}{time.monotonic() - began:.1f} s")
        found["sweeps"][name].append(row)
        sheets[f"{name} {value:05g}"] = list(pictures[:N_SHOWN])
    write_json(context.out / "drawings.json", found)
    write_sheet(context.out / PNGS, sheets)


def compared(real: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
    """Distances, precision and recall of features; nothing if there are too few."""
    if min(len(real), len(drawn)) < LEAST:
        return {}
    half, (precision, recall) = len(real) // 2, precision_recall(real, drawn)
    return {
        "distance": frechet_distance(real, drawn), "floor": frechet_distance(real[:half], real[half:]),
        "precision": precision, "recall": recall,
    }  # fmt: skip


class Asked:
    """The captions that are drawn, their languages in turn, and what they say, where the pictures are drawn by code."""

    def __init__(self, heldout: Pictures, settings: Settings) -> None:
        rows = heldout.rows[: settings.n]
        self.texts = turned_captions(rows)
        self.scenes = [scene_of(row) for row in rows] if all("scene" in row for row in rows) else []


def facts(finished: Finished) -> Facts:
    """The sheets, the oracle's figures, distances, and the sweeps."""
    found = read_json(finished.out / "drawings.json")
    sheets, captions = read_sheet(finished.out / PNGS), found["captions"]
    names = {"0 real": "real", "1 drawn": "drawn", "2 nearest": "nearest in training"}
    rows = [SheetRow(names[name], sheets[name], captions) for name in sorted(names)]
    blocks: list[Block] = [
        Sheet("Held-out captions: real, drawn, and the training picture nearest to it", rows, captions)
    ]
    cards, summary = [], []
    if "drawn" in found:
        blocks.append(figures(found["drawn"], JUDGED))
        cells = [[Cell(label), Cell(show(found["oracle"][key]["mean"]))] for key, label in JUDGED.items()]
        blocks.append(Note("The oracle first looked at real pictures of the same captions; what it says of them:"))
        blocks.append(Table(["on real pictures", "oracle says right"], cells))
        cards = [Card("all right, as the oracle sees it", found["drawn"]["all_right"])]
        summary = [Summary(f"drawings: {JUDGED[key]}", found["drawn"][key]) for key in ("colour", "shape", "all_right")]
    else:
        blocks.append(Note(NO_ORACLE))
    extractor = found["extractor"]
    labels = {
        "distance": f"Fréchet distance on own features, {extractor} (no FID)",
        "floor": "the same between halves of the real pictures",
        "precision": "precision",
        "recall": "recall",
        "memorised": "drawings that are copies of a training picture",
    }
    blocks.append(figures(found, labels))
    if "distance" not in found:
        blocks.append(Note(f"Distances are left out: they need {LEAST} held-out pictures, and {found['n']} are here."))
    for name, label in (("guidance", "guidance"), ("steps", "steps")):
        swept = [
            SheetRow(f"{label} {row['value']:g}", sheets[f"{name} {row['value']:05g}"], captions)
            for row in found["sweeps"][name]
        ]
        blocks.append(Sheet(f"The same captions and noise, with other {label}", swept, captions))
        points = [(row["value"], row["distance"]) for row in found["sweeps"][name] if "distance" in row]
        if not points:
            continue
        blocks.append(Plot(f"{extractor} by {label}", [Line(points, "ink")], x_label=label, y_limits=(0, None)))
    lead = (
        f"{found['n']:,} captions that were held out, drawn in {found['steps']} steps with "
        f"guidance {found['guidance']:g}. Lower distances are better; the floor is what real pictures have."
    )
    return Facts([Section("Drawings", lead, blocks)], cards, summary, json={finished.stage: found})
