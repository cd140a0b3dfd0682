"""Anything may lie in a folder: it is a model, or one line says why not, and neither code nor memory is at risk."""

import json
import pickle
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from malmoi.errors import CheckpointError, UserError
from malmoi.files import read_json, write_json
from malmoi.formats.folder import load_model, load_text, save_model
from malmoi.model.config import LinearRope, ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")
N_VOCAB = 300
SIZES = {"vocab_size": N_VOCAB, "n_layer": 1, "n_embd": 8, "n_head": 2, "n_kv_head": 2, "head_dim": 4, "n_ff": 4}
GPT2 = {"norm": "layer", "ff": "gelu", "positions": "learned", "qkv_bias": True, "o_bias": True, "ff_bias": True}
SHAPES = {
    "smollm3": ModelConfig.model_validate(
        {**SIZES, "seq_len": 16, "qk_norm": False, "no_rope_layers": (0,), "rope_scaling": LinearRope(factor=2.0)}
    ),
    "gpt2": ModelConfig.model_validate({**SIZES, "seq_len": 16, "qk_norm": False, **GPT2}),
}
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    """A folder with a sound model folder of each family."""
    made = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    for name, shape in SHAPES.items():
        save_model(made / name, LanguageModel(shape), tokenizer, template, {})
    return made


@pytest.fixture
def folder(tmp_path: Path, whole: Path) -> Path:
    """A copy of the first, to be damaged."""
    return Path(shutil.copytree(whole / "smollm3", tmp_path / "model"))


@pytest.fixture
def little_memory() -> Iterator[None]:
    """200 MB more than now, so that whoever believes a forged length fails."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if not pages:
        pytest.skip("how much memory this process maps is only known on Linux")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 200 * 2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\0\0",
        safetensors({}),
        safetensors(b"{}", length=10**11),
        safetensors(b"{}", length=2**64 - 1),
        safetensors(b"{" + b" " * 50),
        safetensors(b"[" * 100_000),
        safetensors(b"\xff\xfe{}"),
        safetensors({"a": entry("F32", [4], 0, 16)}, b"\0" * 15),
        safetensors({"a": entry("F32", [4], 0, 16)}, b"\0" * 17),
        safetensors({"a": entry("F32", [5], 0, 16)}, b"\0" * 16),
        safetensors({"a": entry("F32", [2**62, 4], 0, 16)}, b"\0" * 16),
        safetensors({"a": entry("F32", [2**31, 2**31], 0, 2**64 - 1)}, b"\0" * 16),
        safetensors({"a": entry("F32", [-4], 0, 16)}, b"\0" * 16),
        safetensors({"a": entry("F32", [4], 16, 0)}, b"\0" * 16),
        safetensors({"a": entry("F32", [4], 0, 16), "b": entry("F32", [4], 0, 16)}, b"\0" * 16),
        safetensors({"a": entry("F32", [4], 0, 16), "b": entry("F32", [4], 8, 24)}, b"\0" * 24),
        safetensors({"a": entry("F32", [4], 0, 16), "b": entry("F32", [4], 32, 48)}, b"\0" * 48),
        safetensors({"a": entry("F33", [4], 0, 16)}, b"\0" * 16),
        safetensors({"a": {"shape": [4]}}, b"\0" * 16),
        safetensors({"model.embed_tokens.weight": entry("F32", [], 0, 4)}, b"\0" * 4),
        b"PK\x03\x04" + b"\0" * 100,
    ],
    ids=range(22),
)
@pytest.mark.usefixtures("little_memory")
def test_forged_weights_are_refused_without_memory(folder: Path, data: bytes) -> None:
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: "):
        load_model(folder)


def test_a_header_of_100_gigabytes_is_not_read(folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (folder / "model.safetensors").open("wb") as file:
        file.write((10**11).to_bytes(8, "little") + b"{")
        file.truncate(8 + 10**11 + 4)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated or not safetensors"):
        load_model(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("num_hidden_layers", 10**9, r"no_rope_layers is not a list with a flag for each layer"),
        ("hidden_size", 10**9, r"embed_tokens\.weight is \(300, 8\), config\.json says \(300, 1000000000\)"),
        ("hidden_size", 10**30, r"embed_tokens\.weight is \(300, 8\)"),
        ("intermediate_size", 10**30, r"down_proj\.weight is \(8, 4\)"),
        ("max_position_embeddings", 10**18, "less than or equal to 1048576"),
        ("head_dim", 2**40, r"k_proj\.weight is \(8, 8\)"),
    ],
)
@pytest.mark.usefixtures("little_memory")
def test_sizes_that_the_weights_do_not_have_are_never_built(folder: Path, key: str, value: int, says: str) -> None:
    path = folder / "config.json"
    write_json(path, read_json(path) | {key: value})
    for kind in (LanguageModel, ScalarModel):
        with pytest.raises(CheckpointError, match=says):
            load_model(folder, kind)


@pytest.mark.usefixtures("little_memory")
def test_a_billion_layers_are_counted_to_the_first_that_is_missing(folder: Path) -> None:
    path = folder / "config.json"
    write_json(path, read_json(path) | {"num_hidden_layers": 10**9, "model_type": "llama"})
    with pytest.raises(CheckpointError, match=r"layers\.1\.input_layernorm\.weight is missing"):
        load_model(folder)


def test_weights_of_a_type_that_is_not_read_are_named(folder: Path) -> None:
    shape = [N_VOCAB, 8]
    for dtype, n_bytes in (("I32", 4), ("F64", 8), ("BOOL", 1), ("F8_E4M3", 1)):
        n_all = n_bytes * N_VOCAB * 8
        header = {"model.embed_tokens.weight": entry(dtype, shape, 0, n_all)}
        (folder / "model.safetensors").write_bytes(safetensors(header, b"\0" * n_all))
        with pytest.raises(CheckpointError, match=r"embed_tokens\.weight is stored as torch\..*; float32, float16 and"):
            load_model(folder)


class Trap:
    """What a hostile pickle does when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.safetensors"])
