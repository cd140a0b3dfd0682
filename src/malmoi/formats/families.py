"""Families of Hugging Face networks, each a table: which key of `config.json` holds a feature of ours, or which value
the feature always has; and the names of the family's tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from malmoi.model.config import ModelConfig

Fields = dict[str, Any]
REQUIRED: Any = object()
"""A default: the file must have the key."""
DERIVED: Any = object()
"""A default or a value: it follows from features that are above it in the table, see `value_of`."""


class Key(NamedTuple):
    """A feature that has this key in `config.json`, and its value if the file does not have the key."""

    name: str
    default: Any = REQUIRED


class Always(NamedTuple):
    """A feature that has the same value in every network of the family."""

    value: Any


Features = Mapping[str, Key | Always]


@dataclass(frozen=True)
class Family:
    """One `model_type` of `config.json`.

    classes: of transformers, for a language model and for a reward model
    features: fields of ModelConfig, except the rotary ones -> where their values come from
    supported: key -> the values that we can compute; a missing key is supported too
    constants: keys and values that every network of the family is written with
    rope_theta, window: base of the rotary frequencies, and attention window, if the file has none
    prefix: of all tensor names except the heads'
    names: their tensor names -> ours, several if theirs is one tensor; empty: the names are the same
    transposed: names of matrices that are stored as (in, out)
    head_divides_width: transformers requires that n_embd is a multiple of n_head
    """

    classes: tuple[str, str]
    features: Features
    supported: Mapping[str, tuple[Any, ...]]
    constants: Mapping[str, Any]
    rope_theta: float = 10_000.0
    window: int | None = None
    prefix: str = "model."
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    transposed: frozenset[str] = frozenset()
    head_divides_width: bool = False

    def fits(self, config: ModelConfig) -> bool:
        """Whether transformers accepts this width."""
        return not self.head_divides_width or config.n_embd % config.n_head == 0


_DERIVED: dict[str, Callable[[Fields], int]] = {
    "n_kv_head": lambda fields: fields["n_head"],
    "head_dim": lambda fields: fields["n_embd"] // fields["n_head"],
    "n_ff": lambda fields: 4 * fields["n_embd"],
}


def value_of(feature: str, value: Any, fields: Fields) -> Any:
    """A value or default of a table. fields: the values of the features above it"""
    return _DERIVED[feature](fields) if value is DERIVED else value


_LLAMA: dict[str, Key | Always] = {
    "vocab_size": Key("vocab_size"),
    "n_layer": Key("num_hidden_layers"),
    "n_embd": Key("hidden_size"),
    "n_head": Key("num_attention_heads"),
    "n_kv_head": Key("num_key_value_heads", DERIVED),
    "head_dim": Key("head_dim", DERIVED),
    "n_ff": Key("intermediate_size"),
    "seq_len": Key("max_position_embeddings"),
    "norm": Always("rms"),
    "norm_eps": Key("rms_norm_eps", 1e-6),
    "ff": Always("swiglu"),
    "positions": Always("rope"),
    "no_rope_layers": Always(()),
    "qkv_bias": Key("attention_bias", False),
    "o_bias": Key("attention_bias", False),
    "ff_bias": Key("mlp_bias", False),
    "qk_norm": Always(False),
    "tie_embeddings": Key("tie_word_embeddings", False),
}
_MISTRAL = _LLAMA | {
    "n_kv_head": Key("num_key_value_heads", 8),
    "qkv_bias": Always(False),
    "o_bias": Always(False),
    "ff_bias": Always(False),
}
_QWEN2 = _LLAMA | {"qkv_bias": Always(True), "o_bias": Always(False), "ff_bias": Always(False)}
_QWEN3 = _LLAMA | {"head_dim": Key("head_dim", 128), "qk_norm": Always(True), "ff_bias": Always(False)}
_SMOLLM3 = _LLAMA | {
    "no_rope_layers": Key("no_rope_layers"),
    "tie_embeddings": Key("tie_word_embeddings", True),
}
_GPT2: dict[str, Key | Always] = {
    "vocab_size": Key("vocab_size"),
    "n_layer": Key("n_layer"),
    "n_embd": Key("n_embd"),
    "n_head": Key("n_head"),
    "n_kv_head": Always(DERIVED),
    "head_dim": Always(DERIVED),
    "n_ff": Key("n_inner", DERIVED),
    "seq_len": Key("n_positions"),
    "norm": Always("layer"),
    "norm_eps": Key("layer_norm_epsilon", 1e-5),
    "ff": Always("gelu"),
    "positions": Always("learned"),
    "no_rope_layers": Always(()),
    "qkv_bias": Always(True),
    "o_bias": Always(True),
    "ff_bias": Always(True),
    "qk_norm": Always(False),
    "tie_embeddings": Key("tie_word_embeddings", True),
}
_SUPPORTED = {"hidden_act": ("silu", "swish"), "partial_rotary_factor": (1.0,)}
_CONSTANTS = {"hidden_act": "silu", "attention_dropout": 0.0, "initializer_range": 0.02, "use_cache": True}
FAMILIES = {
    "llama": Family(
        ("LlamaForCausalLM", "LlamaForSequenceClassification"), _LLAMA, _SUPPORTED, _CONSTANTS, head_divides_width=True
    ),
    "mistral": Family(
        ("MistralForCausalLM", "MistralForSequenceClassification"),
        _MISTRAL, _SUPPORTED, {**_CONSTANTS, "sliding_window": None}, window=4096,
    ),
    "qwen2": Family(("Qwen2ForCausalLM", "Qwen2ForSequenceClassification"), _QWEN2, _SUPPORTED, _CONSTANTS),
    "qwen3": Family(("Qwen3ForCausalLM", "Qwen3ForSequenceClassification"), _QWEN3, _SUPPORTED, _CONSTANTS),
    "smollm3": Family(
        ("SmolLM3ForCausalLM", "SmolLM3ForSequenceClassification"),
        _SMOLLM3, _SUPPORTED, _CONSTANTS, rope_theta=2_000_000.0,
    ),
    "gpt2": Family(
        ("GPT2LMHeadModel", "GPT2ForSequenceClassification"),
        _GPT2,
        supported={
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
        constants={
            "activation_function": "gelu_new", "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
            "initializer_range": 0.02, "use_cache": True,
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
        head_divides_width=True,
    ),
}  # fmt: skip
