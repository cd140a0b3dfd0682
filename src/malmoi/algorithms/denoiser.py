"""Text to picture: a transformer learns to take noise away from pictures, guided by their captions.

Sources: Liu et al. 2023 (flow, arXiv:2209.03003), Li and He 2025 (predict the picture, arXiv:2511.13720), Ho et al.
2020 (DDPM, arXiv:2006.11239), Ho and Salimans 2022 (dropped captions, for guidance; arXiv:2207.12598).
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from malmoi.config import Seed, Settings
from malmoi.data.pictures import TRAIN, Pictures, chosen_captions, read_pictures, to_signed
from malmoi.data.stream import Shuffled
from malmoi.formats.own_pictures import load_clip
from malmoi.image.dit import Denoiser, DenoiserConfig, DenoiserShape
from malmoi.image.schedule import Process, Schedule
from malmoi.image.towers import ImageTower, TowerText
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.unused import OF_PICTURES, Unused

ProcessName = Literal["flow", "flow-v", "ddpm-epsilon", "ddpm-v"]
_LATE = Schedule(shift=3.0)
"""What a caption decides is decided while there is almost only noise: most steps of a drawing are there."""
PROCESSES: Mapping[str, Process] = {
    "flow": Process("flow", "sample", _LATE),
    "flow-v": Process("flow", "v", _LATE),
    "ddpm-epsilon": Process("ddpm", "epsilon"),
    "ddpm-v": Process("ddpm", "v"),
}


class Config(Settings):
    """Settings of a denoiser."""

    model: DenoiserShape = DenoiserShape()
    """The network."""
    process: ProcessName = "flow"
    """How noise is added and what is predicted: flow predicts the picture, flow-v and ddpm-v the velocity, ddpm-epsilon
    the noise."""
    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(64, gt=0)
    """Pictures in one step, over all ranks."""
    micro_batch_size: int = Field(64, gt=0)
    """Pictures in one forward pass."""
    caption_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the captions that are left out, so that the network can also draw without one: guidance needs both."""
    mean_time: float = 0.2
    """Flows: middle of the times that are trained on, as a logit; above 0 is more noise, where the caption counts
    (arXiv:2403.03206)."""
    reading_share: float = Field(0.25, ge=0, lt=1)
    """Share of the steps, the first ones, in which only the captions' reader learns: to sketch what a caption tells of.
    After that it is as it is, and the rest learns."""
    noise_share: float = Field(0.05, ge=0, lt=1)
    """Flows: share of the pictures that are noise and nothing else: of other noise, even much, a picture's colours can
    be seen through, since each patch has hundreds of pixels."""
    least_time: float = Field(0.3, gt=0, le=1)
    """Flow: an error counts as that of the velocity, 1 / time² times as much, for times of at least this."""
    average_share: float = Field(0.05, gt=0, le=1)
    """The saved weights are an exponential moving average over about this share of the steps. A longer one would, in a
    short training, still be the weights of its beginning."""
    seed: Seed = 1
    """Of the weights, the order of the pictures, their captions, times and noise."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""

    @property
    def n_reading(self) -> int:
        """Steps in which the reader learns."""
        return int(self.reading_share * self.n_steps)


class Inputs(Settings):
    """What a denoiser reads."""

    pictures: Path = Path()
    """Folder of pictures with captions."""
    clip: Path = Path()
    """Folder of CLIP, whose tower reads the captions."""


UNUSED = (
    *OF_PICTURES,
    Unused("least_time", "process", lambda name: name != "flow", 'process is not "flow"'),
    *(
        Unused(name, "process", lambda name: not name.startswith("flow"), "process is no flow")
        for name in ("mean_time", "noise_share")
    ),
)


@dataclass(frozen=True)
class Noised:
    """x0: (B, 3, H, W), pixels in -1..1; ids, mask: (B, T), captions; is_reading: whether only the reader learns"""

    x0: Tensor
    ids: Tensor
    mask: Tensor
    is_reading: bool = False

    @property
    def count(self) -> int:
        return len(self.x0)

    def to(self, device: torch.device) -> "Noised":
        return Noised(self.x0.to(device), self.ids.to(device), self.mask.to(device), self.is_reading)


def loss(
    model: Denoiser, batch: Noised, text: TowerText, eye: ImageTower, process: Process, config: Config
) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error of the prediction, a mean over each picture, weighted by time, summed over pictures. While captions
    are read, that of the sketch instead: of its pixels and of what `eye` sees, each a mean."""
    with torch.no_grad():
        states = text.read(batch.ids, batch.mask)
    if batch.is_reading:
        drawn, seen = model.sketch(states, batch.mask)
        with torch.no_grad():
            small, features = F.adaptive_avg_pool2d(batch.x0, drawn.shape[-1]), eye.places(batch.x0, seen.shape[-1])
        error = ((drawn.float() - small) ** 2).mean((1, 2, 3))
        missed = ((seen.float() - features) ** 2).mean((1, 2, 3))
        return (error + missed).sum(), {"error": error.sum().detach()}
    t = random_times(len(batch.x0), process, config.mean_time, config.noise_share).to(batch.x0.device)
    noise = torch.randn_like(batch.x0)
    output = model(process.add_noise(batch.x0, noise, t), t, states, batch.mask)
    error = ((output.float() - process.target(batch.x0, noise, t)) ** 2).mean((1, 2, 3))
    weight = 1 / t.clamp(min=config.least_time) ** 2 if process.prediction == "sample" else torch.ones_like(error)
    return (weight * error).sum(), {"error": error.sum().detach()}


