"""Pictures with captions as stages store them: pixels in a safetensors file, rows in JSON lines, one file a split."""

import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from malmoi.errors import DataError
from malmoi.files import disk_errors, open_atomic, read_jsonl, write_jsonl

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


class PixelStore:
    """Pictures of one size in a file without a name, which is gone with the process: memory holds one of them.

    folder: where the disk is that they go to; side: of them, in pixels. Raises UserError for a full disk
    """

    def __init__(self, folder: Path, side: int) -> None:
        self.folder, self.shape, self.n = folder, (side, side, 3), 0
        with disk_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, pixels: np.ndarray) -> int:
        """Keep a picture, uint8 (side, side, 3); returns its number."""
        assert pixels.shape == self.shape and pixels.dtype == np.uint8
        with disk_errors(self.folder):
            self._file.seek(self.n * pixels.nbytes)
            self._file.write(pixels.tobytes())
        self.n += 1
        return self.n - 1

    def __getitem__(self, number: int) -> np.ndarray:
        n_bytes = math.prod(self.shape)
        self._file.seek(number * n_bytes)
        return np.frombuffer(self._file.read(n_bytes), np.uint8).reshape(self.shape)


def write_pictures(folder: Path, split: str, pixels: Iterable[np.ndarray], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one split, a picture at a time. pixels: uint8 (H, W, 3) of each row, all of one size"""
    with open_atomic(folder / f"{split}.safetensors") as file:
        for number, picture in enumerate(pixels):
            if not number:
                shape = [len(rows), 3, *picture.shape[:2]]
                row = {"dtype": "U8", "shape": shape, "data_offsets": [0, math.prod(shape)]}
                header = json.dumps({PIXELS: row}, separators=(",", ":")).encode()
                header += b" " * (-len(header) % 8)
                file.write(len(header).to_bytes(8, "little") + header)
            file.write(np.ascontiguousarray(picture.transpose(2, 0, 1)).data)
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
