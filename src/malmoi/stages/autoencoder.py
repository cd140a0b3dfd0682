"""Stable Diffusion's autoencoder, small: how much of a picture its latents keep, next to what could be kept."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from malmoi import device
from malmoi.algorithms import autoencoder
from malmoi.cost import Cost, Sizes
from malmoi.data.pictures import HELDOUT, Pictures, read_pictures, to_bytes_of, to_signed
from malmoi.evals.clip import features_of
from malmoi.evals.drawings import judged, scene_of
from malmoi.facts import Block, Cell, Facts, Section, Sheet, SheetRow, Summary, Table, show
from malmoi.files import folder_atomic, read_json, write_json
from malmoi.formats.folder import write_weights
from malmoi.formats.locate import CONFIG
from malmoi.formats.own_pictures import DENOISER_WEIGHTS, load_clip
from malmoi.image.autoencoder import Autoencoder
from malmoi.image.metrics import frechet_distance
from malmoi.image.towers import Clip
from malmoi.stage import Context, Finished, required
from malmoi.stages._pictures import (
    LEAST,
    PNGS,
    arrays_of,
    extractor_name,
    picture_cost,
    read_sheet,
    tensor_of,
    train_pictures,
    write_sheet,
)
from malmoi.stages._training import loss_plots

ROWS, N_SHOWN = 32, 12
Settings, Inputs = autoencoder.Config, autoencoder.Inputs
READS = {"pictures": required("pictures"), "clip": required("clip")}
MAKES = {"autoencoder": {"": "autoencoder", "facts": "autoencoder.json"}}
TRAINS = True
UNUSED = autoencoder.UNUSED
WAYS = {
    "real": "real pictures: the upper bound",
    "kept": "through the latents and back",
    "scaled": "scaled down to as many numbers or more, and back",
}


def cost(settings: autoencoder.Config, sizes: Sizes) -> Cost:
    """Forward and backward, for pictures of 32 × 32."""
    flops, side = 0, 32
    for before, after in pairwise((settings.channels[0], *settings.channels)):
        flops += 2 * side**2 * 9 * (2 * before * after + 6 * after**2)
        side //= 2
    return picture_cost(3 * flops, settings.n_steps * settings.batch_size)


def run(context: Context, settings: autoencoder.Config) -> None:
    """Train, write the network as diffusers does, and see what becomes of held-out pictures."""
    folder, clip_folder = context.reads("pictures").path, context.reads("clip").path
    job = autoencoder.build(settings, autoencoder.Inputs(pictures=folder))
    trained = train_pictures(context, job, settings.loop)
    if trained is None:
        return
    assert isinstance(trained, Autoencoder)
    with folder_atomic(context.out / "autoencoder") as partial:
        config = trained.config.model_dump(mode="json")
        write_json(partial / CONFIG, {"_class_name": "AutoencoderKL", **config})
        write_weights(partial / DENOISER_WEIGHTS, trained.state_dict())
    heldout, (clip, _) = read_pictures(folder, HELDOUT), load_clip(clip_folder)
    ways = {
        "real": arrays_of(heldout.pixels),
        "kept": through(trained, heldout.pixels), "scaled": scaled(heldout.pixels, settings),
    }  # fmt: skip
    side = heldout.size[0] // trained.factor
    found: dict[str, Any] = {
        "extractor": extractor_name(clip_folder), "latents": [settings.n_latent, side, side],
        "n": len(heldout), "side": heldout.size[0],
        **{name: _measure(pixels, heldout, clip) for name, pixels in ways.items()},
    }  # fmt: skip
    write_json(context.out / "autoencoder.json", found)
    write_sheet(context.out / PNGS, {name: list(pixels[:N_SHOWN]) for name, pixels in ways.items()})
    context.say(f"error {found['kept']['psnr']:.1f} dB, scaled down instead {found['scaled']['psnr']:.1f} dB")


@torch.inference_mode()
def through(network: Autoencoder, pixels: Tensor) -> np.ndarray:
    """Pictures, uint8 (N, 3, H, W), to latents (their means) and back: uint8 (N, H, W, 3)."""
    here = device.current().torch_device
    parts = (to_signed(part).to(here) for part in torch.split(pixels, ROWS))
    return np.concatenate([to_bytes_of(network.decode(network.encode(part))) for part in parts])


def scaled(pixels: Tensor, settings: autoencoder.Config) -> np.ndarray:
    """Pictures scaled down until they have about as many numbers as the latents, never fewer, and back."""
    side = pixels.shape[-1]
    n_latent = settings.n_latent * (side // 2 ** (len(settings.channels) - 1)) ** 2
    small = next(one for one in range(1, side + 1) if 3 * one**2 >= n_latent or one == side)
    signed = to_signed(pixels)
    down = F.interpolate(signed, (small, small), mode="bilinear", antialias=True, align_corners=False)
    return to_bytes_of(F.interpolate(down, (side, side), mode="bicubic", align_corners=False))


def _measure(pictures: np.ndarray, heldout: Pictures, clip: Clip) -> dict[str, Any]:
    """Error, distance, and what the oracle says, of pictures (N, H, W, 3) that should be the held-out ones."""
    pixels = tensor_of(pictures)
    error = float(((pixels.float() - heldout.pixels.float()) ** 2).mean())
    row: dict[str, Any] = {"psnr": 10 * float(np.log10(255**2 / error)) if error else None}
    if len(heldout) >= LEAST:
        row["distance"] = frechet_distance(features_of(clip, heldout.pixels), features_of(clip, pixels))
    if all("scene" in one for one in heldout.rows):
        right = judged(pictures, [scene_of(one) for one in heldout.rows])
        row |= {key: right[key]["mean"] for key in ("colour", "shape", "all_right")}
    return row


def facts(finished: Finished) -> Facts:
    """The same pictures real, through the latents, and scaled."""
    found = read_json(finished.out / "autoencoder.json")
    sheets = read_sheet(finished.out / PNGS)
    keys = [key for key in ("psnr", "distance", "colour", "shape", "all_right") if key in found["kept"]]
    head = ["held-out pictures", *(key.replace("psnr", "PSNR, dB").replace("_", " ") for key in keys)]
    cells = [
        [Cell(label), *(Cell("∞" if found[name][key] is None else show(found[name][key])) for key in keys)]
        for name, label in WAYS.items()
    ]
    rows = [SheetRow(label.partition(":")[0], sheets[name], [label] * N_SHOWN) for name, label in WAYS.items()]
    blocks: list[Block] = [
        Table(head, cells), Sheet("The same held-out pictures", rows),
        *loss_plots(finished, "Training loss: squared error of a pixel, −1 to 1", "ink"),
    ]  # fmt: skip
    latents = " × ".join(str(n) for n in found["latents"])
    lead = (
        f"Pictures of 3 × {found['side']} × {found['side']} numbers become latents of {latents} and pictures again. A "
        "denoiser of latents could draw nothing that is lost here. Colours and shapes are what the oracle sees."
    )
    summary = [Summary("autoencoder: PSNR, dB", found["kept"]["psnr"])]
    return Facts([Section("Autoencoder", lead, blocks)], summary=summary, json={finished.stage: found})
