"""Families of Hugging Face networks, each a table: where a feature of ours stands in its `config.json`, or which value
it always has, and how its tensors are called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from malmoi.model.config import ModelConfig

Fields = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """A feature that stands under this name in `config.json`.

    default: its value when the file has none, from the features before it; None: the file must have it
    read, write: between their value and ours
    """

    name: str
    default: Callable[[Fields], Any] | None = None
    read: Callable[[Any, Fields], Any] = lambda value, _: value
    write: Callable[[Any, Fields], Any] = lambda value, _: value


@dataclass(frozen=True)
class Always:
    """A feature in which the family has no choice: what it is, from the features before it."""

    value: Callable[[Fields], Any]


@dataclass(frozen=True)
class Family:
    """One `model_type` of `config.json`.

    classes: of transformers, for a language model and for a reward model
    features: fields of ModelConfig, the rotary ones apart -> where they stand
    needed: settings -> what is supported; absent is supported too
    written: settings that every network of the family is written with
    rope_theta, window: base of the rotary frequencies, and attention window, when the file has none
    prefix: of all names but the heads'
    names: their names -> ours, several where theirs is one tensor; empty: they are the same
    transposed: names of matrices that are stored (in, out)
    fits: whether transformers accepts such a shape
    """

    classes: tuple[str, str]
    features: Mapping[str, Key | Always]
    needed: Mapping[str, tuple[Any, ...]]
    written: Mapping[str, Any]
    rope_theta: float = 10_000.0
    window: int | None = None
    prefix: str = "model."
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    transposed: frozenset[str] = frozenset()
    fits: Callable[[ModelConfig], bool] = lambda _: True


def _be(value: Any) -> Callable[[Fields], Any]:
    return lambda _: value


def _as(other: str) -> Callable[[Fields], Any]:
    return lambda fields: fields[other]


def _width_over_heads(fields: Fields) -> int:
    return fields["n_embd"] // fields["n_head"]


def _heads_share_width(config: ModelConfig) -> bool:
    return config.n_embd % config.n_head == 0


def _layers_of(flags: list[int], fields: Fields) -> tuple[int, ...]:
    """SmolLM3 has a flag for each layer, 1 where queries and keys are turned."""
    if not isinstance(flags, list) or len(flags) < fields["n_layer"]:
        raise ValueError("no_rope_layers is not a list with a flag for each layer")
    return tuple(layer for layer, is_turned in enumerate(flags[: fields["n_layer"]]) if not is_turned)


def _flags_of(layers: tuple[int, ...], fields: Fields) -> list[int]:
    return [int(layer not in layers) for layer in range(fields["n_layer"])]


def _never(*names: str) -> dict[str, Always]:
    return dict.fromkeys(names, Always(_be(False)))


_TRAINING = {"initializer_range": 0.02, "use_cache": True}
_LLAMA: dict[str, Any] = {
    "needed": {"hidden_act": ("silu", "swish"), "partial_rotary_factor": (1.0,)},
    "written": {"hidden_act": "silu", "attention_dropout": 0.0, **_TRAINING},
}
_LLAMA_FEATURES: dict[str, Key | Always] = {
    "vocab_size": Key("vocab_size"),
    "n_layer": Key("num_hidden_layers"),
    "n_embd": Key("hidden_size"),
    "n_head": Key("num_attention_heads"),
    "n_kv_head": Key("num_key_value_heads", _as("n_head")),
    "head_dim": Key("head_dim", _width_over_heads),
    "n_ff": Key("intermediate_size"),
    "seq_len": Key("max_position_embeddings"),
    "norm": Always(_be("rms")),
    "norm_eps": Key("rms_norm_eps", _be(1e-6)),
    "ff": Always(_be("swiglu")),
    "positions": Always(_be("rope")),
    "no_rope_layers": Always(_be(())),
    "qkv_bias": Key("attention_bias", _be(False)),
    "o_bias": Key("attention_bias", _be(False)),
    "ff_bias": Key("mlp_bias", _be(False)),
    "qk_norm": Always(_be(False)),
    "tie_embeddings": Key("tie_word_embeddings", _be(False)),
}
_GPT2_FEATURES: dict[str, Key | Always] = {
    "vocab_size": Key("vocab_size"),
    "n_layer": Key("n_layer"),
    "n_embd": Key("n_embd"),
    "n_head": Key("n_head"),
    "n_kv_head": Always(_as("n_head")),
    "head_dim": Always(_width_over_heads),
    "n_ff": Key("n_inner", lambda fields: 4 * fields["n_embd"]),
    "seq_len": Key("n_positions"),
    "norm": Always(_be("layer")),
    "norm_eps": Key("layer_norm_epsilon", _be(1e-5)),
    "ff": Always(_be("gelu")),
    "positions": Always(_be("learned")),
    "no_rope_layers": Always(_be(())),
    **dict.fromkeys(("qkv_bias", "o_bias", "ff_bias"), Always(_be(True))),
    "qk_norm": Always(_be(False)),
    "tie_embeddings": Key("tie_word_embeddings", _be(True)),
}
FAMILIES = {
    "llama": Family(
        ("LlamaForCausalLM", "LlamaForSequenceClassification"),
        _LLAMA_FEATURES,
        **_LLAMA,
        fits=_heads_share_width,
    ),
    "mistral": Family(
        ("MistralForCausalLM", "MistralForSequenceClassification"),
        {
            **_LLAMA_FEATURES,
            "n_kv_head": Key("num_key_value_heads", _be(8)),
            **_never("qkv_bias", "o_bias", "ff_bias"),
        },
        needed=_LLAMA["needed"],
        written={**_LLAMA["written"], "sliding_window": None},
        window=4096,
    ),
    "qwen2": Family(
        ("Qwen2ForCausalLM", "Qwen2ForSequenceClassification"),
        {**_LLAMA_FEATURES, "qkv_bias": Always(_be(True)), **_never("o_bias", "ff_bias")},
        **_LLAMA,
    ),
    "qwen3": Family(
        ("Qwen3ForCausalLM", "Qwen3ForSequenceClassification"),
        {**_LLAMA_FEATURES, "head_dim": Key("head_dim", _be(128)), "qk_norm": Always(_be(True)), **_never("ff_bias")},
        **_LLAMA,
    ),
    "smollm3": Family(
        ("SmolLM3ForCausalLM", "SmolLM3ForSequenceClassification"),
        {
            **_LLAMA_FEATURES,
            "no_rope_layers": Key("no_rope_layers", read=_layers_of, write=_flags_of),
            "tie_embeddings": Key("tie_word_embeddings", _be(True)),
        },
        **_LLAMA,
        rope_theta=2_000_000.0,
    ),
    "gpt2": Family(
        ("GPT2LMHeadModel", "GPT2ForSequenceClassification"),
        _GPT2_FEATURES,
        needed={
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
        written={
            "activation_function": "gelu_new",
            **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
            **_TRAINING,
        },
        prefix="transformer.",
        names={
            "wte": ("embed_tokens",),
            "wpe": ("embed_positions",),
            "ln_1": ("input_layernorm",),
            "attn.c_attn": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            "attn.c_proj": ("self_attn.o_proj",),
            "ln_2": ("post_attention_layernorm",),
            "mlp.c_fc": ("mlp.up_proj",),
            "mlp.c_proj": ("mlp.down_proj",),
            "ln_f": ("norm",),
        },
        transposed=frozenset({"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}),
        fits=_heads_share_width,
    ),
}
