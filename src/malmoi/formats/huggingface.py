"""A Hugging Face folder's `config.json` and tensor names -> ours, and back.

Reading and writing use the same table of a family. A network's family is the first that can express it.
Rotary settings are read as transformers 4 (`rope_scaling`) and 5 (`rope_parameters`) write them, and written as 4 does,
which all programs understand.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from malmoi.errors import CheckpointError
from malmoi.formats.families import FAMILIES, REQUIRED, Always, Family, Fields, Key, value_of
from malmoi.model.config import ModelConfig, RopeScaling

Dtype = Literal["float32", "bfloat16", "float16"]

SCORE_BIAS = "score_bias"
PROBE, PROBE_LAYERS = "probe.", "probe_layers"
"""Beginning of the names of a probe's tensors; and the key that says after which blocks it reads."""
_ENSEMBLE = {"problem_type": "regression"}
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
_ROPE_KEYS = {"original_max_position_embeddings": "original_seq_len"}
_ROPE_SCALING: TypeAdapter[Any] = TypeAdapter(RopeScaling)


def read_config(config: Any, where: str) -> ModelConfig:
    """Features of a parsed `config.json`. where: the name of the file, for errors

    Raises CheckpointError that names what is not supported, missing or of the wrong type.
    """
    if not isinstance(config, dict):
        raise CheckpointError(f"{where}: not a model configuration; it must be a JSON object")
    name = config.get("model_type")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise CheckpointError(f"{where}: architecture {name!r} is not supported; {', '.join(FAMILIES)} are")
    if config.get("quantization_config") or config.get("quantization"):
        raise CheckpointError(
            f"{where}: quantised weights are not read; use the float16 or bfloat16 folder, or a GGUF file"
        )
    for key, supported in family.supported.items():
        _check_supported(where, key, config.get(key), supported)
    fields: Fields = {}
    names = {ours: source.name for ours, source in family.features.items() if isinstance(source, Key)}
    try:
        for ours, source in family.features.items():
            fields[ours] = _read(ours, source, config, fields)
        if fields["positions"] == "rope":
            fields |= _read_rope(config, family, where)
        read = ModelConfig.model_validate(fields, strict=True)
        _check_window(config, family, read.seq_len, where)
        return read
    except KeyError as error:
        raise CheckpointError(f"{where}: {error.args[0]} is missing; is the file whole?") from None
    except ValidationError as error:
        raise CheckpointError(f"{where}: {_first_error(error, names)}") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(f"{where}: not a usable model configuration ({error})") from None


def _check_window(config: Mapping[str, Any], family: Family, seq_len: int, where: str) -> None:
    window = config.get("sliding_window", family.window)
    if (family.window or config.get("use_sliding_window")) and window is not None and window < seq_len:
        raise CheckpointError(
            f"{where}: attention windows (sliding_window {window}) are not supported; within one window they change "
            f"nothing, so set max_position_embeddings to {window} if that context is enough"
        )


def _read(ours: str, source: Key | Always, config: Mapping[str, Any], fields: Fields) -> Any:
    if isinstance(source, Always):
        return value_of(ours, source.value, fields)
    value = config.get(source.name)
    if value is not None:
        return _layers_of(value, fields) if ours == "no_rope_layers" else value
    if source.default is REQUIRED:
        raise KeyError(source.name)
    return value_of(ours, source.default, fields)


def _layers_of(flags: Any, fields: Fields) -> tuple[int, ...]:
    """The layers without rotation. flags: one for each layer, 1 if its queries and keys are rotated, as in SmolLM3"""
    if not isinstance(flags, list) or len(flags) < fields["n_layer"]:
        raise ValueError("no_rope_layers is not a list with a flag for each layer")
    return tuple(layer for layer, is_rotated in enumerate(flags[: fields["n_layer"]]) if not is_rotated)


def _written(ours: str, fields: Fields) -> Any:
    """The value of a feature in `config.json`."""
    if ours == "no_rope_layers":
        return [int(layer not in fields[ours]) for layer in range(fields["n_layer"])]
    return fields[ours]


