"""GGUF's number formats: blocks of bytes to float32 and back.

A row of weights is divided into blocks. A block is a C struct, here a numpy record: `d` is the scale and `m` the offset
of its values, `q` their lower bits, `h` their upper bits, `s` the scales of the block's parts. Source: ggml-common.h
and ggml-quants.c of llama.cpp.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from malmoi.errors import CheckpointError
from malmoi.model.finite import NOT_FINITE, is_finite

Array = NDArray[Any]
_BLOCKS_AT_ONCE = 1 << 12
"""Blocks that are converted to float32 at a time, so that scratch memory stays small."""


@dataclass(frozen=True)
class BlockFormat:
    """One number format. decode: (N,) records -> (N, n_values) float32."""

    name: str
    n_values: int
    record: np.dtype[Any]
    decode: Callable[[Array], Array]


def dequantise(blocks: Array, block_format: BlockFormat) -> Array:
    """(N,) records -> (N · n_values,) float32. Values are not finite where a block's scale is not."""
    values = np.empty((len(blocks), block_format.n_values), np.float32)
    for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
        part = slice(start, start + _BLOCKS_AT_ONCE)
        with np.errstate(all="ignore"):
            values[part] = block_format.decode(blocks[part])
    return values.reshape(-1)


def quantise(tensor: Tensor, kind: str) -> Array:
    """A tensor as (N,) records. kind: one of `ENCODERS`; rows must be whole blocks (32 values for Q8_0)

    Raises CheckpointError for a value that the format cannot hold, or that is not a number.
    """
    values = tensor.detach().cpu().float().flatten()
    if not is_finite(values):
        raise CheckpointError(NOT_FINITE)
    return ENCODERS[kind][1](values)


def _signed(q: Array, middle: int) -> Array:
    """Unsigned integers of at most six bits -> float32, with `middle` as zero."""
    return (q.astype(np.int8) - np.int8(middle)).astype(np.float32)


def _scale(blocks: Array, name: str = "d") -> Array:
    return blocks[name].astype(np.float32)[:, None]


def _nibbles(q: Array) -> Array:
    """(…, n) bytes -> (…, 2, n): the lower four bits, then the upper four."""
    return np.stack((q & 15, q >> 4), axis=-2)


def _fifth_bits(blocks: Array) -> Array:
    """(N, 32) integers of five bits: four bits from `q`, the fifth from `h`."""
    high = (blocks["h"][:, None] >> np.arange(32, dtype=np.uint32)) & 1
    return _nibbles(blocks["q"]).reshape(-1, 32) | (high << 4).astype(np.uint8)


def _six_bits(packed: Array) -> tuple[Array, Array]:
    """(N, 12) bytes -> scales (N, 8) and offsets (N, 8) of six bits each, as the K formats pack them."""
    a, b, c = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate((a & 63, (c & 15) | (a >> 6 << 4)), axis=1)
    offsets = np.concatenate((b & 63, (c >> 4) | (b >> 6 << 4)), axis=1)
    return scales.astype(np.float32), offsets.astype(np.float32)


def _k_values(blocks: Array, q: Array) -> Array:
    """d · scale · q - m · offset, for integers q in eight parts of 32."""
    scales, offsets = _six_bits(blocks["s"])
    d, m = (_scale(blocks) * scales)[:, :, None], (_scale(blocks, "m") * offsets)[:, :, None]
    return (d * q.reshape(-1, 8, 32).astype(np.float32) - m).reshape(-1, 256)


def _q4_k(blocks: Array) -> Array:
    return _k_values(blocks, _nibbles(blocks["q"].reshape(-1, 4, 32)))


def _q5_k(blocks: Array) -> Array:
    high = (blocks["h"][:, None, :] >> np.arange(8, dtype=np.uint8)[:, None]) & 1
    return _k_values(blocks, _nibbles(blocks["q"].reshape(-1, 4, 32)).reshape(-1, 8, 32) | (high << 4))


