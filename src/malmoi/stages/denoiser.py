"""A picture model: a transformer that takes noise away from pictures, guided by captions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from malmoi import device
from malmoi.algorithms import denoiser
from malmoi.cost import Cost, Sizes
from malmoi.data.pictures import HELDOUT, TRAIN, Pictures, credits_of, read_pictures, to_bytes_of
from malmoi.evals.drawings import draw_captions, turned_captions
from malmoi.facts import Facts, Section, Sheet, SheetRow, Summary
from malmoi.files import read_json, write_json
from malmoi.formats.own_pictures import load_tower, save_own
from malmoi.image.dit import Denoiser
from malmoi.image.model import PictureModel
from malmoi.image.samplers import samplers_of
from malmoi.stage import MODEL, Context, Finished, required
from malmoi.stages._pictures import PNGS, from_png, picture_cost, read_sheet, train_pictures, write_sheet
from malmoi.stages._training import loss_plots
from malmoi.train.job import Job
from malmoi.train.loop import Step

Settings, Inputs = denoiser.Config, denoiser.Inputs
READS = {"pictures": required("pictures"), "clip": required("clip")}
MAKES = {"picture model": {"": MODEL, "facts": "denoiser.json"}}
TRAINS = True
UNUSED = denoiser.UNUSED
STEPS, GUIDANCE = 20, 3.0
"""With which it draws by default."""
SHOWN_AT = (0.03, 0.1, 0.3, 1.0)
"""Shares of the training, after the captions' reader has learned, after which the same captions are drawn."""
SKETCHES = "sketches"
N_SHOWN = 10
SHAPES_KNOWN = {
    "en": "Knows one to three coloured shapes on white, grey or black, such as “a red circle left of a blue square”.",
    "ko": "하얀색, 회색, 검은색 배경에 색깔 도형을 세 개까지 그립니다. 예: “파란 네모 왼쪽에 있는 빨간 원”.",
}


