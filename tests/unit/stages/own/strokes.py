"""Pictures of strokes, and a network that learns to remove their noise: an image-like stage, without any text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from malmoi import config
from malmoi.stage import CHECKPOINT, METRICS, Context, Role
from malmoi.train.hooks import MetricsFile
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig, fit

SIZE = 8


class Settings(config.Settings):
    """How long it learns."""

    n_steps: int = 8
    """Optimizer steps."""
    seed: int = 1
    """Of pictures and noise."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""


READS: dict[str, Role] = {}
MAKES = {"denoiser": "denoiser.safetensors"}
TRAINS = True


@dataclass
class Pictures:
    clean: Tensor
    noisy: Tensor

    @property
    def count(self) -> int:
        return len(self.clean)

    def to(self, device: torch.device) -> "Pictures":
        return Pictures(self.clean.to(device), self.noisy.to(device))


class Noise:
    """Each step's pictures follow from the seed and the step."""

    def __init__(self, seed: int) -> None:
        self.seed, self.step = seed, 0

    def __iter__(self) -> Iterator[list[Pictures]]:
        while True:
            random = torch.Generator().manual_seed(1000 * self.seed + self.step)
            clean = torch.zeros(4, SIZE, SIZE)
            clean[torch.arange(4), torch.randint(SIZE, (4,), generator=random)] = 1.0
            self.step += 1
            yield [Pictures(clean, clean + 0.1 * torch.randn(clean.shape, generator=random))]

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = int(state["step"])


def loss(model: nn.Module, batch: Pictures) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error, summed over pictures."""
    return (model(batch.noisy[:, None])[:, 0] - batch.clean).square().mean(dim=(1, 2)).sum(), {}


def run(context: Context, settings: Settings) -> None:
    """Learn to remove the noise."""
    torch.manual_seed(settings.seed)
    model = nn.Conv2d(1, 1, 3, padding=1)
    job = Job(model, Noise(settings.seed), loss, settings.n_steps)
    hooks = [MetricsFile(context.folder / METRICS), *context.hooks]
    fit(job, settings.loop, hooks, context.folder / CHECKPOINT)
    context.out.mkdir(exist_ok=True)
    save_file(model.state_dict(), context.out / "denoiser.safetensors")