def _read_rope(config: Mapping[str, Any], family: Family, where: str) -> Fields:
    rope = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    kind, older = rope.pop("rope_type", None), rope.pop("type", None)
    kind = kind or older or "default"
    thetas = (rope.pop("rope_theta", None), config.get("rope_theta"), family.rope_theta)
    theta = next(theta for theta in thetas if theta is not None)
    # dynamic and longrope choose frequencies by the length of the text, so cached keys would become wrong as it grows.
    _check_supported(where, "rope_type", kind, _ROPE_TYPES)
    _check_supported(where, "partial_rotary_factor", rope.pop("partial_rotary_factor", None), (1.0,))
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
        raise CheckpointError(f"{where}: {kind} rotary scaling: {_first_error(error, names)}") from None


def _check_supported(where: str, key: str, found: Any, supported: tuple[Any, ...]) -> None:
    if found is not None and found not in supported:
        raise CheckpointError(f"{where}: {key} {found!r} is not supported; {' or '.join(map(repr, supported))} is")


def _first_error(error: ValidationError, names: Mapping[str, str]) -> str:
    first = error.errors()[0]
    key = str(first["loc"][-1]) if first["loc"] else ""
    message = first["msg"].removeprefix("Value error, ")
    return f"{names.get(key, key)}: {message} (got {first['input']!r})" if key else message


def write_config(
    config: ModelConfig, *, n_heads: int = 0, dtype: Dtype = "float32", eos_token_id: int | list[int],
    pad_token_id: int, bos_token_id: int | None = None, score_bias: Sequence[float] = (),
    probe_layers: Sequence[int] = (),
) -> Fields:  # fmt: skip
    """`config.json` as transformers, vLLM and llama.cpp read it. Raises as `family_of`.

    n_heads: of a reward model; 0 for a language model. transformers sees several heads as several regressions.
    score_bias: of each head, if the family has no place for it; only Malmoi adds it to the scores
    probe_layers: of a probe, which only Malmoi reads: to other programs it is a network without a head
    """
    name = family_of(config)
    family, fields = FAMILIES[name], dict(config)
    keys = {ours: source for ours, source in family.features.items() if isinstance(source, Key)}
    return {
        "architectures": [_class_of(family, n_heads, bool(probe_layers))],
        "model_type": name,
        **{source.name: _written(ours, fields) for ours, source in keys.items()},
        **(_write_rope(config) if config.positions == "rope" else {}),
        **family.constants,
        "torch_dtype": dtype,
        "bos_token_id": bos_token_id,
        "eos_token_id": eos_token_id,
        "pad_token_id": pad_token_id,
        **({"num_labels": n_heads} if n_heads else {}),
        **({PROBE_LAYERS: list(probe_layers)} if probe_layers else {}),
        **({SCORE_BIAS: list(score_bias)} if any(score_bias) else {}),
        **(_ENSEMBLE | {"id2label": {str(i): f"HEAD_{i}" for i in range(n_heads)}} if n_heads > 1 else {}),
    }


def _class_of(family: Family, n_heads: int, has_probe: bool) -> str:
    if has_probe:
        return family.classes[1].removesuffix("ForSequenceClassification") + "Model"
    return family.classes[n_heads > 0]


def read_probe_layers(config: Mapping[str, Any], n_layer: int, where: str) -> tuple[int, ...]:
    """After which blocks a probe reads; () if there is none. Raises CheckpointError."""
    found = config.get(PROBE_LAYERS, [])
    if not isinstance(found, list) or not all(type(layer) is int and 0 < layer <= n_layer for layer in found):
        raise CheckpointError(f"{where}: {PROBE_LAYERS} must be a list of numbers of blocks, at most {n_layer}")
    if found != sorted(set(found)):
        raise CheckpointError(f"{where}: {PROBE_LAYERS} must rise")
    return tuple(found)


def check_heads(config: Mapping[str, Any], n_heads: int, where: str) -> None:
    """Raises CheckpointError if several outputs are the classes of a classifier, not rewards."""
    if n_heads != 1 and any(config.get(key) != value for key, value in _ENSEMBLE.items()):
        raise CheckpointError(
            f"{where}: scores {n_heads} labels; a reward model has one score, or several with problem_type "
            '"regression" if it is an ensemble'
        )


def read_score_bias(config: Mapping[str, Any], n_heads: int, where: str) -> list[float]:
    """The number that is added to each head's score; 0 if the file has none. Raises CheckpointError."""
    found = config.get(SCORE_BIAS, [0.0] * n_heads)
    numbers = found if isinstance(found, list) else []
    if len(numbers) != n_heads or not all(type(x) in (int, float) and math.isfinite(x) for x in numbers):
        raise CheckpointError(f"{where}: {SCORE_BIAS} must be a list of {n_heads} numbers, one for each score")
    return [float(x) for x in numbers]


