"""Families of Hugging Face networks -> features and names of ours, and back.

A family is a table: where each feature stands in its `config.json`, or which value it always has, and how its tensors
are called. Reading walks the table one way, writing the other; the first family that can say a network is its family.
Rotary settings are read as transformers 4 (`rope_scaling`) and 5 (`rope_parameters`) spell them, and written as 4 does,
which everybody understands.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from malmoi.errors import CheckpointError
from malmoi.model.config import ModelConfig, RopeScaling

Dtype = Literal["float32", "bfloat16", "float16"]
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


_ENSEMBLE = {"problem_type": "regression"}
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

_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
_ROPE_KEYS = {"original_max_position_embeddings": "original_seq_len"}
_ROPE_SCALING: TypeAdapter[Any] = TypeAdapter(RopeScaling)


def read_config(config: Any, where: str) -> ModelConfig:
    """Features of a `config.json`. where: its name, for errors.

    Raises CheckpointError that names what is not supported, missing or of the wrong kind.
    """
    if not isinstance(config, dict):
        raise CheckpointError(f"{where}: not a model configuration; it must be a JSON object")
    name = config.get("model_type")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise CheckpointError(f"{where}: architecture {name!r} is not supported; {', '.join(FAMILIES)} are")
    if config.get("quantization_config"):
        raise CheckpointError(
            f"{where}: quantised weights are not read; take the float16 or bfloat16 folder, or a GGUF"
        )
    for key, supported in family.needed.items():
        _need(where, key, config.get(key), supported)
    fields: Fields = {}
    names = {ours: source.name for ours, source in family.features.items() if isinstance(source, Key)}
    try:
        for ours, source in family.features.items():
            fields[ours] = _read(source, config, fields)
        if fields["positions"] == "rope":
            fields |= _read_rope(config, family, where)
        read = ModelConfig.model_validate(fields, strict=True)
        _check_window(config, family, read.seq_len, where)
        return read
    except KeyError as error:
        raise CheckpointError(f"{where}: {error.args[0]} is missing; is the file whole?") from None
    except ValidationError as error:
        raise CheckpointError(f"{where}: {_first_of(error, names)}") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"{where}: not a usable model configuration ({error})") from None


def _check_window(config: Mapping[str, Any], family: Family, seq_len: int, where: str) -> None:
    window = config.get("sliding_window", family.window)
    if (family.window or config.get("use_sliding_window")) and window is not None and window < seq_len:
        raise CheckpointError(
            f"{where}: attention windows (sliding_window {window}) are not supported; within one window all is the "
            f"same, so set max_position_embeddings to {window} if that context is enough"
        )


def _read(source: Key | Always, config: Mapping[str, Any], fields: Fields) -> Any:
    if isinstance(source, Always):
        return source.value(fields)
    value = config.get(source.name)
    if value is not None:
        return source.read(value, fields)
    if source.default is None:
        raise KeyError(source.name)
    return source.default(fields)


def _read_rope(config: Mapping[str, Any], family: Family, where: str) -> Fields:
    rope = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    kind, older = rope.pop("rope_type", None), rope.pop("type", None)
    kind = kind or older or "default"
    thetas = (rope.pop("rope_theta", None), config.get("rope_theta"), family.rope_theta)
    theta = next(theta for theta in thetas if theta is not None)
    # dynamic and longrope choose frequencies by the length of the text: what a cache holds would no longer be right.
    _need(where, "rope_type", kind, _ROPE_TYPES)
    _need(where, "partial_rotary_factor", rope.pop("partial_rotary_factor", None), (1.0,))
    if kind == "default":
        return {"rope_theta": theta, "rope_scaling": None}
    if "original_max_position_embeddings" in config and kind != "linear":
        rope["original_max_position_embeddings"] = config["original_max_position_embeddings"]
    given = {_ROPE_KEYS.get(key, key): value for key, value in rope.items() if value is not None}
    try:
        return {
            "rope_theta": theta,
            "rope_scaling": _ROPE_SCALING.validate_python({"kind": kind, **given}, strict=True),
        }
    except ValidationError as error:
        names = {ours: theirs for theirs, ours in _ROPE_KEYS.items()}
        raise CheckpointError(f"{where}: {kind} rotary scaling: {_first_of(error, names)}") from None


def _need(where: str, key: str, found: Any, supported: tuple[Any, ...]) -> None:
    if found is not None and found not in supported:
        raise CheckpointError(f"{where}: {key} {found!r} is not supported; {' or '.join(map(repr, supported))} is")


def _first_of(error: ValidationError, names: Mapping[str, str]) -> str:
    first = error.errors()[0]
    key = str(first["loc"][-1]) if first["loc"] else ""
    message = first["msg"].removeprefix("Value error, ")
    return f"{names.get(key, key)}: {message} (got {first['input']!r})" if key else message


def write_config(
    config: ModelConfig, *, n_heads: int = 0, dtype: Dtype = "float32", eos_token_id: int | list[int],
    pad_token_id: int, bos_token_id: int | None = None,
) -> Fields:  # fmt: skip
    """`config.json` as transformers, vLLM and llama.cpp read it. Raises as `family_of`.

    n_heads: of a reward model; 0 for a language model. Several are to transformers several regressions.
    """
    name = family_of(config)
    family, fields = FAMILIES[name], dict(config)
    keys = {ours: source for ours, source in family.features.items() if isinstance(source, Key)}
    return {
        "architectures": [family.classes[n_heads > 0]],
        "model_type": name,
        **{source.name: source.write(fields[ours], fields) for ours, source in keys.items()},
        **(_write_rope(config) if config.positions == "rope" else {}),
        **family.written,
        "torch_dtype": dtype,
        "bos_token_id": bos_token_id,
        "eos_token_id": eos_token_id,
        "pad_token_id": pad_token_id,
        **({"num_labels": n_heads} if n_heads else {}),
        **(_ENSEMBLE | {"id2label": {str(i): f"HEAD_{i}" for i in range(n_heads)}} if n_heads > 1 else {}),
    }


def check_heads(config: Mapping[str, Any], n_heads: int, where: str) -> None:
    """Raises CheckpointError where several outputs are labels to choose from, not rewards."""
    if n_heads != 1 and any(config.get(key) != value for key, value in _ENSEMBLE.items()):
        raise CheckpointError(
            f"{where}: scores {n_heads} labels; a reward model has one score, or, in an ensemble, several of "
            'problem_type "regression"'
        )


def _write_rope(config: ModelConfig) -> Fields:
    if config.rope_scaling is None:
        return {"rope_theta": config.rope_theta}
    names = {ours: theirs for theirs, ours in _ROPE_KEYS.items()} | {"kind": "rope_type"}
    scaling = config.rope_scaling.model_dump(exclude_none=True)
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": {names.get(key, key): value for key, value in scaling.items()},
    }


def family_of(config: ModelConfig) -> str:
    """The first family that can say this network; CheckpointError that names what the nearest cannot."""
    unsaid = {name: _unsaid(config, family) for name, family in FAMILIES.items()}
    nearest = min(unsaid, key=lambda name: len(unsaid[name]))
    if not unsaid[nearest]:
        return nearest
    given = ", ".join(f"{key} = {getattr(config, key)!r}" for key in unsaid[nearest])
    raise CheckpointError(
        f"model: no Hugging Face family is such a network; the nearest, {nearest}, cannot have {given}"
    )


def _unsaid(config: ModelConfig, family: Family) -> list[str]:
    """Features that a family cannot have, or not beside the features before them."""
    fields, said = dict(config), Fields()
    unsaid = [] if family.fits(config) else ["n_embd"]
    for ours, source in family.features.items():
        # Two features under one key must agree.
        possible = said.setdefault(source.name, fields[ours]) if isinstance(source, Key) else source.value(fields)
        if possible != fields[ours]:
            unsaid.append(ours)
    return unsaid


# What older files store beside the weights: tables and masks that follow from the configuration.
_BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias)$")
_HEADS = frozenset({"lm_head.weight", "score.weight", "score_bias"})
_THEIR_NAME = re.compile(r"(?:h\.(\d+)\.)?(.+)\.(weight|bias)")
_OUR_NAME = re.compile(r"model\.(?:layers\.(\d+)\.)?(.+)\.(weight|bias)")


def to_ours(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Tensors of a Hugging Face folder under our names, buffers left out; a name that nobody knows is kept.

    The prefix of the names may be missing, and a tied head may stand for the embedding or beside it.
    Raises CheckpointError when a tensor stands twice, or a tied head is not the embedding.
    """
    family = FAMILIES[family_of(config)]
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if _BUFFERS.search(name):
            continue
        for our_name, part in _translated(name, tensor, family):
            if our_name in ours:
                raise CheckpointError(f"weights: {name} is there twice, with and without {family.prefix!r} before it")
            ours[our_name] = part
    if config.tie_embeddings and "lm_head.weight" in ours:
        head = ours.pop("lm_head.weight")
        if not torch.equal(ours.setdefault("model.embed_tokens.weight", head), head):
            raise CheckpointError(
                "weights: lm_head.weight differs from the embedding that it is tied to; set tie_word_embeddings to "
                "false in config.json"
            )
    return ours