def _q6_k(blocks: Array) -> Array:
    low = _nibbles(blocks["q"].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    high = (blocks["h"].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3
    q = _signed(low | (high << 4), 32).reshape(-1, 16, 16)
    return ((_scale(blocks) * blocks["s"].astype(np.float32))[:, :, None] * q).reshape(-1, 256)


def _plain(blocks: Array) -> Array:
    return blocks.astype(np.float32)[:, None]


_D, _M, _S = ("d", "<f2"), ("m", "<f2"), ("s", "u1", 12)


def _q(n: int) -> tuple[str, str, int]:
    return ("q", "u1", n)


FORMATS = {
    0: BlockFormat("F32", 1, np.dtype("<f4"), _plain),
    1: BlockFormat("F16", 1, np.dtype("<f2"), _plain),
    2: BlockFormat(
        "Q4_0", 32, np.dtype([_D, _q(16)]), lambda b: _scale(b) * _signed(_nibbles(b["q"]).reshape(-1, 32), 8)
    ),
    3: BlockFormat(
        "Q4_1", 32, np.dtype([_D, _M, _q(16)]),
        lambda b: _scale(b) * _signed(_nibbles(b["q"]).reshape(-1, 32), 0) + _scale(b, "m"),
    ),
    6: BlockFormat(
        "Q5_0", 32, np.dtype([_D, ("h", "<u4"), _q(16)]), lambda b: _scale(b) * _signed(_fifth_bits(b), 16)
    ),
    7: BlockFormat(
        "Q5_1", 32, np.dtype([_D, _M, ("h", "<u4"), _q(16)]),
        lambda b: _scale(b) * _signed(_fifth_bits(b), 0) + _scale(b, "m"),
    ),
    8: BlockFormat("Q8_0", 32, np.dtype([_D, ("q", "i1", 32)]), lambda b: _scale(b) * b["q"].astype(np.float32)),
    12: BlockFormat("Q4_K", 256, np.dtype([_D, _M, _S, _q(128)]), _q4_k),
    13: BlockFormat("Q5_K", 256, np.dtype([_D, _M, _S, ("h", "u1", 32), _q(128)]), _q5_k),
    14: BlockFormat("Q6_K", 256, np.dtype([_q(128), ("h", "u1", 64), ("s", "i1", 16), _D]), _q6_k),
    30: BlockFormat("BF16", 1, np.dtype("<u2"), lambda b: (b.astype("<u4") << 16).view(np.float32)[:, None]),
}  # fmt: skip
"""ggml's type number -> format."""

OTHER_TYPES = {
    10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL",
    21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M",
    34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip
"""Types that exist but are not supported, for the error text."""


def _narrow(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    narrow = tensor.to(dtype)
    if not is_finite(narrow):
        raise CheckpointError(f"has values that {dtype} cannot hold; export as F32")
    return narrow


def _to_q8_0(tensor: Tensor) -> Array:
    """The largest of 32 values becomes ±127. Halves are rounded away from zero, as in llama.cpp."""
    values = tensor.numpy().reshape(-1, 32)
    scale = np.abs(values).max(axis=1) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > np.finfo(np.float32).tiny)
    blocks = np.empty(len(values), FORMATS[8].record)
    blocks["d"] = _narrow(torch.from_numpy(scale), torch.float16).numpy()
    scaled = values * inverse[:, None]
    blocks["q"] = np.trunc(2 * scaled) - np.trunc(scaled)
    return blocks


ENCODERS: dict[str, tuple[int, Callable[[Tensor], Array]]] = {
    "F32": (0, lambda tensor: tensor.numpy().astype("<f4", copy=False)),
    "F16": (1, lambda tensor: _narrow(tensor, torch.float16).numpy().astype("<f2", copy=False)),
    "BF16": (30, lambda tensor: _narrow(tensor, torch.bfloat16).view(torch.uint16).numpy().astype("<u2", copy=False)),
    "Q8_0": (8, _to_q8_0),
}
"""Name -> ggml's type number, and the conversion from float32."""
