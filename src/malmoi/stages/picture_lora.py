"""A LoRA of one's own pictures for a Stable Diffusion, in a file that diffusers loads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from pydantic import Field
from torch import nn

from malmoi import __version__
from malmoi.algorithms import picture_lora
from malmoi.cost import Cost, Sizes
from malmoi.data.pictures import TRAIN, credits_of, read_pictures
from malmoi.evals.drawings import draw_captions, turned_captions
from malmoi.facts import Facts, Section, Sheet, SheetRow
from malmoi.files import folder_atomic, read_json, write_json
from malmoi.formats.inspect import ABOUT, PICTURE_LORA
from malmoi.formats.locate import LORA_WEIGHTS
from malmoi.formats.picture_lora import write_lora
from malmoi.formats.pictures import load_pictures
from malmoi.image.lora import LoraLayer, adapters_of
from malmoi.image.model import PictureModel
from malmoi.stage import MODEL, ONLY, Context, ExternalInput, Finished, Input, required
from malmoi.stages._pictures import PNGS, picture_cost, read_sheet, train_pictures, write_sheet
from malmoi.stages._training import loss_plots
from malmoi.workspace.folder import Workspace
from malmoi.workspace.picture_models import find_picture_model


class Settings(picture_lora.Config):
    """Settings of a LoRA of pictures, and what it is for."""

    base: str = Field(min_length=1)
    """A Stable Diffusion of the workspace, or its folder."""
    n_shown: int = Field(4, ge=0, le=16)
    """Captions that are drawn without and with it, for the report."""


Inputs = picture_lora.Inputs
READS = {"pictures": required("pictures")}
MAKES = {"picture lora": {"": MODEL, "facts": "lora.json"}}
TRAINS = True
UNUSED = picture_lora.UNUSED
LABEL = "LoRA of pictures"
STEPS = 20
"""Of the pictures for the report."""
FLOPS = 3 * 0.7e12
"""Of a picture of 512 × 512 pixels in the U-Net of Stable Diffusion 1.5, forward and backward."""


def external_inputs(settings: Settings, workspace: Workspace) -> dict[str, ExternalInput]:
    """The Stable Diffusion. Raises UserError if it is missing."""
    folder = find_picture_model(workspace, settings.base)[1].resolve()
    return {MODEL: ExternalInput(Input(MODEL, MODEL, {ONLY: folder}), folder)}


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """As for Stable Diffusion 1.5 and pictures of 512 pixels: what it is and how large they are is not known here."""
    drawn = 2 * STEPS * 2 * settings.n_shown / 3
    return picture_cost(FLOPS, settings.n_steps * settings.batch_size + drawn)


def run(context: Context, settings: Settings) -> None:
    """Train the adapters; draw without and with them; save only them."""
    inputs = Inputs(pictures=context.reads("pictures").path, model=context.reads(MODEL).path)
    model = load_pictures(inputs.model)
    job = picture_lora.build(settings, inputs, model)
    trained = train_pictures(context, job, settings.loop)
    if trained is None:
        return
    pictures = read_pictures(inputs.pictures, TRAIN)
    lora = adapters_of(trained)
    about = {"run": context.run_id, "parents": context.parents, "base": settings.base, **credits_of(pictures)}
    with folder_atomic(context.out / MODEL) as partial:
        write_lora(partial / LORA_WEIGHTS, lora)
        write_json(partial / ABOUT, {"malmoi": __version__, "kind": PICTURE_LORA, **about})
    captions = turned_captions(pictures.rows[: settings.n_shown])
    if captions:
        shown = replace(model, size=pictures.size)
        with _without(trained):
            before = _drawn(shown, captions)
        write_sheet(context.out / PNGS, {"0-without": before, "1-with": _drawn(shown, captions)})
    n = sum(one.down.numel() + one.up.numel() for one in lora.values())
    write_json(context.out / "lora.json", {"captions": captions, "parameters": n, "base": settings.base})
    context.say(f"{n:,} weights; to draw with it: --lora {context.out / MODEL}")


def _drawn(model: PictureModel, captions: list[str]) -> list[np.ndarray]:
    guidance = float(model.about.get("guidance", 7.5))
    return list(draw_captions(model, captions, STEPS, guidance, model.sampler))


@contextmanager
def _without(network: nn.Module) -> Iterator[None]:
    """Inside this context the adapters change nothing."""
    layers = [module for module in network.modules() if isinstance(module, LoraLayer)]
    scales = [layer.scale for layer in layers]
    for layer in layers:
        layer.scale = 0.0
    try:
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = scale


def facts(finished: Finished) -> Facts:
    """The loss, and the same captions drawn without and with it."""
    found = read_json(finished.out / "lora.json")
    rows = []
    if found["captions"]:
        files = read_sheet(finished.out / PNGS)
        labels = {"0-without": "without", "1-with": "with"}
        rows = [SheetRow(labels[name], pngs, found["captions"]) for name, pngs in files.items()]
    lead = (
        f"Adapters of {found['parameters']:,} weights in the U-Net of {found['base']} learn these pictures; the model "
        "itself stays as it is."
    )
    sheet = [Sheet("Captions of the training, without and with the LoRA, from the same noise", rows, found["captions"])]
    plots = loss_plots(finished, "Training loss: squared error of the prediction", "ink")
    return Facts([Section(LABEL, lead, [*(sheet if rows else []), *plots])], json={finished.stage: found})
