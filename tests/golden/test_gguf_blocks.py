"""Our block formats beside those of the `gguf` package, which llama.cpp's makers publish."""

import numpy as np
import pytest
import torch

from malmoi.errors import CheckpointError
from malmoi.formats.gguf.blocks import ENCODERS, FORMATS, dequantise, quantise

gguf = pytest.importorskip("gguf", reason="the oracle for GGUF: pip install gguf")
BY_NAME = {block_format.name: (number, block_format) for number, block_format in FORMATS.items()}


def weights(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    """Weights of many sizes: rows of zeros, tiny, usual and large ones, and exact halves of a step."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(-9, 3, rows)[:, None]
    values = torch.randn(rows, width, generator=generator) * scale
    values[0] = 0
    values[1] = torch.arange(width) % 255 - 127 + 0.5
    return values


@pytest.mark.parametrize("name", BY_NAME)
def test_every_format_is_read_as_llama_cpp_reads_it(name: str) -> None:
    """Random bytes are blocks too; only the scales are made finite."""
    number, block_format = BY_NAME[name]
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 256, 77 * block_format.record.itemsize, dtype=np.uint8).view(block_format.record)
    if block_format.record.names is None:
        blocks = weights(7, 11).numpy().astype(np.float16 if name == "F16" else np.float32).reshape(-1)
        blocks = blocks.view(np.uint32) >> 16 if name == "BF16" else blocks
        blocks = blocks.astype(block_format.record)
    else:
        for field in {"d", "m"} & set(block_format.record.names):
            blocks[field] = rng.normal(size=77).astype(np.float16)
    theirs = gguf.dequantize(blocks.view(np.uint8).reshape(1, -1), gguf.GGMLQuantizationType(number))
    np.testing.assert_array_equal(dequantise(blocks, block_format), theirs.reshape(-1))
    assert gguf.GGML_QUANT_SIZES[number] == (block_format.n_values, block_format.record.itemsize)


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_format_is_written_as_llama_cpp_writes_it(kind: str) -> None:
    values = weights(40, 96)
    theirs = gguf.quantize(values.numpy(), gguf.GGMLQuantizationType[kind])
    assert quantise(values, kind).tobytes() == theirs.tobytes()


@pytest.mark.parametrize(("kind", "error"), [("F32", 0.0), ("F16", 2**-11), ("BF16", 2**-8), ("Q8_0", 0.6 / 127)])
def test_what_is_written_comes_back_within_the_formats_precision(kind: str, error: float) -> None:
    values = torch.randn(8, 64, generator=torch.Generator().manual_seed(3))
    back = torch.from_numpy(dequantise(quantise(values, kind), BY_NAME[kind][1])).view(8, 64)
    largest = values.abs().view(8, 2, 32).amax(-1, keepdim=True).expand(8, 2, 32).reshape(8, 64)
    assert ((back - values).abs() <= error * largest).all()


@pytest.mark.parametrize(("kind", "value"), [("F16", 1e6), ("BF16", 3.4e38), ("Q8_0", 1e9)])
def test_values_that_a_format_cannot_hold_are_refused(kind: str, value: float) -> None:
    with pytest.raises(CheckpointError, match="cannot hold"):
        quantise(torch.full((1, 32), value), kind)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(kind: str, value: float) -> None:
    with pytest.raises(CheckpointError, match="not numbers"):
        quantise(torch.full((1, 32), value), kind)
