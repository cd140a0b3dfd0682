"""A Hugging Face folder's `config.json` and names of tensors -> ours, and back.

Reading walks a family's table one way, writing the other; the first family that can say a network is its family.
Rotary settings are read as transformers 4 (`rope_scaling`) and 5 (`rope_parameters`) spell them, and written as 4 does,
which everybody understands.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from malmoi.errors import CheckpointError
from malmoi.formats.families import FAMILIES, Always, Family, Fields, Key
from malmoi.model.config import ModelConfig, RopeScaling

Dtype = Literal["float32", "bfloat16", "float16"]

SCORE_BIAS = "score_bias"
_ENSEMBLE = {"problem_type": "regression"}
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
    if config.get("quantization_config") or config.get("quantization"):
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
    pad_token_id: int, bos_token_id: int | None = None, score_bias: Sequence[float] = (),
) -> Fields:  # fmt: skip
    """`config.json` as transformers, vLLM and llama.cpp read it. Raises as `family_of`.

    n_heads: of a reward model; 0 for a language model. Several are to transformers several regressions.
    score_bias: of each head, where the family has no place for it; nobody but us adds it to the scores
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
        **({SCORE_BIAS: list(score_bias)} if any(score_bias) else {}),
        **(_ENSEMBLE | {"id2label": {str(i): f"HEAD_{i}" for i in range(n_heads)}} if n_heads > 1 else {}),
    }


def check_heads(config: Mapping[str, Any], n_heads: int, where: str) -> None:
    """Raises CheckpointError where several outputs are labels to choose from, not rewards."""
    if n_heads != 1 and any(config.get(key) != value for key, value in _ENSEMBLE.items()):
        raise CheckpointError(
            f"{where}: scores {n_heads} labels; a reward model has one score, or, in an ensemble, several of "
            'problem_type "regression"'
        )


def read_score_bias(config: Mapping[str, Any], n_heads: int, where: str) -> list[float]:
    """What is added to each head's score; 0 where the file says nothing. Raises CheckpointError."""
    found = config.get(SCORE_BIAS, [0.0] * n_heads)
    numbers = found if isinstance(found, list) else []
    if len(numbers) != n_heads or not all(type(x) in (int, float) and math.isfinite(x) for x in numbers):
        raise CheckpointError(f"{where}: {SCORE_BIAS} must be a list of {n_heads} numbers, one for each score")
    return [float(x) for x in numbers]


def fold_score_bias(tensors: Mapping[str, Tensor], config: ModelConfig, dtype: Dtype) -> dict[str, Tensor]:
    """Tensors of a reward model of ours whose `score_bias` went into the bias of the last norm, where that is exact.

    A family whose last norm is RMSNorm has no bias there, and fewer than 32 bits would round what is added to it. What
    is not folded is left.
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


def is_buffer(name: str) -> bool:
    """Whether a tensor of a file is a table or a mask, and no weight."""
    return _BUFFERS.search(name) is not None


def to_ours(tensors: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Tensors of a Hugging Face folder under our names, buffers left out; a name that nobody knows is kept.

    The prefix of the names may be missing, and a tied head may stand for the embedding or beside it.
    Raises CheckpointError when a tensor stands twice, or a tied head is not the embedding.
    """
    family = FAMILIES[family_of(config)]
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if is_buffer(name):
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
