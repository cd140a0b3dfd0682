"""Every family beside transformers: the same numbers and gradients, folders that go both ways, and no other family."""

import os
import random
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from malmoi.errors import CheckpointError
from malmoi.files import read_json, write_json
from malmoi.formats.folder import load_model, save_model
from malmoi.formats.huggingface import Dtype, family_of, read_config, to_ours, to_theirs, write_config
from malmoi.formats.locate import INDEX, WEIGHTS
from malmoi.model.config import ModelConfig
from malmoi.model.kv_cache import KVCache
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("default:::transformers.*")

N_VOCAB, PAD, SEQ_LEN = 300, 299, 32
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 300.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 24}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, tied, all biases": ("Llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    "llama, attention biases": ("Llama", {"attention_bias": True, "rms_norm_eps": 1e-5}),
    "llama, linear scaling": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.5}}),
    "llama, llama3 scaling": ("Llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama, yarn": ("Llama", {"rope_parameters": YARN}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral, one window": ("Mistral", {"sliding_window": SEQ_LEN, "head_dim": 10}),
    "qwen2": ("Qwen2", {}),
    "qwen2, tied, yarn": (
        "Qwen2",
        {"tie_word_embeddings": True, "rope_parameters": {**YARN, "attention_factor": 1.3, "truncate": False}},
    ),
    "qwen3": ("Qwen3", {"head_dim": 12}),
    "qwen3, tied, biases": ("Qwen3", {"tie_word_embeddings": True, "attention_bias": True, "head_dim": 8}),
    "qwen3, yarn": ("Qwen3", {"head_dim": 16, "rope_parameters": {**YARN, "beta_fast": 8.0, "beta_slow": 2.0}}),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 5}),
    "smollm3, untied, biases": (
        "SmolLM3",
        {"no_rope_layers": [0, 1, 1], "tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True},
    ),
    "gpt2": ("GPT2", {}),
    "gpt2, untied, narrow": ("GPT2", {"tie_word_embeddings": False, "n_inner": 20, "layer_norm_epsilon": 1e-3}),
}
LANGUAGE_MODELS = {"GPT2": "GPT2LMHeadModel"}