def fold_score_bias(tensors: Mapping[str, Tensor], config: ModelConfig, dtype: Dtype) -> dict[str, Tensor]:
    """Tensors of a reward model of ours, with `score_bias` folded into the bias of the last norm if that is exact.

    RMSNorm has no bias, and with fewer than 32 bits the bias would be rounded: then `score_bias` stays as it is.
    """
    folded = dict(tensors)
    bias = folded["score_bias"].double().reshape(-1)
    if config.norm != "layer" or dtype != "float32" or not bias.any():
        return folded
    heads = folded["score.weight"].double()
    driver = "gelsd" if heads.device.type == "cpu" else None
    shift = torch.linalg.lstsq(heads, bias[:, None], driver=driver).solution[:, 0]
    if torch.allclose(heads @ shift, bias, rtol=1e-6):
        norm = folded["model.norm.bias"]
        folded["model.norm.bias"] = (norm.double() + shift).to(norm.dtype)
        folded["score_bias"] = torch.zeros_like(folded["score_bias"])
    return folded


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
    """The first family that can express this network. Raises CheckpointError that names what the nearest cannot."""
    impossible = {name: _impossible(config, family) for name, family in FAMILIES.items()}
    nearest = min(impossible, key=lambda name: len(impossible[name]))
    if not impossible[nearest]:
        return nearest
    given = ", ".join(f"{key} = {getattr(config, key)!r}" for key in impossible[nearest])
    raise CheckpointError(
        f"model: no Hugging Face family has such a network; the nearest, {nearest}, cannot have {given}"
    )


def _impossible(config: ModelConfig, family: Family) -> list[str]:
    """Features that a family cannot have, or cannot combine with the features above them."""
    fields, of_key = dict(config), Fields()
    impossible = [] if family.fits(config) else ["n_embd"]
    for ours, source in family.features.items():
        if isinstance(source, Key):  # two features with one key must agree
            possible = of_key.setdefault(source.name, fields[ours])
        else:
            possible = value_of(ours, source.value, fields)
        if possible != fields[ours]:
            impossible.append(ours)
    return impossible


# Tables and masks that older files store with the weights, although they follow from the configuration.
_BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|attn\.bias|attn\.masked_bias)$")
_HEADS = frozenset({"lm_head.weight", "score.weight", "score_bias"})
_THEIR_NAME = re.compile(r"(?:h\.(\d+)\.)?(.+)\.(weight|bias)")
_OUR_NAME = re.compile(r"model\.(?:layers\.(\d+)\.)?(.+)\.(weight|bias)")


def is_buffer(name: str) -> bool:
    """Whether a tensor of a file is a table or a mask, not a weight."""
    return _BUFFERS.search(name) is not None


def to_ours(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Tensors of a Hugging Face folder under our names, without buffers. Unknown names are kept.

    The prefix of the names may be missing. With tied embeddings the file may have the embedding, the head, or both.
    Raises CheckpointError for a duplicate tensor, and for a tied head that differs from the embedding.
    """
    family = FAMILIES[family_of(config)]
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if is_buffer(name):
            continue
        for our_name, part in _translated(name, tensor, family):
            if our_name in ours:
                raise CheckpointError(f"weights: {name} is duplicate: with and without the prefix {family.prefix!r}")
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
    if name in _HEADS or name.startswith(PROBE):
        yield name, tensor
    elif not family.names:
        yield f"model.{stem}", tensor
    elif found is None or found[2] not in family.names or tensor.ndim == 0:
        yield name, tensor
    else:
        layer = f"layers.{found[1]}." if found[1] else ""
        is_transposed = found[2] in family.transposed and tensor.ndim == 2
        names = family.names[found[2]]
        parts = (tensor.T if is_transposed else tensor).tensor_split(len(names))
        for our_stem, part in zip(names, parts, strict=True):
            yield f"model.{layer}{our_stem}.{found[3]}", part


def to_theirs(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Tensors of a language or reward model of ours under its family's names, without a tied head."""
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
        is_transposed = stem in family.transposed and tensor.ndim == 2
        parts.setdefault(f"{family.prefix}{layer}{stem}.{found[3]}", {})[index] = tensor.T if is_transposed else tensor
    return {
        name: torch.cat([some[i] for i in sorted(some)], dim=-1) if len(some) > 1 else some[0]
        for name, some in parts.items()
    }
