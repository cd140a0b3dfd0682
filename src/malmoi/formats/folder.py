"""Model folders in the ecosystem's form: transformers, vLLM and llama.cpp load them as they are.

They hold `config.json`, `model.safetensors`, `generation_config.json`, `tokenizer.json`, `tokenizer_config.json`,
`chat_template.jinja`, and `malmoi.json`, which names the run that made the model and its parents.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from malmoi import __version__, device
from malmoi.errors import CheckpointError, UserError
from malmoi.files import folder_atomic, open_atomic, read_json, write_json
from malmoi.formats.header import what_is_wrong
from malmoi.formats.huggingface import (
    PROBE,
    Dtype,
    check_heads,
    fold_score_bias,
    is_buffer,
    read_config,
    read_probe_layers,
    read_score_bias,
    to_ours,
    to_theirs,
    write_config,
)
from malmoi.formats.locate import CONFIG, INDEX, PICKLES, WEIGHTS, check_pointer, explain, pickled
from malmoi.model.config import ModelConfig, Shape
from malmoi.model.finite import NOT_FINITE, is_finite
from malmoi.model.probe import ProbeShape
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_SHARD = re.compile(r"[^/\\\0]+\.safetensors")
Model = TypeVar("Model", LanguageModel, ScalarModel)


def save_model(
    folder: Path, model: LanguageModel | ScalarModel, tokenizer: Tokenizer, template: ChatTemplate,
    about: dict[str, Any], dtype: Dtype = "float32",
) -> None:  # fmt: skip
    """Write a model folder of the network's family. It appears complete or not at all.

    about: further content of `malmoi.json`; dtype: of the stored weights
    Raises CheckpointError for a network that no family has, or for weights that `dtype` cannot hold.
    """
    with folder_atomic(folder) as partial:
        _write_files(partial, model, tokenizer, template, about, dtype)


def _write_files(
    folder: Path, model: LanguageModel | ScalarModel, tokenizer: Tokenizer, template: ChatTemplate,
    about: dict[str, Any], dtype: Dtype,
) -> None:  # fmt: skip
    check_vocabulary(folder, model.config, tokenizer)
    n_heads = model.n_heads if isinstance(model, ScalarModel) else 0
    probe = model.probe if isinstance(model, ScalarModel) else None
    tensors: Mapping[str, Tensor] = model.state_dict()
    score_bias: list[float] = []
    if n_heads:
        folded = dict(tensors) if probe else fold_score_bias(tensors, model.config, dtype)
        score_bias, tensors = folded.pop("score_bias").reshape(-1).tolist(), folded
    ids = {key: tokenizer.generation_config()[key] for key in ("eos_token_id", "pad_token_id")}
    if "bos_token" in tokenizer.names:
        ids["bos_token_id"] = tokenizer.special_id(tokenizer.names["bos_token"])
    layers = probe.shape.layers if probe else ()
    config = write_config(
        model.config, n_heads=n_heads, dtype=dtype, score_bias=score_bias, probe_layers=layers, **ids
    )  # fmt: skip
    write_json(folder / CONFIG, config)
    tokenizer.save(folder, model.config.seq_len)
    template.save(folder)
    write_weights(folder / WEIGHTS, to_theirs(tensors, model.config), dtype)
    write_json(folder / "malmoi.json", {"malmoi": __version__, "kind": "reward" if n_heads else "policy", **about})


def write_weights(path: Path, tensors: Mapping[str, Tensor], dtype: Dtype = "float32") -> None:
    """Write a safetensors file one tensor at a time, without a second copy of the weights. A probe stays float32.

    Raises CheckpointError for a value that is not a number, or that `dtype` cannot hold.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    dtypes = {name: torch.float32 if name.startswith(PROBE) else getattr(torch, dtype) for name in tensors}
    for name, tensor in tensors.items():
        stored = dtypes[name]
        start, end = end, end + tensor.numel() * stored.itemsize
        header[name] = {"dtype": DTYPES[stored], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open_atomic(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in tensors.items():
            cast = tensor.detach().to("cpu", dtypes[name]).flatten()
            if not is_finite(cast):
                larger = "bfloat16 or float32" if dtype == "float16" else "float32"
                too_large = f"has numbers that {dtype} cannot hold; use {larger}"
                raise CheckpointError(f"{name}: {too_large if is_finite(tensor) else NOT_FINITE}")
            file.write(cast.view(torch.uint8).numpy().data)


def load_model(
    folder: Path, kind: type[Model] = LanguageModel, seed: int = 0, n_heads: int = 1,  # type: ignore[assignment]
    dtype: torch.dtype | None = torch.float32, head_scale: float = 1.0,
) -> Model:  # fmt: skip
    """Load weights of any supported family onto this process's device.

    kind: LanguageModel, or ScalarModel for a reward model or a value network. A ScalarModel can start from a language
    model's folder, with new heads; a LanguageModel cannot start from a reward model's
    seed, n_heads, head_scale: of new heads; n_heads = 0 forbids new heads
    dtype: of matrices, None for the file's; training needs float32
    Raises CheckpointError for a missing, truncated or forged file, for values that are not numbers, and for weights of
    another architecture.
    """
    config = load_config(folder)
    path, found = read_folder(folder)
    check_numbers(path, found)
    weights = to_ours(found, config)
    layers = read_probe_layers(read_object(folder / CONFIG), config.n_layer, str(folder / CONFIG))
    probe = probe_shape(weights, layers, path) if layers else None
    is_reward = probe is not None or "score.weight" in weights
    if kind is ScalarModel and not is_reward and not n_heads:
        raise CheckpointError(
            f"{folder}: is a language model; it writes answers and cannot score them; train a reward model from it "
            "with `malmoi train reward`"
        )
    if kind is LanguageModel and is_reward:
        raise CheckpointError(f"{folder}: is a reward model; it scores answers and cannot write them")
    scalar: dict[str, Shape] = {}
    if kind is ScalarModel:
        weights.pop("lm_head.weight", None)
        if is_reward:
            n_heads = len(weights["score.weight"]) if probe is None and weights["score.weight"].ndim else 1
            settings, where = read_object(folder / CONFIG), str(folder / CONFIG)
            check_heads(settings, n_heads, where)
            score_bias = torch.tensor(read_score_bias(settings, n_heads, where))
            weights.setdefault("score_bias", score_bias if n_heads > 1 else score_bias[0])
        own = {"score.weight": (n_heads, config.n_embd)} if probe is None else probe.shapes(config.n_embd)
        scalar = {**own, "score_bias": () if n_heads == 1 else (n_heads,)}
    stored = ((name, shape) for name, shape in scalar.items() if name in weights)
    check_architecture(path, chain(config.shapes(head=kind is LanguageModel), stored), weights)
    with torch.device("meta"):
        new: Callable[..., Model] = kind
        model = new(config, **({"n_heads": n_heads, "probe": probe} if kind is ScalarModel else {}))
    # The tensors are mapped from the file, and the model must not change when the file does: so they are copied.
    state = {
        name: tensor.to((dtype or tensor.dtype) if tensor.ndim > 1 else torch.float32, copy=True).contiguous()
        for name, tensor in weights.items()
    }
    state = {name: torch.zeros(shape) for name, shape in scalar.items()} | state
    model.load_state_dict(state, strict=False, assign=True)
    if isinstance(model, LanguageModel):
        model.tie()
    elif not is_reward:
        model.draw_head(torch.Generator().manual_seed(seed), head_scale)
    return model.to(device.current().torch_device)


def probe_shape(weights: Mapping[str, Tensor], layers: tuple[int, ...], path: Path) -> ProbeShape:
    """The sizes of a file's probe. Raises CheckpointError if it has none."""
    try:
        sizes = [weights[f"{PROBE}{name}"].shape[1] for name in ("answer", "prompt", "factor")]
    except (KeyError, IndexError):
        raise CheckpointError(f"{path}: config.json speaks of a probe, and its weights are missing") from None
    return ProbeShape(layers, *sizes)


def load_reward_model(folder: Path) -> ScalarModel:
    """A reward model to follow, frozen and as cautious as its folder says.

    Raises CheckpointError as `load_model`, and for a language model.
    """
    model = frozen(load_model(folder, ScalarModel, n_heads=0))
    model.caution = _number(folder, "caution", 0.0, "a number of at least 0", lambda value: value >= 0)
    return model


def score_std(folder: Path) -> float:
    """Standard deviation of a reward model's scores on answers that it was trained on; 1 if its folder lacks it.

    Raises CheckpointError if it is not a positive number.
    """
    return _number(folder, "score_std", 1.0, "a positive number", lambda value: value > 0)


def _number(folder: Path, key: str, default: float, wanted: str, fits: Callable[[float], bool]) -> float:
    """What `malmoi.json` says under a key; the default if it lacks it. Raises CheckpointError unless it fits."""
    path = folder / "malmoi.json"
    said = read_object(path).get(key, default) if path.exists() else default
    if not isinstance(said, int | float) or not (math.isfinite(said) and fits(said)):
        raise CheckpointError(f"{path}: {key}: must be {wanted} (got {said!r})")
    return float(said)


def frozen(model: Model) -> Model:
    """The same model, frozen: the matrices of its blocks are converted to the compute dtype.

    Embedding, norms and heads keep their dtype, so the model computes the same numbers.
    """
    for layer in model.model.layers:
        for module in layer.modules():
            if isinstance(module, nn.Linear):
                module.to(device.current().compute_dtype)
    return model.requires_grad_(False)


def load_config(folder: Path) -> ModelConfig:
    """The features of a folder's network. Raises CheckpointError."""
    path = folder / CONFIG
    if not path.exists():
        raise CheckpointError(f"{folder}: {explain(folder)}")
    return read_config(read_object(path), str(path))


def read_folder(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The weights file or shard index of a folder, and all its tensors. Raises CheckpointError as `read_weights`."""
    path, index = folder / WEIGHTS, folder / INDEX
    if path.exists():
        return path, read_weights(path)
    if index.exists():
        return index, read_shards(index)
    for other in sorted(folder.iterdir()):
        if other.suffix in PICKLES:
            raise pickled(other)
    if path.is_symlink() or index.is_symlink():
        raise CheckpointError(f"{path}: links to a file that does not exist; download the model again")
    others = [other.name for other in sorted(folder.glob("*.safetensors"))][:3]
    hint = f"; {', '.join(others)} cannot be read without {INDEX}" if others else ""
    raise CheckpointError(f"{path}: no such file{hint}")


def read_shards(index: Path) -> dict[str, Tensor]:
    """All tensors of the shards that an index names. Raises CheckpointError as `read_weights`, and if they differ."""
    shard_of = read_object(index).get("weight_map")
    if not isinstance(shard_of, dict) or not all(isinstance(shard, str) for shard in shard_of.values()):
        raise CheckpointError(f"{index}: not an index of shards; weight_map must name a file for each tensor")
    shards = sorted(set(shard_of.values()))
    for shard in shards:
        if not _SHARD.fullmatch(shard):
            raise CheckpointError(f"{index}: {shard!r} is not a shard; shards are safetensors files next to the index")
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        for name, tensor in read_weights(index.with_name(shard)).items():
            if shard_of.get(name) != shard:
                raise CheckpointError(
                    f"{index}: {name} is in {shard}, but not according to the index; are two downloads mixed?"
                )
            tensors[name] = tensor
    for name in sorted(shard_of.keys() - tensors.keys()):
        raise CheckpointError(f"{index}: {name} is not in {shard_of[name]}; are two downloads mixed?")
    return tensors


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, mapped into memory. Raises CheckpointError: truncated, forged or missing."""
    if path.suffix in PICKLES:
        raise pickled(path)
    check_pointer(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or not safetensors ({what_is_wrong(path) or error})") from None


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises CheckpointError, DataError."""
    check_pointer(path)
    try:
        value = read_json(path)
    except (OSError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: must hold a JSON object")
    return value


def check_numbers(path: Path, found: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError that names the first tensor with a NaN or infinite value."""
    for name, tensor in found.items():
        if tensor.dtype in DTYPES and not is_buffer(name) and not is_finite(tensor):
            raise CheckpointError(f"{path}: {name} {NOT_FINITE}")


def check_architecture(path: Path, expected: Iterable[tuple[str, Shape]], found: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError that names the first tensor that is missing, unknown, or of another shape or type.

    It is called before the network is built, so that forged sizes cost no memory.
    expected: names and shapes; they are read only up to the first that is missing
    """
    known = set()
    for name, shape in expected:
        if name not in found:
            raise CheckpointError(f"{path}: of another architecture: {name} is missing; does config.json belong to it?")
        tensor = found[name]
        if tensor.shape != shape:
            raise CheckpointError(
                f"{path}: of another architecture: {name} is {tuple(tensor.shape)}, config.json says {shape}"
            )
        if tensor.dtype not in DTYPES:
            raise CheckpointError(f"{path}: {name} is stored as {tensor.dtype}; float32, float16 and bfloat16 are read")
        known.add(name)
    for name in sorted(found.keys() - known):
        raise CheckpointError(f"{path}: of another architecture: {name} is unknown; does config.json belong to it?")


def load_text(folder: Path) -> tuple[Tokenizer, ChatTemplate]:
    """The tokenizer and the chat template of a model folder. Raises CheckpointError if the model lacks tokens."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such model folder")
    tokenizer = Tokenizer.load(folder)
    if (folder / CONFIG).exists():
        check_vocabulary(folder, load_config(folder), tokenizer)
    template = ChatTemplate.load(folder)
    if not template.is_continued(tokenizer):
        _say_once(
            f"{folder}: answers in the chat template do not begin with its generation prompt; training "
            "begins after their common beginning"
        )
    return tokenizer, template


@lru_cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def check_vocabulary(folder: Path, config: ModelConfig, tokenizer: Tokenizer) -> None:
    """A model may have more tokens than its tokenizer, but not fewer."""
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model {config.vocab_size}; "
            "they do not belong together"
        )
