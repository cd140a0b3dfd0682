"""How well a model knows a text: bits per byte, comparable across tokenizers and with any compressor."""

import lzma
import math
from collections.abc import Iterable

import torch

from malmoi import device
from malmoi.data.batch import Tokens
from malmoi.model.transformer import LanguageModel


@torch.no_grad()
def bits_per_byte(model: LanguageModel, windows: Iterable[Tokens], n_bytes: int) -> float:
    """Summed -log2 p of every token over the bytes of the text that the tokens stand for."""
    nats = 0.0
    for window in windows:
        batch = window.to(device.current().torch_device)
        with device.autocast():
            nats += float(model.cross_entropy(batch.ids, batch.targets, batch.mask))
    return nats / math.log(2) / n_bytes


def xz_bits_per_byte(text: bytes, primer: bytes = b"") -> float:
    """What `xz -9` needs for the same bytes; with a primer, what it needs on top of the primer (its dictionary)."""
    preset = 9
    alone = len(lzma.compress(primer, preset=preset)) if primer else 0
    return (len(lzma.compress(primer + text, preset=preset)) - alone) * 8 / len(text)
