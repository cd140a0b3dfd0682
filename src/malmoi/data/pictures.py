"""Pictures with captions as stages store them: pixels in a safetensors file, rows in JSON lines, one file a split."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from malmoi.errors import DataError
from malmoi.files import read_jsonl, write_bytes, write_jsonl

TRAIN, HELDOUT = "train", "heldout"
PIXELS = "pixels"


@dataclass(frozen=True)
class Pictures:
    """pixels: uint8 (N, 3, H, W); rows: one a picture, with `captions` (language -> text) and more"""

    pixels: Tensor
    rows: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    def captions(self, language: str) -> list[tuple[int, str]]:
        """(row number, caption) of all rows that have a caption in this language."""
        return [(i, row["captions"][language]) for i, row in enumerate(self.rows) if language in row["captions"]]

    @property
    def languages(self) -> list[str]:
        return sorted({language for row in self.rows for language in row["captions"]})


def write_pictures(folder: Path, split: str, pixels: np.ndarray, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one split. pixels: uint8 (N, H, W, 3)"""
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    write_bytes(folder / f"{split}.safetensors", to_bytes({PIXELS: tensor}))
    write_jsonl(folder / f"{split}.jsonl", rows)


def read_pictures(folder: Path, split: str) -> Pictures:
    """Read one split. Raises DataError if it is missing or broken."""
    path = folder / f"{split}.safetensors"
    try:
        pixels = load_file(path)[PIXELS]
    except (SafetensorError, KeyError, OSError) as error:
        raise DataError(f"{path}: not a file of pictures ({error}); run the stage that makes it again") from None
    rows = read_jsonl(folder / f"{split}.jsonl")
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or len(pixels) != len(rows):
        raise DataError(f"{path}: does not belong to {split}.jsonl; run the stage that makes them again")
    return Pictures(pixels, rows)


def credits_of(pictures: Pictures) -> dict[str, Any]:
    """What a model of these pictures says of them: how many of each licence, and to whom they are owed."""
    licences = Counter(str(row.get("licence", "not stated")) for row in pictures.rows)
    owed = sorted({str(row["attribution"]) for row in pictures.rows if row.get("attribution")})
    return {"trained_on": {"licences": dict(licences), "attributions": owed}}


def to_signed(pixels: Tensor) -> Tensor:
    """uint8 -> float32 in -1..1."""
    return pixels.float() / 127.5 - 1


def to_bytes_of(pixels: Tensor) -> np.ndarray:
    """Float (B, 3, H, W) in -1..1 -> uint8 (B, H, W, 3)."""
    return ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def chosen_captions(rows: Sequence[Mapping[str, Any]], seed: Sequence[int]) -> Iterator[str]:
    """One caption of each row, in any of its languages. seed: decides which"""
    rng = np.random.default_rng(seed)
    for row in rows:
        texts = [row["captions"][language] for language in sorted(row["captions"])]
        yield texts[int(rng.integers(len(texts)))]


@dataclass(frozen=True)
class PixelBatch:
    """Pictures without their captions. x: (B, 3, H, W), pixels in -1..1"""

    x: Tensor

    @property
    def count(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> "PixelBatch":
        return PixelBatch(self.x.to(device))


def pixel_batches(pictures: Pictures, micro_batch_size: int) -> Callable[[int, np.ndarray], Sequence[PixelBatch]]:
    """What `data.stream.Shuffled` makes batches with."""

    def collate(epoch: int, chosen: np.ndarray) -> list[PixelBatch]:
        x = to_signed(pictures.pixels[torch.from_numpy(chosen)])
        return [PixelBatch(part) for part in torch.split(x, micro_batch_size)]

    return collate
