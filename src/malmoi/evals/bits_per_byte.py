"""How well a model predicts a text: bits per byte, comparable between tokenizers and with any compressor."""

import lzma
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from malmoi import device
from malmoi.data.batch import Tokens
from malmoi.evals.answering import Subject
from malmoi.evals.interval import bootstrap
from malmoi.evals.likelihood import Continuation, likelihoods
from malmoi.model.transformer import LanguageModel

PIECE_BYTES = 2_048


@torch.no_grad()
def bits_per_byte(model: LanguageModel, windows: Iterable[Tokens], n_bytes: int) -> float:
    """The sum of -log2 p over all tokens, divided by the bytes of their text. n_bytes: of that text"""
    nats = 0.0
    for window in windows:
        batch = window.to(device.current().torch_device)
        with device.autocast():
            nats += float(model.cross_entropy(batch.ids, batch.targets, batch.mask))
    return nats / math.log(2) / n_bytes


def pieces(text: str) -> Iterator[str]:
    """The text in parts of about `PIECE_BYTES` bytes that end with a line: the same parts for every tokenizer."""
    piece = ""
    for line in text.splitlines(keepends=True):
        if piece and len((piece + line).encode()) > PIECE_BYTES:
            yield piece
            piece = ""
        piece += line
    if piece.strip():
        yield piece


def measure_text(subject: Subject, texts: Sequence[str]) -> dict[str, Any]:
    """`bits_per_byte` of texts, each read as a separate document, in parts that fit the context."""
    model, tokenizer, _ = subject
    longest = model.config.seq_len - 1
    windows: list[list[int]] = []
    owners: list[int] = []
    for number, ids in enumerate(tokenizer.encode_batch(list(texts))):
        parts = [ids[i : i + longest] for i in range(0, len(ids), longest)]
        windows += [[tokenizer.end_of_text_id, *part] for part in parts]
        owners += [number] * len(parts)
    nats = [0.0] * len(texts)
    found = likelihoods(model, [[Continuation(window, 1, False)] for window in windows], tokenizer.pad_id)
    for owner, (one,) in zip(owners, found, strict=True):
        nats[owner] -= one.logp
    n_bytes = [len(text.encode()) for text in texts]
    bits = [value / math.log(2) / size for value, size in zip(nats, n_bytes, strict=True)]
    n_cut = len(windows) - len(texts)
    return {
        "metrics": {"bits_per_byte": bootstrap(bits, weights=n_bytes).to_row()},
        "chance": {"bits_per_byte": 8.0},
        "n": len(texts),
        "n_cut": n_cut,
    }


def xz_bits_per_byte(text: bytes, primer: bytes = b"") -> float:
    """Bits per byte of `xz -9`; with a primer, of the text compressed after it (the primer is its dictionary)."""
    n_primer = _xz_size(primer) if primer else 0
    return (_xz_size(primer + text) - n_primer) * 8 / len(text)


def _xz_size(data: bytes) -> int:
    """Bytes after `xz -9`, with a dictionary no larger than the data can fill: the same result in less memory."""
    dictionary = min(2**26, max(2**12, 1 << (len(data) - 1).bit_length()))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary}]
    return len(lzma.compress(data, format=lzma.FORMAT_XZ, filters=filters))