def their_model(name: str) -> Any:
    """A network of transformers of random shape with large random weights, so that no term is too small to be seen."""
    family, given = NETWORKS[name]
    draw = random.Random(name)
    n_head = draw.choice([2, 4])
    sizes: dict[str, Any] = {"vocab_size": N_VOCAB, "pad_token_id": PAD, "bos_token_id": 0, "eos_token_id": 0}
    if family == "GPT2":
        sizes |= {"n_embd": n_head * draw.choice([5, 8]), "n_head": n_head, "n_layer": 3, "n_positions": SEQ_LEN}
        sizes |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    else:
        sizes |= {"hidden_size": n_head * draw.choice([6, 8]), "num_attention_heads": n_head, "num_hidden_layers": 3}
        sizes |= {"num_key_value_heads": draw.choice([1, n_head // 2, n_head]), "max_position_embeddings": SEQ_LEN}
        sizes |= {"intermediate_size": draw.randrange(12, 40), "rope_theta": draw.choice([30.0, 10_000.0])}
    config = getattr(transformers, f"{family}Config")(**sizes | given)
    return randomised(getattr(transformers, LANGUAGE_MODELS.get(family, f"{family}ForCausalLM"))(config).eval(), name)


def randomised(model: Any, seed: str) -> Any:
    generator = torch.Generator().manual_seed(random.Random(seed).randrange(2**31))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.ndim == 1 else 0.0, 0.15, generator=generator)
    return model


def some_ids(n_rows: int = 3, length: int = SEQ_LEN) -> torch.Tensor:
    # Theirs gives the embedding of the pad token no gradient, so it is not among them.
    return torch.randint(PAD, (n_rows, length), generator=torch.Generator().manual_seed(1))


def same_logits(ours: Any, theirs: Any) -> None:
    ids = some_ids()
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_gradients_and_sizes_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    theirs = their_model(name)
    theirs.save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    ids = some_ids()
    targets, mask = ids.roll(-1, dims=1), torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[:, -5:] = False  # so that padding is left out
    logits, their_logits = ours(ids), theirs(ids).logits
    torch.testing.assert_close(logits, their_logits, atol=1e-5, rtol=1e-5)

    (ours.cross_entropy(ids, targets, mask) / mask.sum()).backward()
    nn.functional.cross_entropy(their_logits[mask], targets[mask]).backward()
    their_gradients = to_ours({name: p.grad for name, p in theirs.named_parameters()}, ours.config)
    our_gradients = {name: p.grad for name, p in ours.named_parameters()}
    torch.testing.assert_close(our_gradients, their_gradients, atol=1e-5, rtol=1e-4)

    config = ours.config
    assert dict(config.shapes()) == {name: tuple(p.shape) for name, p in ours.named_parameters()}
    assert config.n_parameters() == sum(p.numel() for p in theirs.parameters())
    multiplied = [m for m in theirs.modules() if not isinstance(m, nn.Embedding)]
    n_multiplied = sum(p.numel() for module in multiplied for p in module.parameters(recurse=False))
    attention = 6 * config.n_layer * config.n_head * config.head_dim * SEQ_LEN
    assert config.flops_per_token() == 6 * n_multiplied + attention


@pytest.mark.parametrize("name", NETWORKS)
def test_transformers_load_what_we_export(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    their_model(name).save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    save_model(tmp_path / "ours", ours, tokenizer, ChatTemplate.default(), {})
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    # A Mistral whose window plays no part is a Llama, unless transformers' Llama refuses its shape.
    assert family_of(ours.config) == theirs.config.model_type == name.split(",")[0].replace("mistral", "llama")
    same_logits(ours, theirs)
    again = load_model(tmp_path / "ours")
    assert again.config == ours.config
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in ours.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_decoding_with_a_cache_is_reading_everything(tmp_path: Path, name: str) -> None:
    their_model(name).save_pretrained(tmp_path)
    ours = load_model(tmp_path)
    config, ids, lengths = ours.config, some_ids(), torch.tensor([9, 1, 5])
    cache = KVCache(config.n_layer, 3, config.n_kv_head, SEQ_LEN, config.head_dim, torch.float32, torch.device("cpu"))
    rows = torch.arange(3)
    with torch.no_grad():
        expected = ours(ids)
        read = ours(ids[:, :9], cache)
        torch.testing.assert_close(read, expected[:, :9], atol=1e-5, rtol=1e-5)
        cache.advance(lengths)
        for _ in range(4):
            positions = cache.lengths.clone()
            logits = ours(ids[rows, positions][:, None], cache)[:, 0]
            torch.testing.assert_close(logits, expected[rows, positions], atol=1e-5, rtol=1e-5)
            cache.advance(1)


@pytest.mark.parametrize("name", ["llama", "qwen2", "smollm3", "gpt2"])
def test_reward_models_go_both_ways(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    their_model(name).save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs", ScalarModel, seed=3)
    save_model(tmp_path / "ours", ours, tokenizer, ChatTemplate.default(), {})
    theirs, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(report.values()), report
    ids = some_ids()
    with torch.no_grad():
        torch.testing.assert_close(ours(ids)[:, -1], theirs(ids).logits[:, 0], atol=1e-5, rtol=1e-5)
    theirs.save_pretrained(tmp_path / "back")
    for folder in ("ours", "back"):
        again = load_model(tmp_path / folder, ScalarModel).state_dict()
        assert all(torch.equal(tensor, again[key]) for key, tensor in ours.state_dict().items())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["qwen2, tied, yarn", "gpt2"])
def test_weights_of_16_bits_go_both_ways(tmp_path: Path, tokenizer: Tokenizer, name: str, dtype: Dtype) -> None:
    their_model(name).to(getattr(torch, dtype)).save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    save_model(tmp_path / "ours", ours, tokenizer, ChatTemplate.default(), {}, dtype=dtype)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert theirs.dtype == getattr(torch, dtype)
    expected = to_theirs(ours.state_dict(), ours.config)
    found = load_file(tmp_path / "ours" / WEIGHTS)
    assert found.keys() == expected.keys()
    # What was stored in 16 bits is whole numbers of them: nothing is lost on the way.
    assert all(torch.equal(found[key].float(), tensor) for key, tensor in expected.items())
    same_logits(ours, theirs.float())


@pytest.mark.parametrize("n_heads", [1, 3])
def test_the_zero_of_a_gpt2_reward_model_is_in_its_last_norm(
    tmp_path: Path, tokenizer: Tokenizer, n_heads: int
) -> None:
    their_model("gpt2").save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs", ScalarModel, seed=3, n_heads=n_heads)
    ours.score_bias.copy_(torch.arange(n_heads).view_as(ours.score_bias) - 2.3694)
    save_model(tmp_path / "ours", ours, tokenizer, ChatTemplate.default(), {})
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
    ids, again = some_ids(), load_model(tmp_path / "ours", ScalarModel)
    with torch.no_grad():
        expected = ours.scores(ids)
        torch.testing.assert_close(theirs(ids).logits, expected[:, -1], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(again.scores(ids), expected, atol=1e-5, rtol=1e-5)
    assert not again.score_bias.any() and "score_bias" not in read_json(tmp_path / "ours" / "config.json")
    save_model(tmp_path / "half", ours, tokenizer, ChatTemplate.default(), {}, "bfloat16")
    assert torch.equal(load_model(tmp_path / "half", ScalarModel).score_bias, ours.score_bias)


def test_a_number_that_float16_cannot_hold_is_not_written(tmp_path: Path, tokenizer: Tokenizer) -> None:
    their_model("gpt2").save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs")
    with torch.no_grad():
        ours.model.layers[1].mlp.up_proj.weight[3, 2] = 70_000.0
    with pytest.raises(CheckpointError, match=r"h\.1\.mlp\.c_fc\.weight: .* float16 cannot hold; use bfloat16"):
        save_model(tmp_path / "ours", ours, tokenizer, ChatTemplate.default(), {}, dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("name", ["llama", "qwen3, tied, biases", "gpt2", "gpt2, untied, narrow"])
def test_shards_are_one_model(tmp_path: Path, name: str) -> None:
    theirs = their_model(name)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    same_logits(load_model(tmp_path), theirs)


@pytest.mark.parametrize("name", ["llama, tied, all biases", "gpt2"])
def test_names_that_older_folders_use(tmp_path: Path, name: str) -> None:
    """No prefix, buffers beside the weights, and a tied head that is stored too or alone."""
    theirs = their_model(name)
    theirs.save_pretrained(tmp_path)
    path, is_gpt2 = tmp_path / WEIGHTS, name == "gpt2"
    plain = load_file(path)
    head, prefix = ("wte.weight", "transformer.") if is_gpt2 else ("embed_tokens.weight", "model.")
    bare = {key.removeprefix(prefix): tensor for key, tensor in plain.items()}
    buffers = {"h.0.attn.bias": torch.ones(1, 1, 4, 4, dtype=torch.bool), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    if not is_gpt2:
        buffers = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(3)}
    alone = {key: tensor for key, tensor in plain.items() if key != prefix + head}
    for tensors in (
        bare,
        plain | buffers,
        bare | buffers,
        plain | {"lm_head.weight": plain[prefix + head].clone()},
        alone | {"lm_head.weight": plain[prefix + head]},
    ):
        save_file(tensors, path)
        same_logits(load_model(tmp_path), theirs)
    save_file(plain | {"lm_head.weight": plain[prefix + head] + 1}, path)
    with pytest.raises(CheckpointError, match="differs from the embedding that it is tied to; set tie_word_embeddings"):
        load_model(tmp_path)
    save_file(plain | {head: plain[prefix + head].clone()}, path)
    with pytest.raises(CheckpointError, match="is duplicate"):
        load_model(tmp_path)


LLAMA_32 = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "head_dim": 64,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
    "attention_bias": False, "mlp_bias": False, "hidden_act": "silu", "pretraining_tp": 1,
    "rope_scaling": {
        "factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
}  # fmt: skip
MISTRAL = {
    "model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": False,
    "hidden_act": "silu",
}  # fmt: skip
QWEN25 = {
    "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
    "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 32768,
    "max_window_layers": 21, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "sliding_window": 32768,
    "use_sliding_window": False, "tie_word_embeddings": True, "hidden_act": "silu",
}  # fmt: skip
QWEN3 = {
    "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "head_dim": 128,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 40960,
    "max_window_layers": 28, "rms_norm_eps": 1e-6, "rope_theta": 1000000, "rope_scaling": None,
    "sliding_window": None, "use_sliding_window": False, "tie_word_embeddings": True, "attention_bias": False,
    "hidden_act": "silu",
}  # fmt: skip
SMOLLM2 = {
    "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5, "rope_theta": 100000, "rope_scaling": None, "rope_interleaved": False,
    "tie_word_embeddings": True, "hidden_act": "silu",
}  # fmt: skip
SMOLLM3 = {
    "model_type": "smollm3", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 11008,
    "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 4, "max_position_embeddings": 65536,
    "no_rope_layer_interval": 4, "no_rope_layers": [1, 1, 1, 0] * 9, "rms_norm_eps": 1e-6, "rope_theta": 5000000.0,
    "sliding_window": None, "use_sliding_window": False, "hidden_act": "silu",
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "vocab_size": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12,
    "n_positions": 1024, "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "resid_pdrop": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "n_parameters"),
    [
        (LLAMA_32, 1_235_814_400),
        (MISTRAL | {"vocab_size": 32768, "sliding_window": None}, 7_248_023_552),
        (MISTRAL | {"max_position_embeddings": 4096}, 7_241_732_096),
        (QWEN25, 494_032_768),
        (QWEN3, 596_049_920),
        (SMOLLM2, 134_515_008),
        (SMOLLM3, 3_075_098_624),
        (GPT2, 124_439_808),
    ],
    ids=[
        "Llama 3.2 1B",
        "Mistral 7B 0.3",
        "Mistral 7B 0.1",
        "Qwen2.5 0.5B",
        "Qwen3 0.6B",
        "SmolLM2",
        "SmolLM3",
        "GPT-2",
    ],
)
def test_published_models_have_their_published_number_of_weights(config: dict[str, Any], n_parameters: int) -> None:
    assert read_config(config, "config.json").n_parameters() == n_parameters


def test_both_spellings_of_rotary_settings_say_the_same() -> None:
    older = read_config(LLAMA_32, "config.json")
    rope = {**LLAMA_32["rope_scaling"], "rope_theta": 500000.0}  # type: ignore[dict-item]
    newer = {key: value for key, value in LLAMA_32.items() if not key.startswith("rope")} | {"rope_parameters": rope}
    assert read_config(newer, "config.json") == older and older.rope_scaling is not None
    assert older.rope_scaling.kind == "llama3" and older.rope_scaling.factor == 32
    oldest = SMOLLM2 | {"rope_scaling": {"type": "linear", "factor": 2}}
    assert read_config(oldest, "config.json").rope_scaling.kind == "linear"  # type: ignore[union-attr]
    assert read_config(SMOLLM3, "config.json").no_rope_layers == tuple(range(3, 36, 4))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ([], "must be a JSON object"),
        ({"model_type": "gemma3"}, "architecture 'gemma3' is not supported; llama, mistral, qwen2, .* are"),
        ({"model_type": ["llama"]}, "architecture .* is not supported"),
        (SMOLLM2 | {"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported; 'silu' or 'swish' is"),
        (SMOLLM2 | {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic' is not supported"),
        (SMOLLM2 | {"rope_scaling": {"type": "linear", "factor": 0.5}}, "linear rotary scaling: factor: .* .got 0.5."),
        (SMOLLM2 | {"rope_scaling": {"type": "yarn", "factor": 4.0}}, "original_max_position_embeddings: Field requ"),
        (LLAMA_32 | {"rope_scaling": {**LLAMA3, "mscale": 1.0}}, "llama3 rotary scaling: mscale: Extra inputs"),
        (SMOLLM2 | {"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5 is not supported"),
        (SMOLLM2 | {"rope_theta": "x"}, "rope_theta: Input should be a valid number"),
        (SMOLLM2 | {"hidden_size": None}, "hidden_size is missing"),
        (SMOLLM2 | {"num_attention_heads": 0}, "not a usable model configuration"),
        (SMOLLM2 | {"num_hidden_layers": 2.5}, r"num_hidden_layers: .* \(got 2.5\)"),
        (SMOLLM2 | {"num_key_value_heads": 2}, "n_head 9 is not a multiple of n_kv_head 2"),
        (SMOLLM2 | {"max_position_embeddings": 10**12}, "max_position_embeddings: .* less than or equal to"),
        (SMOLLM2 | {"quantization_config": {"quant_method": "gptq"}}, "quantised weights are not read"),
        (SMOLLM3 | {"no_rope_layers": [1, 0]}, "no_rope_layers is not a list with a flag for each layer"),
        (MISTRAL, r"sliding_window 4096\) are not supported; .* set max_position_embeddings to 4096"),
        (QWEN25 | {"use_sliding_window": True, "sliding_window": 512}, "sliding_window 512"),
        (GPT2 | {"activation_function": "relu"}, "activation_function 'relu' is not supported"),
        (GPT2 | {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx True is not supported"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_is_not_supported_is_named(config: Any, says: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^config\.json: .*{says}"):
        read_config(config, "config.json")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"norm": "layer"}, "the nearest, llama, cannot have norm = 'layer'"),
        ({"qkv_bias": True, "ff_bias": True}, "the nearest, llama, cannot have o_bias = False"),
        ({"qk_norm": True, "no_rope_layers": (1,)}, "the nearest, qwen3, cannot have no_rope_layers = .1,."),
        (
            {"positions": "learned", "ff": "gelu", "norm": "layer", "n_kv_head": 4, "o_bias": True},
            "the nearest, gpt2, ",
        ),
    ],
)
def test_a_combination_that_no_family_has_is_refused(
    tmp_path: Path, tokenizer: Tokenizer, given: dict[str, Any], says: str
) -> None:
    config = ModelConfig.model_validate({"vocab_size": N_VOCAB, "qk_norm": False, **given})
    with pytest.raises(CheckpointError, match=f"no Hugging Face family has such a network; {says}"):
        write_config(config, eos_token_id=0, pad_token_id=1)
    with pytest.raises(CheckpointError, match="no Hugging Face family"):
        save_model(tmp_path / "model", LanguageModel(config), tokenizer, ChatTemplate.default(), {})
    assert not list(tmp_path.iterdir())


def test_a_llama_whose_heads_do_not_share_the_width_is_written_as_what_loads(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    config = ModelConfig(vocab_size=N_VOCAB, n_embd=22, n_head=4, head_dim=6, n_ff=9, qk_norm=False, seq_len=SEQ_LEN)
    ours = randomised(LanguageModel(config), "wide")
    save_model(tmp_path / "model", ours, tokenizer, ChatTemplate.default(), {})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert theirs.config.model_type == "mistral"
    same_logits(ours, theirs)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"lm_head.weight": "../FIRST"}, "is not a shard; shards are safetensors files"),
        ({"lm_head.weight": "/etc/passwd"}, "is not a shard; shards are safetensors files"),
        ({"lm_head.weight": ".."}, "is not a shard; shards are safetensors files"),
        ({"lm_head.weight": "elsewhere.safetensors"}, r"elsewhere\.safetensors: no such file"),
        ({"lm_head.weight": "config.json"}, "is not a shard"),
        ({"lm_head.weight": "pytorch_model.bin"}, "is not a shard"),
        ({"lm_head.weight": 3}, "weight_map must name a file for each tensor"),
        ({"another": "FIRST"}, "another is not in model-00001"),
        ({"lm_head.weight": None}, "lm_head.weight is in .*, but not according to the index"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_index_that_points_elsewhere_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    their_model("llama").save_pretrained(tmp_path, max_shard_size="50KB")
    index, first = read_json(tmp_path / INDEX), min(tmp_path.glob("*.safetensors")).name
    assert set(index["weight_map"].values()) > {first}
    shard_of = index["weight_map"] | change
    kept = {
        name: shard.replace("FIRST", first) if isinstance(shard, str) else shard
        for name, shard in shard_of.items()
        if shard is not None
    }
    write_json(tmp_path / INDEX, index | {"weight_map": kept})
    with pytest.raises(CheckpointError, match=says):
        load_model(tmp_path)
