"""GGUF out and in: what was written comes back, and what cannot be written or read is refused by name."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, decoders, pre_tokenizers
from tokenizers import Tokenizer as Engine

from malmoi.errors import CheckpointError, ConfigError, UserError
from malmoi.formats.gguf.file import GGUF, TensorToWrite, read_gguf, write_gguf
from malmoi.formats.gguf.read import GGUFModel, deinterleave, import_gguf, interleave
from malmoi.formats.gguf.text import TEXT_RULES
from malmoi.formats.gguf.write import KINDS, export_gguf
from malmoi.model.config import LinearRope, Llama3Rope, ModelConfig, YarnRope
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")

LLAMA: dict[str, Any] = {"qk_norm": False}
GPT2 = {
    "norm": "layer", "ff": "gelu", "positions": "learned", "qk_norm": False, "n_kv_head": 2, "qkv_bias": True,
    "o_bias": True, "ff_bias": True, "tie_embeddings": True,
}  # fmt: skip
LLAMA3 = Llama3Rope(factor=32, original_seq_len=8192, low_freq_factor=1, high_freq_factor=4)
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {**LLAMA, "norm_eps": 1e-5, "rope_theta": 123.5}),
    "llama, tied, wide heads": ("llama", {**LLAMA, "tie_embeddings": True, "head_dim": 16}),
    "llama, biases": ("llama", {**LLAMA, "qkv_bias": True, "o_bias": True, "ff_bias": True}),
    "llama, linear": ("llama", {**LLAMA, "rope_scaling": LinearRope(factor=2.5)}),
    "llama, llama3": ("llama", {**LLAMA, "rope_scaling": LLAMA3, "rope_theta": 5e5, "head_dim": 64}),
    "qwen2": ("qwen2", {**LLAMA, "qkv_bias": True}),
    "qwen2, yarn": (
        "qwen2", {**LLAMA, "qkv_bias": True, "rope_scaling": YarnRope(factor=4, original_seq_len=8, beta_fast=16)}
    ),
    "qwen3": ("qwen3", {}),
    "smollm3": ("smollm3", {**LLAMA, "n_layer": 9, "no_rope_layers": (3, 7)}),
    "gpt2": ("gpt2", GPT2),
}  # fmt: skip


def network(shape: ModelConfig, **features: Any) -> LanguageModel:
    """Random weights everywhere, norms and biases too."""
    torch.manual_seed(5)
    model = LanguageModel(ModelConfig.model_validate({**shape.model_dump(), **features}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


@pytest.fixture
def exported(tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    export_gguf(tmp_path / "model.gguf", network(shape), tokenizer, template)
    return tmp_path / "model.gguf"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_comes_back(
    tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate, name: str
) -> None:
    architecture, features = NETWORKS[name]
    model = network(shape, **features)
    export_gguf(tmp_path / "model.gguf", model, tokenizer, template)
    assert read_gguf(tmp_path / "model.gguf").metadata["general.architecture"] == architecture
    found = import_gguf(tmp_path / "model.gguf")
    assert found.config == model.config
    state = dict(found.network().state_dict())
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert set(found.tensors) == {key for key, _ in model.config.shapes()}
    text = "낱말 cat  <|end|> 12"
    assert found.tokenizer.encode(text) == tokenizer.encode(text) and found.template == template
    chat = [{"role": "user", "content": text}, {"role": "assistant", "content": "네"}]
    assert template.encode(found.tokenizer, chat) == template.encode(tokenizer, chat)
    ids = ("end_of_turn_id", "end_of_text_id", "pad_id", "stop_ids", "vocab_size")
    assert [getattr(found.tokenizer, key) for key in ids] == [getattr(tokenizer, key) for key in ids]


@pytest.mark.parametrize(("kind", "error"), [("f16", 2**-11), ("bf16", 2**-8), ("q8_0", 0.5 / 127 + 2**-11)])
def test_matrices_are_stored_narrower_and_vectors_are_not(
    tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate, kind: str, error: float
) -> None:
    """n_embd is 32, n_ff 48: of 8 bits, what is 48 wide must be float16."""
    model = network(shape, n_embd=32, n_ff=48)
    export_gguf(tmp_path / "model.gguf", model, tokenizer, template, kind)
    file = read_gguf(tmp_path / "model.gguf")
    stored = {name: info.block_format.name for name, info in file.infos.items()}
    assert stored["blk.0.attn_norm.weight"] == "F32" and stored["blk.1.ffn_up.weight"] == kind.upper()
    assert stored["blk.0.ffn_down.weight"] == ("F16" if kind == "q8_0" else kind.upper())
    for name, tensor in import_gguf(tmp_path / "model.gguf").tensors.items():
        true = model.state_dict()[name]
        assert ((tensor - true).abs() <= error * true.abs().amax(-1, keepdim=True)).all()


def test_interleaved_rows_turned_in_pairs_are_halves_turned() -> None:
    """llama.cpp turns neighbours; with rows in that order its scores are those of halves."""
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    turn = torch.polar(torch.ones(4), torch.tensor([0.3, 0.7, 1.1, 1.9]))
    halves = torch.view_as_real(torch.complex(q[:4], q[4:]) * turn).T.flatten()
    pairs = torch.view_as_real(torch.view_as_complex(interleave(q, 8).view(4, 2)) * turn).flatten()
    torch.testing.assert_close(pairs @ interleave(k, 8), halves @ k)
    rows = torch.arange(32)
    assert torch.equal(deinterleave(interleave(rows, 8), 8), rows)


@pytest.mark.parametrize("pre", TEXT_RULES)
def test_how_text_is_cut_comes_back(tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, pre: str) -> None:
    rules = json.loads(tokenizer.backend.to_str())
    rules["pre_tokenizer"], rules["normalizer"], rules["model"]["ignore_merges"] = TEXT_RULES[pre]
    cut = Tokenizer(Engine.from_str(json.dumps(rules)), tokenizer.settings)
    export_gguf(tmp_path / "model.gguf", network(shape), cut, ChatTemplate.plain())
    assert read_gguf(tmp_path / "model.gguf").metadata["tokenizer.ggml.pre"] == pre
    found = import_gguf(tmp_path / "model.gguf").tokenizer
    back = json.loads(found.backend.to_str())
    assert all(back[part] == rules[part] for part in ("pre_tokenizer", "normalizer", "model", "added_tokens"))


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("gpt-2", ["I", "'m", "Ġ1234", "Ġ", "Ġok", "!?"]),
        ("smollm", ["I", "'m", "Ġ", "1", "2", "3", "4", "Ġ", "Ġok", "!?"]),
        ("llama-bpe", ["I", "'m", "Ġ", "123", "4", "Ġ", "Ġok", "!?"]),
        ("qwen2", ["I", "'m", "Ġ", "1", "2", "3", "4", "Ġ", "Ġok", "!?"]),
        ("default", ["I", "'", "m", "Ġ", "123", "4", "Ġ", "Ġok", "!?"]),
    ],
)
def test_text_is_cut_as_the_rules_say(tokenizer: Tokenizer, pre: str, pieces: list[str]) -> None:
    rules = json.loads(tokenizer.backend.to_str()) | {"pre_tokenizer": TEXT_RULES[pre].pre_tokenizer}
    engine = Engine.from_str(json.dumps(rules))
    assert engine.pre_tokenizer is not None
    assert [piece for piece, _ in engine.pre_tokenizer.pre_tokenize_str("I'm 1234  ok!?")] == pieces


def test_tokens_that_are_only_whole_and_empty_rows_come_back(
    tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer
) -> None:
    engine = Engine.from_str(tokenizer.backend.to_str())
    engine.add_tokens([AddedToken("<think>", normalized=False)])
    grown = Tokenizer(engine, tokenizer.settings)
    export_gguf(tmp_path / "model.gguf", network(shape, vocab_size=310), grown, ChatTemplate.plain())
    assert read_gguf(tmp_path / "model.gguf").strings("tokenizer.ggml.tokens")[-2:] == ["[PAD308]", "[PAD309]"]
    found = import_gguf(tmp_path / "model.gguf")
    assert found.config.vocab_size == 310 and found.tokenizer.vocab_size == 301
    assert found.tokenizer.plain_tokens == ["<think>"] and found.tokenizer.encode("<think>") == [300]


def rewrite(path: Path, metadata: dict[str, Any], tensors: dict[str, torch.Tensor | None] | None = None) -> GGUFModel:
    """The same file with other metadata and tensors (None: without), imported."""
    file = read_gguf(path)
    kept = {key: value if isinstance(value, str | int | float | list) else value.tolist()
            for key, value in file.metadata.items()}  # fmt: skip
    kept = {key: value for key, value in (kept | metadata).items() if value is not None}
    found = {name: file.tensor(name) for name in file.infos} | (tensors or {})
    write_gguf(
        path.with_name("other.gguf"), kept,
        {name: TensorToWrite(tuple(t.shape), "F32", lambda t=t: t) for name, t in found.items() if t is not None},
    )  # fmt: skip
    return import_gguf(path.with_name("other.gguf"))


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"general.architecture": "mamba"}, "architecture: 'mamba' is not supported; qwen3, qwen2"),
        ({"split.count": 3}, "one part of 3; join them"),
        ({"qwen3.block_count": None}, "qwen3.block_count: is missing"),
        ({"qwen3.block_count": 3}, "tensor 'blk.2.attn_k.weight': is missing"),
        ({"qwen3.block_count": 1}, "tensor 'blk.1.attn_k.weight': is not supported"),
        ({"qwen3.block_count": 2**32 - 1}, "blocks of 2 heads are not possible"),
        ({"qwen3.block_count": "two"}, "qwen3.block_count: expected one int, found 'two'"),
        ({"qwen3.block_count": [2, 2]}, "qwen3.block_count: expected one int, found an array"),
        ({"qwen3.attention.head_count": 0}, "blocks of 0 heads are not possible"),
        ({"qwen3.attention.head_count": 3}, r"'blk.0.attn_\w+.weight': is \(16, 16\), the metadata says"),
        ({"qwen3.attention.value_length": 4}, "value_length: is 4, but head_dim is 8"),
        ({"qwen3.rope.dimension_count": 4}, "dimension_count: is 4, but head_dim is 8"),
        ({"qwen3.context_length": 2**31}, "seq_len: Input should be less than"),
        ({"qwen3.attention.layer_norm_rms_epsilon": float("nan")}, "norm_eps: "),
        ({"qwen3.expert_count": 8}, "qwen3.expert_count': is not supported"),
        ({"qwen3.attention.sliding_window": 16}, "qwen3.attention.sliding_window': is not supported"),
        ({"qwen3.logit_scale\n": 2.0}, r"'qwen3.logit_scale\\n': is not supported"),
        ({"qwen3.rope.scaling.type": "longrope", "qwen3.rope.scaling.factor": 2.0}, "'longrope' is not supported"),
        ({"qwen3.rope.scaling.type": "linear", "qwen3.rope.scaling.factor": 0.5}, "rope_scaling.linear.factor"),
        ({"tokenizer.ggml.model": "llama"}, "'llama' is not supported; gpt2"),
        ({"tokenizer.ggml.pre": "tekken"}, "'tekken' is not supported; gpt-2, smollm"),
        ({"tokenizer.ggml.tokens": None}, "tokenizer.ggml.tokens: is missing"),
        ({"tokenizer.ggml.tokens": ["a", "b", "b"]}, "3 tokens, 2 different, 300 types and 300 rows"),
        ({"tokenizer.ggml.tokens": "abc"}, "tokenizer.ggml.tokens: expected strings"),
        ({"tokenizer.ggml.tokens": ["", "a"], "tokenizer.ggml.token_type": [3, 1]}, "a special token is empty"),
        ({"tokenizer.ggml.token_type": ["x"]}, "tokenizer.ggml.token_type: expected integers"),
        ({"tokenizer.ggml.merges": ["Ġ Ġt h"]}, "tokenizer.ggml: is not a tokenizer"),
        ({"tokenizer.ggml.merges": ["nowhere to"]}, "tokenizer.ggml: is not a tokenizer"),
        ({"tokenizer.ggml.eos_token_id": 300}, "eos_token_id: 300 is not one of 300 tokens"),
        ({"tokenizer.chat_template": 5}, "chat_template: expected one str, found '5'"),
    ],
    ids=str,
)  # fmt: skip
def test_metadata_that_cannot_be_is_named(exported: Path, metadata: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says) as error:
        rewrite(exported, metadata)
    assert str(error.value).startswith(f"{exported.with_name('other.gguf')}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"output_norm.weight": None}, "'output_norm.weight': is missing"),
        ({"blk.0.ffn_gate_inp.weight": torch.zeros(4, 16)}, "'blk.0.ffn_gate_inp.weight': is not supported"),
        ({"output_norm.weight": torch.zeros(17)}, r"'output_norm.weight': is \(17,\), the metadata says \(16,\)"),
        ({"rope_freqs.weight": torch.tensor([1.0, 1.0, 3.0, 9.0])}, "rope_freqs.weight: is not Llama 3's"),
    ],
    ids=["missing", "of experts", "of another shape", "of other frequencies"],
)
def test_tensors_that_cannot_be_are_named(exported: Path, tensors: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        rewrite(exported, {}, tensors)


def test_weights_that_are_no_numbers_are_named(exported: Path) -> None:
    spoilt = torch.full((16,), float("nan"))
    with pytest.raises(CheckpointError, match=r"output_norm\.weight: has values that are not numbers"):
        rewrite(exported, {}, {"output_norm.weight": spoilt})
    start = read_gguf(exported).infos["output_norm.weight"].start
    data = bytearray(exported.read_bytes())
    data[start : start + 64] = spoilt.numpy().tobytes()
    exported.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"'output_norm\.weight': has values that are not numbers"):
        dict(import_gguf(exported).tensors)


def test_what_changes_nothing_is_passed_over(exported: Path) -> None:
    idle = {"qwen3.expert_count": 0, "qwen3.attention.causal": True, "qwen3.vocab_size": 300, "other.thing": 1.0}
    without = {"tokenizer.ggml.token_type": None, "tokenizer.chat_template": None, "tokenizer.ggml.bos_token_id": None}
    found = rewrite(
        exported, {**idle, "qwen3.rope.scaling.type": "none"} | without, {"rope_freqs.weight": torch.ones(4)}
    )
    assert found.config == import_gguf(exported).config
    assert found.template == ChatTemplate.plain() and found.tokenizer.names["eos_token"] == "<|end|>"


def test_a_beginning_of_text_is_put_first_only_by_the_makers_encoding(exported: Path) -> None:
    found = rewrite(exported, {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 0}).tokenizer
    assert found.backend.encode("cat").ids == [0, *found.encode("cat")]


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ({"norm": "layer"}, "no architecture of llama.cpp"),
        ({"no_rope_layers": (0,)}, "no architecture of llama.cpp"),
        ({**GPT2, "n_kv_head": 1}, "gpt2 needs n_kv_head = n_head"),
        ({"rope_scaling": LLAMA3}, "only in llama, not in qwen3"),
        (
            {"rope_scaling": YarnRope(factor=2, original_seq_len=8, attention_factor=1.5)},
            "default attention_factor",
        ),
        ({"vocab_size": 299}, "is number 299, but the embedding has 299 rows"),
    ],
    ids=str,
)
def test_networks_that_gguf_cannot_say_are_refused(
    tmp_path: Path,
    shape: ModelConfig,
    tokenizer: Tokenizer,
    template: ChatTemplate,
    features: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(CheckpointError, match=says):
        export_gguf(tmp_path / "model.gguf", network(shape, **features), tokenizer, template)
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_llama_cpp_has_no_name_for_is_refused(
    tmp_path: Path, policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    engine = Engine.from_str(tokenizer.backend.to_str())
    engine.pre_tokenizer = pre_tokenizers.Metaspace()
    engine.decoder = decoders.Metaspace()
    with pytest.raises(CheckpointError, match="does not know how it splits text"):
        export_gguf(tmp_path / "model.gguf", policy, Tokenizer(engine), template)


def test_an_unknown_kind_and_values_too_large_leave_nothing(
    tmp_path: Path, policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    with pytest.raises(ConfigError, match=f"'q5_k' is not supported; {', '.join(KINDS)}"):
        export_gguf(tmp_path / "model.gguf", policy, tokenizer, template, "q5_k")
    with torch.no_grad():
        policy.model.layers[1].mlp.up_proj.weight[3, 3] = 1e6
    with pytest.raises(CheckpointError, match=r"tensor blk\.1\.ffn_up\.weight: has values that torch\.float16 cannot"):
        export_gguf(tmp_path / "model.gguf", policy, tokenizer, template, "f16")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_keeps_the_old_file(
    exported: Path, policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exported.read_bytes()

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(UserError, match=r"model\.gguf: the disk is full"):
        export_gguf(exported, policy, tokenizer, template)
    assert exported.read_bytes() == before and list(exported.parent.iterdir()) == [exported]


def test_reading_takes_one_tensor_at_a_time(exported: Path) -> None:
    file: GGUF = read_gguf(exported)
    assert torch.equal(file.tensor("output_norm.weight"), import_gguf(exported).tensors["model.norm.weight"])