def test_a_pickle_is_not_read(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    says = (
        "truncated or not safetensors" if name == "model.safetensors" else "only safetensors is read; .* convert it: "
    )
    with pytest.raises(CheckpointError, match=says):
        load_model(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "3", '{"a": 1', '{"model_type": NaN}', "\ufeff{}", ""])
def test_a_configuration_that_is_none_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json: "):
        load_model(folder)


def test_a_folder_in_place_of_a_file_is_refused(folder: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        (folder / name).mkdir()
        with pytest.raises(CheckpointError, match=name):
            load_model(folder)


def test_a_tokenizer_that_makes_tokens_which_the_model_lacks_is_refused(
    tmp_path: Path, folder: Path, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    small = LanguageModel(SHAPES["gpt2"].model_copy(update={"vocab_size": N_VOCAB - 1}))
    with pytest.raises(CheckpointError, match="the tokenizer has 300 tokens, the model 299; they do not belong toge"):
        save_model(tmp_path / "small", small, tokenizer, template, {})
    path = folder / "config.json"
    write_json(path, read_json(path) | {"vocab_size": N_VOCAB - 1})
    with pytest.raises(CheckpointError, match="the tokenizer has 300 tokens, the model 299"):
        load_text(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
MORE_KEYS = [
    "rope_parameters", "use_sliding_window", "sliding_window", "quantization_config", "partial_rotary_factor",
    "original_max_position_embeddings", "num_key_value_heads", "rms_norm_eps", "tie_word_embeddings",
]  # fmt: skip
ROPE_KEYS = ["rope_type", "type", "factor", "rope_theta", "low_freq_factor", "high_freq_factor", "beta_fast",
             "beta_slow", "attention_factor", "truncate", "original_max_position_embeddings", "mscale"]  # fmt: skip


@FUZZ
@given(data=st.data())
def test_any_configuration_loads_or_is_refused(whole: Path, folder: Path, data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(sorted(SHAPES)))
    config = read_json(whole / family / "config.json")
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from([*config, *MORE_KEYS, "model_type"]))
        config[key] = data.draw(JSON)
    if data.draw(st.booleans()):
        kind = data.draw(st.sampled_from(["linear", "llama3", "yarn", "dynamic", "default"]))
        config["rope_scaling"] = {"rope_type": kind, **data.draw(st.dictionaries(st.sampled_from(ROPE_KEYS), JSON))}
    _loads_or_is_refused(whole / family, folder, "config.json", json.dumps(config).encode())


@FUZZ
@given(data=st.data())
def test_any_damage_to_a_file_is_noticed_or_harmless(whole: Path, folder: Path, data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(sorted(SHAPES)))
    name = data.draw(st.sampled_from(["config.json", "model.safetensors"]))
    content = bytearray((whole / family / name).read_bytes())
    # The header is what can be forged; of the numbers behind it any is right.
    end = min(len(content), 8 + int.from_bytes(content[:8], "little")) if name == "model.safetensors" else len(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, end - 1))
        span = data.draw(st.integers(0, 6))
        content[at : at + span] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"0", b"9" * 5, b"-1", b"]", b"{"])
        )
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    _loads_or_is_refused(whole / family, folder, name, bytes(content))


@FUZZ
@given(index=st.dictionaries(st.sampled_from(["weight_map", "metadata"]), st.dictionaries(st.text(), JSON) | JSON))
def test_any_index_of_shards_is_refused_that_is_none(whole: Path, folder: Path, index: dict[str, Any]) -> None:
    (folder / "model.safetensors").unlink(missing_ok=True)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError):
        load_model(folder)


def _loads_or_is_refused(source: Path, folder: Path, name: str, content: bytes) -> None:
    for other in ("config.json", "model.safetensors"):
        shutil.copy(source / other, folder / other)
    (folder / name).unlink()
    (folder / name).write_bytes(content)
    try:
        model = load_model(folder)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        with torch.no_grad():
            assert model(torch.arange(1)[None]).shape == (1, 1, model.config.vocab_size)
