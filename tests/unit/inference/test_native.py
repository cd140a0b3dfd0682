"""What C computes is what the network computes, for every feature that it claims to support."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from malmoi import device
from malmoi.inference import compiled, native
from malmoi.inference.weights import CompactLinear, Int4Linear, Int8Linear, Weights, decoder_of, dtype_of, for_inference
from malmoi.model.config import ModelConfig
from malmoi.model.kv_cache import KVCache
from malmoi.model.transformer import LanguageModel, initialise

BASE = {
    "vocab_size": 100,
    "n_layer": 2,
    "n_embd": 64,
    "n_head": 4,
    "n_kv_head": 2,
    "head_dim": 32,
    "n_ff": 96,
    "seq_len": 64,
}
SHAPES = {
    "grouped": {},
    "one key head": {"n_head": 8, "n_kv_head": 1},
    "six heads a group": {"n_head": 6, "n_kv_head": 1},
    "every head its own": {"n_head": 2, "n_kv_head": 2, "head_dim": 64},
    "wide heads": {"head_dim": 128, "n_head": 3, "n_kv_head": 1},
    "norms of queries and keys": {"qk_norm": True},
    "biases": {"qkv_bias": True, "o_bias": True, "ff_bias": True},
    "a layer that is not turned": {"no_rope_layers": (1,)},
    "tied": {"tie_embeddings": True},
    "a width that is filled up": {"n_ff": 90, "ff_bias": True},
}  # fmt: skip


def drawn(**features: object) -> LanguageModel:
    model = LanguageModel(ModelConfig(**{**BASE, "qk_norm": False, **features}))  # type: ignore[arg-type]
    initialise(model, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.15, generator=generator)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def read(model: LanguageModel, prompts: torch.Tensor, n_rows: int, dtype: torch.dtype) -> KVCache:
    """A cache whose rows have read prompts of different lengths."""
    config = model.config
    cache = KVCache(
        config.n_layer, n_rows + 1, config.n_kv_head, config.seq_len, config.head_dim, dtype,
        torch.device("cpu"),
    )  # fmt: skip
    rows = cache.rows(0, n_rows)
    with device.autocast(dtype):
        model.model(prompts, rows)
    rows.lengths.copy_(torch.arange(n_rows) % prompts.shape[1] + 1)
    return cache


@pytest.fixture(autouse=True)
def compiler() -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler here")
    assert native.library() is not None, "it does not compile"


@pytest.fixture(params=["as it is", "without its bfloat16 products"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This one, and, where it has AVX512-BF16, what those compute that have not."""
    if request.param != "as it is":
        if "avx512_bf16" not in compiled.processor():
            pytest.skip("it has none")
        monkeypatch.setattr(device, "cpu_multiplies_bf16", lambda: False)
        compiled.library.cache_clear()
    yield
    compiled.library.cache_clear()


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("n_rows", [1, 5, 13])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
@torch.no_grad()
def test_a_step_is_what_the_network_computes(weights: Weights, name: str, n_rows: int) -> None:
    model = drawn(**SHAPES[name])  # type: ignore[arg-type]
    fast = for_inference(model, weights, n_rows)
    decode, dtype = decoder_of(fast, weights), dtype_of(weights)
    # In float32 nothing but the order of the sums differs.
    tolerance, keys_tolerance = (1e-5, 1e-4) if dtype == torch.float32 else (0.015, 0.05)
    assert decode is not None
    prompts = torch.randint(0, 100, (n_rows, 7), generator=torch.Generator().manual_seed(3))
    cache = read(fast, prompts, n_rows, dtype)
    twin = read(fast, prompts, n_rows, dtype)
    for step in range(3):
        ids = (prompts[:, 0] + step) % 100
        found = decode(ids, cache.rows(0, n_rows))
        rows = twin.rows(0, n_rows)
        with device.autocast(dtype):
            expected = fast(ids[:, None], rows)[:, 0].float()
        rows.advance(1)
        cache.rows(0, n_rows).advance(1)
        assert (found - expected).norm() < tolerance * expected.norm()
    found_keys, expected_keys = (keys[:, :n_rows].float() for keys in (cache.keys, twin.keys))
    assert torch.allclose(found_keys, expected_keys, atol=keys_tolerance, rtol=keys_tolerance)
    assert not cache.keys[:, n_rows].any()


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("name", ["grouped", "norms of queries and keys", "a width that is filled up"])
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@torch.no_grad()
def test_several_tokens_of_a_row_are_read_as_one_after_the_other(weights: Weights, name: str) -> None:
    fast = for_inference(drawn(**SHAPES[name]), weights, 4)  # type: ignore[arg-type]
    decode, dtype = decoder_of(fast, weights), dtype_of(weights)
    assert decode is not None
    prompts = torch.randint(0, 100, (4, 7), generator=torch.Generator().manual_seed(3))
    new = [[5], [9, 8, 7, 6, 5, 4, 3], [11, 12], [3]]  # after 1, 2, 3 and 4 tokens
    cache, twin = read(fast, prompts, 4, dtype), read(fast, prompts, 4, dtype)
    counts = list(map(len, new))
    found = decode(torch.tensor([id for row in new for id in row]), cache.rows(0, 4), counts)
    cache.rows(0, 4).advance(torch.tensor(counts))
    for row, ids in enumerate(new):
        one = twin.rows(row, row + 1)
        for id in ids:
            expected = decode(torch.tensor([id]), one)
            one.advance(1)
        assert torch.allclose(found[row], expected[0], atol=1e-5, rtol=1e-5)
    assert torch.equal(cache.lengths, twin.lengths)
    assert torch.allclose(cache.keys.float(), twin.keys.float(), atol=1e-5, rtol=1e-5)
    assert torch.allclose(cache.values.float(), twin.values.float(), atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("n_rows", [1, 9])
@pytest.mark.parametrize("widths", [(64, 96), (256, 352), (64, 90)], ids=["few groups", "many groups", "filled up"])
@torch.no_grad()
def test_quantised_steps_are_those_of_the_rounded_weights(
    weights: Weights, widths: tuple[int, int], n_rows: int
) -> None:
    if weights == "int4" and widths[1] % native.UNIT:
        pytest.skip("int4 refuses it")
    shape = {"n_embd": widths[0], "n_ff": widths[1], "vocab_size": 101}  # no multiple of the rows that C takes at once
    fast = for_inference(drawn(qkv_bias=True, **shape), weights)
    decode, dtype = decoder_of(fast, weights), dtype_of(weights)
    assert decode is not None
    prompts = torch.randint(0, 100, (n_rows, 7), generator=torch.Generator().manual_seed(4))
    cache, twin = read(fast, prompts, n_rows, dtype), read(fast, prompts, n_rows, dtype)
    found = decode(prompts[:, 0], cache.rows(0, n_rows))
    plain = fast
    for module in plain.modules():
        for child, linear in list(module.named_children()):
            if isinstance(linear, Int8Linear | Int4Linear):
                rounded = torch.nn.Linear(1, 1, bias=linear.bias is not None)
                rounded.weight = torch.nn.Parameter(linear.dequantised())
                if linear.bias is not None:
                    rounded.bias = torch.nn.Parameter(linear.bias)
                setattr(module, child, rounded)
    with device.autocast(dtype):
        expected = plain(prompts[:, :1], twin.rows(0, n_rows))[:, 0].float()
    # Inputs of up to 16 bits, one scale a row, lose a hundredth of what bfloat16 loses.
    assert (found - expected).norm() < (5e-4 if dtype == torch.float32 else 0.015) * expected.norm()


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8", "int4"])
@torch.no_grad()
def test_nothing_is_written_beyond_the_cache(weights: Weights) -> None:
    fast = for_inference(drawn(seq_len=8), weights)
    decode = decoder_of(fast, weights)
    assert decode is not None
    cache = read(fast, torch.ones(1, 7, dtype=torch.long), 1, dtype_of(weights))
    rows = cache.rows(0, 1)
    rows.lengths.fill_(8)
    with pytest.raises(AssertionError, match="cache is full"):
        decode(torch.ones(1, dtype=torch.long), rows)
    rows.lengths.fill_(6)
    with pytest.raises(AssertionError, match="cache is full"):
        decode(torch.ones(3, dtype=torch.long), rows, [3])


@pytest.fixture
def reads_twelve_bits() -> None:
    if not native.prefers_compact():
        pytest.skip("this processor reads 16 bits")


@pytest.mark.usefixtures("reads_twelve_bits")
def test_twelve_bits_lose_nothing() -> None:
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(-1, 64).view(torch.bfloat16)
    for weight in (every, every.view(-1, 512), torch.zeros(4, 64).bfloat16(), drawn().lm_head.weight.bfloat16()):
        packed = native.compacted(weight.detach())
        found = native.Matrix(CompactLinear(packed, None)).unpacked()
        assert torch.equal(found.view(torch.int16), weight.view(torch.int16))
    assert len(packed.rare) < 0.01 * weight.numel()


@pytest.mark.usefixtures("reads_twelve_bits")
@pytest.mark.parametrize("n_rows", [1, 5, 13, 70])
def test_products_of_twelve_bits_are_those_of_sixteen(n_rows: int) -> None:
    generator = torch.Generator().manual_seed(5)
    weight = (0.02 * torch.randn(48, 128, generator=generator)).bfloat16()
    weight[1, 40], weight[1, 127], weight[47, 0], weight[2, 3] = 700, -900, 800, 0  # three that have rare high bytes
    bias, x = torch.randn(48, generator=generator), torch.randn(n_rows, 128, generator=generator).bfloat16()
    packed = native.compacted(weight)
    assert len(packed.rare) >= 3
    found = CompactLinear(packed, bias)(x).float()
    expected = x.double() @ weight.double().T + bias
    assert torch.allclose(found, expected.float(), rtol=0.01, atol=0.01)


@pytest.mark.usefixtures("reads_twelve_bits")
@torch.no_grad()
def test_weights_of_too_many_high_bytes_stay_in_sixteen_bits() -> None:
    model = drawn()
    assert isinstance(for_inference(model, "bfloat16").lm_head, CompactLinear)
    model.lm_head.weight.copy_(torch.randint(-60, 60, model.lm_head.weight.shape).float().exp2())
    assert isinstance(for_inference(model, "bfloat16").lm_head, torch.nn.Linear)


RESTRICTED = """
import torch
from malmoi.inference import compiled
from malmoi.inference.weights import decoder_of, dtype_of, for_inference
from tests.unit.inference.test_native import drawn, read

torch.set_grad_enabled(False)
for weights in ("float32", "bfloat16"):
    fast = for_inference(drawn(), weights)
    decode, dtype = decoder_of(fast, weights), dtype_of(weights)
    assert decode is not None and dtype == torch.float32, compiled.state()
    ids = torch.arange(7)[None]
    cache, twin = read(fast, ids, 1, dtype), read(fast, ids, 1, dtype)
    found, expected = decode(ids[:, 0], cache.rows(0, 1)), fast(ids[:, :1], twin.rows(0, 1))[:, 0]
    assert (found - expected).norm() < 1e-5 * expected.norm()
"""


@pytest.mark.parametrize(
    "limit", ["ATEN_CPU_CAPABILITY=avx2", "ATEN_CPU_CAPABILITY=default", "ONEDNN_MAX_CPU_ISA=AVX2"]
)
def test_it_uses_no_instructions_that_pytorch_may_not_use(limit: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), limit.split("=")[0]: limit.split("=")[1]}
    done = subprocess.run([sys.executable, "-c", RESTRICTED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_it_does_not_know_is_left_to_pytorch() -> None:
    def is_known(**features: object) -> bool:
        config = ModelConfig(**{**BASE, **features})  # type: ignore[arg-type]
        return native.supports(config, torch.float32, is_exact=True)

    assert is_known()
    assert is_known(vocab_size=99)
    assert is_known(n_ff=90)
    for other in ({"norm": "layer"}, {"ff": "gelu"}, {"positions": "learned"}, {"n_embd": 80}, {"head_dim": 16}):
        assert not is_known(**other)


@pytest.mark.parametrize("environment", [{"MALMOI_NATIVE": "0"}, {"CC": "false", "PATH": ""}])
def test_without_a_compiler_answers_are_the_same(environment: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import torch; from malmoi.inference import native; from malmoi.inference.weights import *; import sys\n"
        "assert native.library() is None\n"
        "torch.manual_seed(0); linear = Int4Linear(torch.randn(8, 64), torch.randn(8))\n"
        "print(linear(torch.ones(2, 64)).float().tolist())"
    )
    source = Path(native.__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(source), "XDG_CACHE_HOME": str(tmp_path), **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    torch.manual_seed(0)
    linear = Int4Linear(torch.randn(8, 64), torch.randn(8))
    assert torch.allclose(torch.tensor(eval(run.stdout)), linear(torch.ones(2, 64)).float(), rtol=0.02, atol=0.1)


def test_loading_it_changes_no_other_arithmetic() -> None:
    assert 5e-324 * 1.0 > 0  # -ffast-math would have every thread flush such numbers to zero