def cost(settings: denoiser.Config, sizes: Sizes) -> Cost:
    """Forward and backward, for pixels of 32 × 32: of the reader in its share of the steps, then of the rest."""
    shape, side = settings.model, 32
    tokens = (side // shape.patch) ** 2
    blocks = tokens * shape.n_layer * 32 * shape.n_embd**2
    reader = (16 * (3 + shape.n_text_layer) + tokens) * 24 * shape.n_embd**2
    outer, local = 3, 0
    for depth, n in enumerate(shape.n_local, start=1):
        local += (side // 2**depth) ** 2 * 18 * n * (4 * depth * n + 8 * outer)
        outer = n
    share = settings.reading_share
    each = share * 3 * reader + (1 - share) * (3 * (blocks + local) + reader)
    return picture_cost(each, settings.n_steps * settings.batch_size)


def run(context: Context, settings: denoiser.Config) -> None:
    """Train; draw the same held-out captions at several points; save what draws."""
    inputs = denoiser.Inputs(pictures=context.reads("pictures").path, clip=context.reads("clip").path)
    job = denoiser.build(settings, inputs)
    heldout = read_pictures(inputs.pictures, HELDOUT)
    captions = turned_captions(heldout.rows[:N_SHOWN])
    watch = _Watch(job, inputs.clip, settings, heldout.size, captions, context.folder / "watched")
    trained = train_pictures(context, job, settings.loop, [watch])
    if trained is None:
        return
    assert isinstance(trained, Denoiser)
    of_train = read_pictures(inputs.pictures, TRAIN)
    model = picture_model(trained, inputs.clip, settings, heldout.size, known(of_train))
    about = {"run": context.run_id, "parents": context.parents, **credits_of(of_train)}
    save_own(context.out / MODEL, model, about)
    write_sheet(context.out / PNGS, watch.rows())
    facts = {"captions": captions, "parameters": sum(weight.numel() for weight in trained.parameters())}
    write_json(context.out / "denoiser.json", facts)


def known(pictures: Pictures) -> dict[str, str]:
    """What a model of these pictures knows, in English and in Korean."""
    if all("scene" in row for row in pictures.rows):
        return SHAPES_KNOWN
    n = len(pictures)
    return {
        "en": f"Knows what is in the {n:,} pictures that it was trained on, in captions worded like theirs.",
        "ko": f"학습한 그림 {n:,}장에 나온 것을, 그 설명과 비슷하게 쓰면 그립니다.",
    }


def picture_model(
    network: Denoiser, clip: Path, settings: denoiser.Config, size: tuple[int, int], about: dict[str, str]
) -> PictureModel:
    """What draws with a denoiser of pixels. size: height and width of its pictures"""
    process, text = denoiser.PROCESSES[settings.process], load_tower(clip)
    defaults: dict[str, Any] = {"steps": STEPS, "guidance": GUIDANCE, "sampler": samplers_of(process)[0]}
    config = network.config
    return PictureModel(process, network, text, None, size, config.n_channels, size[0], {**about, **defaults})


class _Watch:
    """Draws the same captions from the same noise at several points of the training, and keeps the pictures as files,
    so that a run that goes on after a stop has them all."""

    def __init__(
        self,
        job: Job,
        clip: Path,
        settings: denoiser.Config,
        size: tuple[int, int],
        captions: Sequence[str],
        folder: Path,
    ) -> None:
        network = job.averaged
        assert isinstance(network, Denoiser)
        self.model = picture_model(network, clip, settings, size, {})
        self.captions, self.folder = captions, folder
        self.read_at = settings.n_reading
        rest = job.n_steps - self.read_at
        self.at = {self.read_at + max(1, round(share * rest)) for share in SHOWN_AT}

    def __call__(self, step: Step) -> None:
        if not device.current().is_main:
            return
        if step.step == self.read_at:
            write_sheet(self.folder, {SKETCHES: list(self._sketched())})
        elif step.step in self.at:
            with torch.random.fork_rng(devices=[]):
                drawn = draw_captions(self.model, self.captions, STEPS, GUIDANCE, self.model.sampler)
            write_sheet(self.folder, {f"{step.step:07}": list(drawn)})

    def _sketched(self) -> np.ndarray:
        """What the reader takes the captions to tell of, as large as the pictures, uint8 (N, H, W, 3)."""
        network, context = self.model.denoiser, self.model.embed(self.captions)
        assert isinstance(network, Denoiser)
        with torch.inference_mode():
            sketch, _ = network.sketch(context.states, context.mask)
        return to_bytes_of(F.interpolate(sketch, self.model.size))

    def rows(self) -> dict[str, list[np.ndarray]]:
        """Step, or `SKETCHES`, -> its pictures."""
        return {name: [from_png(data) for data in files] for name, files in read_sheet(self.folder).items()}


def facts(finished: Finished) -> Facts:
    """The loss, speed, and how noise becomes pictures."""
    found = read_json(finished.out / "denoiser.json")
    rows = [
        SheetRow("the reader's sketch" if name == SKETCHES else f"step {int(name):,}", files, found["captions"])
        for name, files in sorted(read_sheet(finished.out / PNGS).items(), key=lambda row: (row[0] != SKETCHES, row[0]))
    ]
    sheet = Sheet("The same held-out captions, from the same noise, as it learns", rows, found["captions"])
    summary = []
    if metrics := finished.metrics:
        speed = sum(row["count"] for row in metrics) / sum(row["seconds"] for row in metrics)
        summary.append(Summary("denoiser: pictures trained on per second", speed))
        found["pictures_per_s"] = speed
    lead = (
        f"A network of {found['parameters']:,} weights. First a part of it learns to read: to sketch what a caption "
        "describes. Then the rest learns to predict what a noisy picture was without its noise. To draw, it takes "
        "pure noise and removes it in steps; the caption guides each step."
    )
    plots = loss_plots(finished, "Training loss: squared error, weighted by time", "ink")
    return Facts([Section("Denoiser", lead, [sheet, *plots])], summary=summary, json={finished.stage: found})
