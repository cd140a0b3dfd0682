"""A picture model of few steps, learned from a denoiser, and how near it comes to the denoiser's many steps."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from malmoi.algorithms import consistency
from malmoi.cost import Cost, Sizes
from malmoi.data.pictures import HELDOUT, TRAIN, Pictures, credits_of, read_pictures
from malmoi.evals.clip import features_of
from malmoi.evals.drawings import draw_captions, judged, scene_of, turned_captions
from malmoi.facts import Block, Cell, Facts, Line, Note, Plot, Section, Sheet, SheetRow, Summary, Table, show
from malmoi.files import read_json, write_json
from malmoi.formats.own_pictures import load_clip, load_own, save_own
from malmoi.image.metrics import frechet_distance
from malmoi.image.model import PictureModel
from malmoi.image.towers import Clip
from malmoi.stage import MODEL, Context, Finished, required
from malmoi.stages._pictures import (
    LEAST,
    PNGS,
    Steps,
    arrays_of,
    extractor_name,
    read_sheet,
    tensor_of,
    train_pictures,
    write_sheet,
)
from malmoi.stages._training import loss_plots

STEPS, SAMPLER = 4, "lcm"
N_SHOWN = 12


class Settings(consistency.Config):
    """How it learns, and what is drawn to measure it."""

    n: int = Field(128, ge=1)
    """Held-out captions that are drawn at most, with each number of steps."""
    few: Steps = Field((1, 2, 4), min_length=1)
    """Numbers of steps of this model."""
    many: Steps = Field((1, 2, 4, 8, 16, 32, 100), min_length=1)
    """Numbers of steps of the denoiser, to compare."""


Inputs = consistency.Inputs
READS = {"pictures": required("pictures"), "clip": required("clip"), "model": required("picture model")}
MAKES = {"picture model of few steps": {"": MODEL, "facts": "consistency.json"}}
TRAINS = True
LABEL = "few steps"
UNUSED = consistency.UNUSED


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Six passes of the network for each picture: forward and backward, the other point, and the denoiser twice."""
    drawn = settings.n * (sum(settings.few) + 2 * sum(settings.many)) * 2e-3
    return Cost(fixed_s=settings.n_steps * settings.batch_size * 1e-2 + drawn, holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Train, save what draws in few steps, and compare both."""
    folder, source = context.reads("pictures").path, context.reads("model").path
    job = consistency.build(settings, consistency.Inputs(pictures=folder, model=source))
    trained = train_pictures(context, job, settings.loop)
    if trained is None:
        return
    teacher = load_own(source)
    about = {**teacher.about, "steps": STEPS, "guidance": 1.0, "sampler": SAMPLER}
    model = replace(teacher, denoiser=trained, few_steps=True, about=about)
    credits = credits_of(read_pictures(folder, TRAIN))
    save_own(context.out / MODEL, model, {"run": context.run_id, "parents": context.parents, **credits})
    heldout, (clip, _) = read_pictures(folder, HELDOUT), load_clip(context.reads("clip").path)
    tries = [("many", teacher, n, settings.guidance) for n in settings.many]
    tries += [("few", load_own(context.out / MODEL), n, 1.0) for n in settings.few]
    captions = turned_captions(heldout.rows[: settings.n])
    found: dict[str, Any] = {
        "extractor": extractor_name(context.reads("clip").path), "n": len(captions),
        "guidance": settings.guidance, "captions": captions[:N_SHOWN], "many": [], "few": [],
    }  # fmt: skip
    sheets = {"0 real": list(arrays_of(heldout.pixels[:N_SHOWN]))}
    for name, one, n_steps, guidance in tries:
        row, drawn = _measure(one, n_steps, guidance, captions, heldout, clip, settings.seed)
        found[name].append(row)
        sheets[f"{'1' if name == 'few' else '2'} {name} {n_steps:04}"] = list(drawn[:N_SHOWN])
        said = f"distance {row['distance']:.3f}, " if "distance" in row else ""
        context.say(f"{'few steps' if name == 'few' else 'denoiser'}, {n_steps}: {said}{row['seconds']:.4f} s each")
    write_json(context.out / "consistency.json", found)
    write_sheet(context.out / PNGS, sheets)


def _measure(
    model: PictureModel, n_steps: int, guidance: float, captions: Sequence[str], heldout: Pictures, clip: Clip,
    seed: int,
) -> tuple[dict[str, Any], np.ndarray]:  # fmt: skip
    began = time.monotonic()
    drawn = draw_captions(model, captions, n_steps, guidance, model.sampler, seed)
    row: dict[str, Any] = {"steps": n_steps, "seconds": (time.monotonic() - began) / len(captions)}
    rows = heldout.rows[: len(captions)]
    if len(drawn) >= LEAST and len(heldout) >= LEAST:
        pixels = tensor_of(drawn)
        row["distance"] = frechet_distance(features_of(clip, heldout.pixels), features_of(clip, pixels))
    if all("scene" in one for one in rows):
        right = judged(drawn, [scene_of(one) for one in rows])
        row |= {key: right[key] for key in ("colour", "shape", "all_right")}
    return row, drawn


def facts(finished: Finished) -> Facts:
    """Both models by their steps and their seconds, and the same captions drawn by both."""
    found = read_json(finished.out / "consistency.json")
    labels = {"few": "few steps", "many": f"denoiser, guidance {found['guidance']:g}"}
    rows = [(labels[name], row) for name in labels for row in found[name]]
    keys = [key for key in ("distance", "colour", "shape", "all_right") if key in rows[0][1]]
    head = ["model", "steps", "seconds a picture", *(key.replace("_", " ") for key in keys)]
    cells = [
        [Cell(label), Cell(f"{row['steps']}"), Cell(f"{row['seconds']:.4f}"), *(Cell(_shown(row[key])) for key in keys)]
        for label, row in rows
    ]
    sheets, captions = read_sheet(finished.out / PNGS), found["captions"]
    names = [(name, _name(name)) for name in sheets]
    shown = [SheetRow(label, sheets[name], captions) for name, label in names if label]
    blocks: list[Block] = [Table(head, cells), Sheet("The same captions and noise", shown, captions)]
    summary = []
    if "distance" in keys:
        for key, label in (("steps", "steps"), ("seconds", "seconds a picture")):
            lines = [
                Line([(row[key], row["distance"]) for row in found[name]], colour, labels[name])
                for name, colour in (("few", "green"), ("many", "ink"))
            ]
            blocks.append(Plot(f"{found['extractor']} by {label}", lines, x_label=label, y_limits=(0, None)))
        summary = [Summary(f"few steps: distance in {row['steps']}", row["distance"]) for row in found["few"][-1:]]
    else:
        blocks.append(Note(f"Distances are left out: they need {LEAST} held-out pictures."))
    lead = (
        "This network begins as the denoiser. From any noise, it learns to predict the picture at the end of the "
        "denoiser's path, with guidance included. It draws in few steps of one pass; the denoiser needs two. "
        f"Both drew {found['n']:,} held-out captions; distances are as in the section on drawings."
    )
    plots = loss_plots(finished, "Training loss: distance between pictures seen from two points", "ink")
    return Facts([Section("Few steps", lead, [*blocks, *plots])], summary=summary, json={finished.stage: found})


def _shown(value: Any) -> str:
    return show(value["mean"] if isinstance(value, dict) else value)


def _name(sheet: str) -> str:
    """What a row of the sheet is called; "" for those that would only fill the page."""
    _, kind, *steps = sheet.split()
    if kind == "real":
        return "real"
    n = int(steps[0])
    if kind == "few":
        return f"few steps, {n}"
    return f"denoiser, {n}" if n in (1, 4, 16) else ""