def _translated(name: str, tensor: Tensor, family: Family) -> Iterator[tuple[str, Tensor]]:
    stem = name.removeprefix(family.prefix)
    found = _THEIR_NAME.fullmatch(stem)
    if name in _HEADS:
        yield name, tensor
    elif not family.names:
        yield f"model.{stem}", tensor
    elif found is None or found[2] not in family.names or tensor.ndim == 0:
        yield name, tensor
    else:
        layer = f"layers.{found[1]}." if found[1] else ""
        is_turned = found[2] in family.transposed and tensor.ndim == 2
        names = family.names[found[2]]
        for our_stem, part in zip(names, (tensor.T if is_turned else tensor).tensor_split(len(names)), strict=True):
            yield f"model.{layer}{our_stem}.{found[3]}", part


def to_theirs(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Tensors of a language or reward model of ours under its family's names; a tied head is left out."""
    family = FAMILIES[family_of(config)]
    places = {ours: (theirs, i) for theirs, names in family.names.items() for i, ours in enumerate(names)}
    parts: dict[str, dict[int, Tensor]] = {}
    for name, tensor in tensors.items():
        found = _OUR_NAME.fullmatch(name)
        if name == "lm_head.weight" and config.tie_embeddings:
            continue
        if found is None or not family.names:
            parts[name] = {0: tensor}
            continue
        stem, index = places[found[2]]
        layer = f"h.{found[1]}." if found[1] else ""
        is_turned = stem in family.transposed and tensor.ndim == 2
        parts.setdefault(f"{family.prefix}{layer}{stem}.{found[3]}", {})[index] = tensor.T if is_turned else tensor
    return {
        name: torch.cat([some[i] for i in sorted(some)], dim=-1) if len(some) > 1 else some[0]
        for name, some in parts.items()
    }