def random_times(n: int, process: Process, mean: float, noise_share: float) -> Tensor:
    """(n,) times: of a flow 1, only noise, for a share, else logit-normal; of DDPM uniform over its indices."""
    if process.kind == "flow":
        return torch.where(torch.rand(n) < noise_share, 1.0, torch.sigmoid(torch.randn(n) + mean))
    return torch.randint(process.schedule.num_train_timesteps, (n,))


def build(config: Config, inputs: Inputs) -> Job:
    """The network from nothing, the frozen tower, and shuffled pictures."""
    pictures, process = read_pictures(inputs.pictures, TRAIN), PROCESSES[config.process]
    clip, captions = load_clip(inputs.clip)
    text = TowerText(captions, clip.text)
    torch.manual_seed(config.seed)
    model = Denoiser(
        DenoiserConfig(
            **config.model.model_dump(), n_channels=3, size=pictures.size[0],
            n_context=text.width, n_caption=captions.n_tokens, n_features=clip.config.channels[-1],
            n_times=1 if process.kind == "flow" else process.schedule.num_train_timesteps,
        )
    )  # fmt: skip
    collate = _collate(pictures, text, config)
    # The stream's own step is what a resumed run has, too.
    steps = Shuffled(
        len(pictures), config.batch_size, config.seed,
        lambda epoch, rows: collate(epoch, rows, steps.step <= config.n_reading),
    )  # fmt: skip
    decay = 1 - 1 / max(1.0, config.average_share * config.n_steps)
    averaged = copy.deepcopy(model).requires_grad_(False)
    job_loss = partial(loss, text=text, eye=clip.image, process=process, config=config)
    return Job(model, steps, job_loss, config.n_steps, averaged=averaged, average_decay=decay)


def _collate(
    pictures: Pictures, text: TowerText, config: Config
) -> Callable[[int, np.ndarray, bool], Sequence[Noised]]:  # fmt: skip
    def collate(epoch: int, chosen: np.ndarray, is_reading: bool) -> list[Noised]:
        key = [config.seed, epoch, int(chosen[0])]
        captions = list(chosen_captions([pictures.rows[i] for i in chosen], key))
        dropped = np.random.default_rng([1, *key]).random(len(chosen)) < config.caption_dropout
        ids, mask = text.captions(["" if drop else caption for caption, drop in zip(captions, dropped, strict=True)])
        parts = torch.split(torch.arange(len(chosen)), config.micro_batch_size)
        x0 = to_signed(pictures.pixels[torch.from_numpy(chosen)])
        return [Noised(x0[part], ids[part], mask[part], is_reading) for part in parts]

    return collate
