"""What stages share that draw pictures without captions: training, measuring, and what the report shows."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from malmoi import device
from malmoi.cost import Cost, Sizes
from malmoi.data.pictures import HELDOUT, read_pictures, to_bytes_of
from malmoi.errors import DataError
from malmoi.evals.clip import features_of
from malmoi.evals.samples import measure_samples
from malmoi.facts import Block, Cell, Facts, Section, Sheet, SheetRow, Summary, Table, show
from malmoi.files import read_json, write_json
from malmoi.formats.own_pictures import load_clip
from malmoi.stage import Context, Finished, required
from malmoi.stages._pictures import (
    PNGS,
    arrays_of,
    extractor_name,
    read_sheet,
    tensor_of,
    train_pictures,
    write_sheet,
)
from malmoi.stages._training import loss_plots
from malmoi.train.pixels import PixelConfig

READS = {"pictures": required("pictures"), "clip": required("clip")}
ROWS, N_SHOWN, MOST = 64, 12, 300
FIGURES = {
    "sharpness": "sharpness: edges, of those of real pictures",
    "distance": "distance",
    "precision": "quality: as near to a real picture as real ones are (precision)",
    "recall": "real pictures that are among them (recall)",
    "covered": "clusters of real pictures with a good one in them",
}


class Draws(Protocol):
    """A network that draws: codes (B, n_code) -> pictures (B, 3, H, W) in -1..1."""

    n_code: int

    def draw(self, noise: Tensor) -> Tensor: ...


class Parts(NamedTuple):
    """What a stage defines."""

    cost: Callable[[Any, Sizes], Cost]
    run: Callable[[Context, Any], None]
    facts: Callable[[Finished], Facts]


def drawing_stage(algorithm: ModuleType, title: str, picture_s: float, lead: str) -> Parts:
    """A stage that trains a network that draws, and measures it.

    picture_s: of training on one of 32 pixels; lead: what the report says of it
    """

    name = algorithm.__name__.rpartition(".")[2]

    def cost(settings: PixelConfig, sizes: Sizes) -> Cost:
        return Cost(fixed_s=settings.n_steps * settings.batch_size * picture_s, holds_model=False)

    def run(context: Context, settings: PixelConfig) -> None:
        job = algorithm.build(settings, algorithm.Inputs(pictures=context.reads("pictures").path))
        trained: Any = train_pictures(context, job, settings.loop)
        if trained is not None:
            draw_and_measure(context, name, trained)

    return Parts(cost, run, lambda finished: sample_facts(finished, title, lead))


def draw_and_measure(context: Context, name: str, network: Draws) -> None:
    """Draw from random codes, measure, and write facts and sheet."""
    heldout = read_pictures(context.reads("pictures").path, HELDOUT)
    clip_folder = context.reads("clip").path
    clip, _ = load_clip(clip_folder)
    codes = torch.randn(min(MOST, len(heldout)), network.n_code, generator=torch.Generator().manual_seed(0))
    here = device.current().torch_device
    with torch.inference_mode():
        pictures = torch.cat([network.draw(part.to(here)).cpu() for part in torch.split(codes, ROWS)])
    arrays = to_bytes_of(pictures)
    drawn = tensor_of(arrays)
    try:
        found = measure_samples(
            heldout.pixels, drawn, features_of(clip, heldout.pixels), features_of(clip, drawn)
        )  # fmt: skip
    except ValueError as error:
        raise DataError(f"{name}: {error}; raise pictures.n or leave the stage out") from None
    found["extractor"] = extractor_name(clip_folder)
    write_json(context.out / f"{name}.json", found)
    shown = arrays_of(heldout.pixels[:N_SHOWN])
    write_sheet(context.out / PNGS, {"0 real": list(shown), "1 drawn": list(arrays[:N_SHOWN])})
    said = ", ".join(f"{key} {show(found['drawn'][key])} ({show(found['real'][key])})" for key in FIGURES)
    context.say(f"{said}; in brackets: of real pictures")


def sample_facts(finished: Finished, title: str, lead: str) -> Facts:
    """The samples, and their figures next to those of real pictures."""
    found: dict[str, Any] = read_json(finished.out / f"{finished.stage}.json")
    sheets = read_sheet(finished.out / PNGS)
    rows = [
        SheetRow(label, sheets[name], [label] * len(sheets[name]))
        for name, label in (("0 real", "real"), ("1 drawn", "drawn"))
    ]
    labels = {**FIGURES, "distance": f"{found['extractor']} (no FID)"}
    cells = [
        [Cell(label), *(Cell(show(found[who][key])) for who in ("drawn", "real"))] for key, label in labels.items()
    ]
    blocks: list[Block] = [
        Table([f"{found['n']:,} pictures; {found['modes']:,} clusters", "drawn", "real ones"], cells),
        Sheet("Real pictures, and what it draws", rows),
        *loss_plots(finished, "Training loss, nats a picture", "ink"),
    ]
    summary = [Summary(f"{title}: distance", found["drawn"]["distance"])]
    return Facts([Section(title, lead, blocks)], summary=summary, json={finished.stage: found})
