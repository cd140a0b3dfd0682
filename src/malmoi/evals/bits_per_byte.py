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
    alone = _xz_size(primer) if primer else 0
    return (_xz_size(primer + text) - alone) * 8 / len(text)


def _xz_size(data: bytes) -> int:
    """Bytes after `xz -9`, whose 64 MB dictionary is cut to what the data can fill: the same result in less memory."""
    dictionary = min(2**26, max(2**12, 1 << (len(data) - 1).bit_length()))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary}]
    return len(lzma.compress(data, format=lzma.FORMAT_XZ, filters=filters))
