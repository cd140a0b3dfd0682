"""What stages of pictures share: arrays and tensors, sheets of PNG files, training, distances, cost."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from malmoi import device
from malmoi.cost import REFERENCE_FLOPS, Cost
from malmoi.files import sha256_of, write_bytes
from malmoi.stage import CHECKPOINT, METRICS, Context
from malmoi.train.hooks import MetricsFile
from malmoi.train.job import Job
from malmoi.train.loop import Hook, LoopConfig, fit
from malmoi.train.optim import full_tensor

PNGS = "sheet"
Steps = tuple[Annotated[int, Field(ge=1, le=1000)], ...]
"""Numbers of steps to compare."""
LEAST = 4
"""Pictures without which no distance can be measured: a Gaussian is fitted to half of them."""


def arrays_of(pictures: Tensor) -> np.ndarray:
    """Pictures (N, 3, H, W) as (N, H, W, 3), with the same memory."""
    return pictures.permute(0, 2, 3, 1).numpy()


def tensor_of(pictures: np.ndarray) -> Tensor:
    """Pictures (N, H, W, 3) as (N, 3, H, W)."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def png(pixels: np.ndarray) -> bytes:
    """A picture, uint8 (H, W, 3), as PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return file.getvalue()


def from_png(data: bytes) -> np.ndarray:
    """What `png` made a file of."""
    return np.asarray(Image.open(io.BytesIO(data)))


def write_sheet(folder: Path, rows: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Write rows of pictures, uint8 (H, W, 3), each as PNG files of its name."""
    for name, pictures in rows.items():
        for number, pixels in enumerate(pictures):
            write_bytes(folder / name / f"{number:03}.png", png(pixels))


def read_sheet(folder: Path) -> dict[str, list[bytes]]:
    """What `write_sheet` wrote: name of a row -> PNG files."""
    return {
        row.name: [path.read_bytes() for path in sorted(row.glob("*.png"))]
        for row in sorted(folder.iterdir())
        if row.is_dir()
    }


def train_pictures(context: Context, job: Job, loop: LoopConfig, hooks: Sequence[Hook] = ()) -> nn.Module | None:
    """Run the loop, resuming from its checkpoint; returns the network to save (averaged, if it is), on the first rank.

    All ranks must call this.
    """
    fit(job, loop, [*hooks, MetricsFile(context.folder / METRICS), *context.hooks], context.folder / CHECKPOINT)
    trained = job.model if job.averaged is None else job.averaged
    state = {name: full_tensor(tensor.detach()) for name, tensor in trained.state_dict().items()}
    if not device.current().is_main:
        return None
    trained.load_state_dict(state)
    return trained.requires_grad_(False).eval()


def extractor_name(clip_folder: Path) -> str:
    """What distances on the features of this CLIP are called: a figure on other features is another figure."""
    return f"FD-clip-{sha256_of(clip_folder)[:8]}"


def picture_cost(flops_each: float, n_pictures: float) -> Cost:
    """Time of training on pictures. flops_each: of one picture, forward and backward"""
    return Cost(fixed_s=flops_each * n_pictures / REFERENCE_FLOPS, holds_model=False)
