"""A Stable Diffusion learns one's own pictures: small adapters in its U-Net, which stays as it is.

Sources: Hu et al. 2021 (LoRA, arXiv:2106.09685), Ho et al. 2020 (DDPM, arXiv:2006.11239), Salimans and Ho 2022 (v,
arXiv:2202.00512).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from malmoi.config import Seed, Settings
from malmoi.data.pictures import TRAIN, Pictures, chosen_captions, read_pictures, to_signed
from malmoi.data.stream import Collate, Shuffled
from malmoi.errors import ConfigError, DataError
from malmoi.formats.pictures import load_pictures
from malmoi.image.lora import add_adapters, networks_of
from malmoi.image.model import PictureModel
from malmoi.image.schedule import Process
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.train.optim import OptimConfig
from malmoi.unused import OF_PICTURES

Matrix = Literal["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
AT_ONCE = 4
"""Pictures that the autoencoder encodes together."""


class Config(Settings):
    """Settings of a LoRA of pictures."""

    rank: int = Field(8, gt=0)
    """Rows of A and columns of B."""
    alpha: float = Field(8.0, gt=0)
    """The adapter is multiplied by alpha / rank."""
    matrices: tuple[Matrix, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    """Matrices of the U-Net that get an adapter: those of attention, and of the feed-forward layers (ff)."""
    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(4, gt=0)
    """Pictures in one step, over all ranks."""
    micro_batch_size: int = Field(1, gt=0)
    """Pictures in one forward pass."""
    caption_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the captions that are left out: guidance compares with a picture of no caption."""
    seed: Seed = 1
    """Of the adapters, the order of the pictures, their captions, times and noise."""
    loop: LoopConfig = LoopConfig(optim=OptimConfig(lr=1e-4))
    """Optimizer, checkpoints, compilation."""


class Inputs(Settings):
    """What it reads."""

    pictures: Path = Path()
    """Folder of pictures with captions."""
    model: Path = Path()
    """Folder of a Stable Diffusion."""


UNUSED = OF_PICTURES


@dataclass(frozen=True)
class Noised:
    """x0: (B, C, h, w), latents; captions: B texts"""

    x0: Tensor
    captions: Sequence[str]

    @property
    def count(self) -> int:
        return len(self.x0)

    def to(self, device: torch.device) -> "Noised":
        return Noised(self.x0.to(device), self.captions)


def loss(network: nn.Module, batch: Noised, model: PictureModel) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error of the prediction, a mean over each picture's latents, summed over pictures."""
    process, kept = model.process, model.weight.dtype
    with torch.no_grad():
        states = model.text.embed(batch.captions).states.to(kept)
    t = random_times(batch.count, process).to(batch.x0.device)
    noise = torch.randn_like(batch.x0)
    output = network(process.add_noise(batch.x0, noise, t).to(kept), t, states)
    error = ((output.float() - process.target(batch.x0, noise, t)) ** 2).mean((1, 2, 3))
    return error.sum(), {"error": error.sum().detach()}


def random_times(n: int, process: Process) -> Tensor:
    """(n,) indices, each as likely as another."""
    return torch.randint(process.schedule.num_train_timesteps, (n,))


def build(config: Config, inputs: Inputs, model: PictureModel | None = None) -> Job:
    """The U-Net with new adapters, and latents of shuffled pictures.

    model: that of `inputs`, if it is loaded already; its U-Net is the one that is trained
    Raises ConfigError or DataError for a model or pictures that it cannot train with.
    """
    name, model = str(inputs.model), model or load_pictures(inputs.model)
    unet = networks_of(model, name)["unet"]
    if model.inpaints:
        raise ConfigError(f"{name}: is made for inpainting; train on the Stable Diffusion that it came from")
    pictures = read_pictures(inputs.pictures, TRAIN)
    if any(side % model.factor for side in pictures.size):
        raise DataError(f"pictures.size {pictures.size[0]}: {name} draws sizes that divide by {model.factor}")
    latents = encoded(model, pictures)
    torch.manual_seed(config.seed)
    add_adapters(unet, config.rank, config.alpha / config.rank, config.seed, config.matrices)
    steps = Shuffled(len(pictures), config.batch_size, config.seed, _collate(pictures, latents, config))
    return Job(unet, steps, partial(loss, model=model), config.n_steps)


def encoded(model: PictureModel, pictures: Pictures) -> Tensor:
    """Latents (N, C, h, w) of all pictures, float32, on the CPU: the means, which differ little from a draw."""
    found = []
    for part in torch.split(pictures.pixels, AT_ONCE):
        pixels = to_signed(part).to(model.weight)
        found.append(model.encode(pixels).float().cpu())
    return torch.cat(found).clone()


def _collate(pictures: Pictures, latents: Tensor, config: Config) -> Collate:
    def collate(epoch: int, chosen: np.ndarray) -> list[Noised]:
        key = [config.seed, epoch, int(chosen[0])]
        captions = list(chosen_captions([pictures.rows[i] for i in chosen], key))
        dropped = np.random.default_rng([1, *key]).random(len(chosen)) < config.caption_dropout
        captions = ["" if drop else caption for caption, drop in zip(captions, dropped, strict=True)]
        x0, size = latents[torch.from_numpy(chosen)], config.micro_batch_size
        return [Noised(x0[i : i + size], captions[i : i + size]) for i in range(0, len(captions), size)]

    return collate
