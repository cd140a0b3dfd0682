"""Whether a model fits into the memory that is free, asked before it is read."""

from pathlib import Path

import torch

from malmoi import device
from malmoi.errors import TooLargeError
from malmoi.formats.folder import load_config
from malmoi.units import size


def check_fits(name: str, folder: Path, dtype: torch.dtype | None) -> None:
    """dtype: in which the weights will be held, None for the file's

    Raises TooLargeError: a system that runs out of memory ends processes unasked.
    """
    needed = load_config(folder).n_parameters() * (dtype or torch.bfloat16).itemsize
    if needed > (free := device.memory_bytes()[0]):
        raise TooLargeError(
            f"{name}: needs about {size(needed)} of memory, and {size(free)} are free; end other programs, or use a "
            "smaller model",
            needed, free,
        )  # fmt: skip
