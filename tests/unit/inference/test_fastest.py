"""`--weights auto` takes what is fastest here and loses nothing, and remembers it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from malmoi import device
from malmoi.inference import compiled, fastest
from malmoi.inference.fastest import Way, fastest_way, holds_bfloat16, way_of
from malmoi.inference.weights import computes_float32, decoder_of, for_inference, stored_dtype
from malmoi.model.config import ModelConfig
from malmoi.model.kv_cache import KVCache
from malmoi.model.lora import LoraConfig, add_lora
from malmoi.model.transformer import LanguageModel, initialise

pytestmark = pytest.mark.usefixtures("float32")


def drawn(is_rounded: bool, **features: object) -> LanguageModel:
    shape = {"vocab_size": 96, "n_layer": 3, "n_embd": 64, "n_head": 2, "n_kv_head": 1, "head_dim": 32, "n_ff": 96}
    model = LanguageModel(ModelConfig(**{**shape, "seq_len": 32, **features}))  # type: ignore[arg-type]
    initialise(model, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.1, generator=generator)
                parameter.copy_(parameter.bfloat16() if is_rounded else parameter)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of this module's own: the code is compiled there once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of what is remembered, empty but for the code."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    compiled.library.cache_clear()
    compiled.library()
    for path in folder.glob("malmoi/fastest-*"):
        path.unlink()
    yield folder / "malmoi"
    compiled.library.cache_clear()


@pytest.fixture
def without_units() -> None:
    if not computes_float32():
        pytest.skip("this processor multiplies bfloat16: there is nothing to choose")


def remembered(cache: Path) -> list[Path]:
    return sorted(cache.glob("fastest-*.json"))


@pytest.mark.usefixtures("without_units")
@pytest.mark.parametrize("n_rows", [1, 33])
def test_the_choice_is_remembered(cache: Path, n_rows: int) -> None:
    model = drawn(is_rounded=True)
    chosen = fastest_way(model, n_rows)
    [path] = remembered(cache)
    assert json.loads(path.read_text()) == {"weights": chosen.weights, "engine": "C" if chosen.in_c else "PyTorch"}
    for weights in ("float32", "bfloat16"):  # what is read is taken: nothing is timed
        path.write_text(json.dumps({"weights": weights, "engine": "PyTorch"}))
        assert fastest_way(model, n_rows) == Way(weights, in_c=False)  # type: ignore[arg-type]
    assert remembered(cache) == [path]


@pytest.mark.usefixtures("without_units")
def test_the_choice_is_remembered_where_new_files_are_for_a_group(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o002)
    try:
        chosen = fastest_way(drawn(is_rounded=True))
    finally:
        os.umask(before)
    monkeypatch.setattr(fastest, "_timed", None)
    assert fastest_way(drawn(is_rounded=True)) == chosen


@pytest.mark.usefixtures("without_units")
@pytest.mark.parametrize("other", [{"n_layer": 2}, {"n_ff": 128}, {"vocab_size": 97}])
def test_another_network_or_another_number_of_rows_is_timed_by_itself(cache: Path, other: dict[str, int]) -> None:
    fastest_way(drawn(is_rounded=True))
    fastest_way(drawn(is_rounded=True, **other))
    assert len(remembered(cache)) == 2
    fastest_way(drawn(is_rounded=True), n_rows=8)
    assert len(remembered(cache)) == 3
    fastest_way(drawn(is_rounded=True), n_rows=7)
    assert len(remembered(cache)) == 3


@pytest.mark.usefixtures("without_units")
@pytest.mark.parametrize(
    "damaged",
    [
        "", "{", "[]", "{}", '{"weights": "bfloat16"}', '{"weights": ["bfloat16"], "engine": "C"}',
        '{"weights": "int4", "engine": "C"}', '{"weights": "float8", "engine": "C"}', "\0" * 40,
    ],
)  # fmt: skip
def test_a_damaged_memory_costs_timing_again_and_no_more(cache: Path, damaged: str) -> None:
    model = drawn(is_rounded=True)
    fastest_way(model)
    [path] = remembered(cache)
    path.write_text(damaged)
    found = fastest_way(model)
    assert found.weights in ("float32", "bfloat16")
    assert json.loads(path.read_text())["weights"] == found.weights


@pytest.mark.usefixtures("without_units")
def test_a_network_of_the_same_shape_whose_weights_would_be_rounded_has_its_own_choice(cache: Path) -> None:
    exact, other = drawn(is_rounded=True), drawn(is_rounded=False)
    fastest_way(exact)
    [path] = remembered(cache)
    path.write_text('{"weights": "bfloat16", "engine": "PyTorch"}')
    assert fastest_way(other).weights == "float32"
    assert fastest_way(exact) == Way("bfloat16", in_c=False)
    [second] = set(remembered(cache)) - {path}
    second.write_text('{"weights": "bfloat16", "engine": "C"}')
    assert fastest_way(other).weights == "float32"


@pytest.mark.usefixtures("without_units")
def test_without_a_place_to_remember_it_is_timed_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    assert fastest_way(drawn(is_rounded=True)).weights in ("float32", "bfloat16")
    assert os.listdir(tmp_path) == ["file"]


def test_float32_weights_are_never_rounded() -> None:
    model = drawn(is_rounded=False)
    assert not holds_bfloat16(model)
    assert fastest_way(model).weights == "float32"
    rounded = drawn(is_rounded=True)
    assert holds_bfloat16(rounded)
    with torch.no_grad():
        rounded.model.layers[2].mlp.down_proj.weight[63, 95] = 1 + 2**-8  # type: ignore[union-attr, index]
    assert not holds_bfloat16(rounded)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_what_counts_is_what_the_numbers_are_not_what_they_are_stored_in(dtype: torch.dtype) -> None:
    model = drawn(is_rounded=True)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.clamp(-1, 1).mul(2**8).round().div(2**8).bfloat16().to(dtype)
    assert holds_bfloat16(model)
    if dtype == torch.float16:
        model.lm_head.weight.data[0, 0] = 1 + 2**-9
        assert not holds_bfloat16(model)


def test_adapters_make_other_weights() -> None:
    model = drawn(is_rounded=True)
    add_lora(model, LoraConfig(rank=2))
    assert not holds_bfloat16(model)


@pytest.mark.usefixtures("without_units")
@pytest.mark.parametrize("tied", [False, True])
@torch.inference_mode()
def test_either_way_gives_the_same_logits(tied: bool) -> None:
    """Of a model as it is loaded for answers: its matrices as the file has them."""
    model = drawn(is_rounded=True, tie_embeddings=tied)
    expected = model(torch.tensor([[1, 2, 3]]))[:, -1]
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.bfloat16()
    model.tie()
    ways = list(fastest._ways(model))
    assert {way.weights for way in ways} == {"float32", "bfloat16"}
    for way in ways:
        fast = for_inference(model, way.weights)
        cache = KVCache(3, 1, 1, 8, 32, torch.float32, torch.device("cpu"))
        rows = cache.rows(0, 1)
        fast(torch.tensor([[1, 2]]), rows)
        rows.advance(2)
        decoder = decoder_of(fast, way.weights) if way.in_c else None
        found = decoder(torch.tensor([3]), rows) if decoder else fast(torch.tensor([[3]]), rows)[:, 0]
        assert (found - expected).norm() < 1e-5 * expected.norm()


def test_where_bfloat16_is_computed_it_is_taken_as_before(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALMOI_DTYPE", "bfloat16")
    device.current.cache_clear()
    try:
        assert fastest_way(drawn(is_rounded=False)) == Way("bfloat16", in_c=True)
        assert stored_dtype("auto") is not None
        assert fastest.ways_summary().startswith("bfloat16 weights; ")
    finally:
        monkeypatch.undo()
        device.current.cache_clear()
    assert not remembered(cache)


def test_a_format_that_somebody_names_is_what_it_is(cache: Path) -> None:
    assert way_of(drawn(is_rounded=True), "int8") == Way("int8", in_c=True)
    assert not remembered(cache)


@pytest.mark.usefixtures("without_units")
def test_doctor_names_format_and_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    said = fastest.ways_summary()
    assert said.startswith("float32 weights, or bfloat16 where a model holds no others")
    assert ("; in C" in said) == (compiled.library() is not None)
    monkeypatch.setenv("MALMOI_NATIVE", "0")
    assert "; by PyTorch: MALMOI_NATIVE=0 forbids C" in fastest.ways_summary()
