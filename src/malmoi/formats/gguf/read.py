"""Read a GGUF file as a model of ours; `text.py` reads its tokenizer, and `write.py` is the other direction.

Source: the GGUF specification of the ggml project, and llama.cpp's code that converts and loads these architectures.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from malmoi import device
from malmoi.formats.gguf.file import GGUF, quote, read_gguf
from malmoi.formats.gguf.text import read_tokenizer
from malmoi.model.config import Llama3Rope, ModelConfig, Shape
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate


class Architecture(NamedTuple):
    """How an architecture differs from Llama's network without biases.

    biases: possible combinations: (queries, keys and values), (attention's output), (feed-forward)
    interleaved: rotation pairs neighbouring values of a head, not its halves, and the rows of q and k are in that order
    fused: queries, keys and values are one tensor
    no_rope_every: every n-th layer does not rotate queries and keys; 0: all layers do
    """

    features: Mapping[str, Any]
    biases: frozenset[tuple[bool, bool, bool]] = frozenset({(False, False, False)})
    interleaved: bool = False
    fused: bool = False
    no_rope_every: int = 0

    def settings(self, n_layer: int) -> dict[str, Any]:
        every = self.no_rope_every
        no_rope = tuple(range(every - 1, n_layer, every)) if every else ()
        plain = {"norm": "rms", "ff": "swiglu", "positions": "rope", "qk_norm": False, "no_rope_layers": no_rope}
        return plain | dict(self.features)


_EITHER = (False, True)
ARCHITECTURES = {
    "qwen3": Architecture({"qk_norm": True}),
    "qwen2": Architecture({}, biases=frozenset({(True, False, False)})),
    "gpt2": Architecture(
        {"norm": "layer", "ff": "gelu", "positions": "learned"}, biases=frozenset({(True, True, True)}), fused=True
    ),
    "llama": Architecture(
        {}, biases=frozenset((qkv, o, ff) for qkv in _EITHER for o in _EITHER for ff in _EITHER), interleaved=True
    ),
    "smollm3": Architecture({}, interleaved=True, no_rope_every=4),
}  # fmt: skip

FIELDS = {
    "block_count": "n_layer",
    "context_length": "seq_len",
    "embedding_length": "n_embd",
    "feed_forward_length": "n_ff",
    "attention.head_count": "n_head",
    "attention.head_count_kv": "n_kv_head",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.dimension_count": "head_dim",
    "rope.freq_base": "rope_theta",
}
"""Metadata key after the architecture's name -> our setting. The first five are required."""
EPSILON = {"rms": "attention.layer_norm_rms_epsilon", "layer": "attention.layer_norm_epsilon"}
YARN = {
    "rope.scaling.original_context_length": "original_seq_len",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}
_SCALING = {"rope.scaling.type", "rope.scaling.factor", "rope.scale_linear", *YARN}
_IGNORED = {"vocab_size", "tensor_data_layout", "rope.scaling.finetuned"}
_IGNORED_IF = {"expert_count": 0, "expert_used_count": 0, "attention.sliding_window": 0, "attention.causal": True}

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.embed_positions": "position_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_ROTATED = re.compile(r"self_attn\.[qk]_proj")
ROPE_FREQS = "rope_freqs.weight"


class GGUFModel(NamedTuple):
    """A model from a GGUF file. tensors: our names -> float32, each read from the file on access"""

    config: ModelConfig
    tensors: Mapping[str, Tensor]
    tokenizer: Tokenizer
    template: ChatTemplate

    def network(self) -> LanguageModel:
        """The model with its weights, on this process's device."""
        with torch.device("meta"):
            model = LanguageModel(self.config)
        model.load_state_dict(dict(self.tensors), strict=False, assign=True)
        model.tie()
        return model.to(device.current().torch_device)


def import_gguf(path: Path) -> GGUFModel:
    """Read a model, its tokenizer and its chat template (the plain template if the file has none).

    Raises CheckpointError that names the part that is broken, missing or not supported.
    """
    file = read_gguf(path)
    if (n_parts := file.get("split.count", int, 1)) > 1:
        raise file.error("split.count", f"one part of {n_parts}; join them with llama-gguf-split --merge")
    if (kind := file.get("general.type", str, "model")) != "model":
        raise file.error("general.type", f"is {quote(kind)}, not a model; llama-export-lora can merge an adapter")
    name = file.get("general.architecture", str)
    if name not in ARCHITECTURES:
        raise file.error("general.architecture", f"{quote(name)} is not supported; {', '.join(ARCHITECTURES)} are")
    config = _read_config(file, name)
    tensors = _find_tensors(file, config, ARCHITECTURES[name])
    source = file.get("tokenizer.chat_template", str, "")
    tokenizer = read_tokenizer(file, config.vocab_size, source or None)
    return GGUFModel(config, tensors, tokenizer, ChatTemplate(source) if source else ChatTemplate.plain())


def _read_config(file: GGUF, name: str) -> ModelConfig:
    """The network that the metadata describes; biases and tying follow from which tensors exist."""
    settings = ARCHITECTURES[name].settings(0)
    epsilon = EPSILON[settings["norm"]]
    for key, value in file.metadata.items():
        architecture, _, key = key.partition(".")
        known = key in FIELDS or key in _SCALING or key in _IGNORED or key == epsilon
        idle = isinstance(value, int) and _IGNORED_IF.get(key) == value
        if architecture == name and not (known or idle):
            raise file.error(quote(f"{name}.{key}"), "is not supported")
    for position, (key, setting) in enumerate(FIELDS.items()):
        if position < 5 or f"{name}.{key}" in file.metadata:
            value = file.get(f"{name}.{key}", float if setting == "rope_theta" else int)
            if settings.setdefault(setting, value) != value:
                raise file.error(f"{name}.{key}", f"is {value}, but {setting} is {settings[setting]}")
    n_layer, n_head = settings["n_layer"], settings["n_head"]
    if not 0 < n_layer <= len(file.infos) or n_head < 1:
        raise file.error(f"{name}", f"{n_layer} blocks of {n_head} heads are not possible")
    settings |= ARCHITECTURES[name].settings(n_layer)
    settings.setdefault("n_kv_head", n_head)
    settings.setdefault("head_dim", settings["n_embd"] // n_head)
    settings["norm_eps"] = file.get(f"{name}.{epsilon}", float)
    embedding = file.infos.get("token_embd.weight")
    settings["vocab_size"] = embedding.shape[0] if embedding else 0
    settings["qkv_bias"] = not file.infos.keys().isdisjoint(("blk.0.attn_q.bias", "blk.0.attn_qkv.bias"))
    settings["o_bias"] = "blk.0.attn_output.bias" in file.infos
    settings["ff_bias"] = "blk.0.ffn_up.bias" in file.infos
    settings["tie_embeddings"] = "output.weight" not in file.infos
    config = _parse(file, settings)
    scaling = _read_scaling(file, name, config)
    return _parse(file, settings | {"rope_scaling": scaling}) if scaling else config


def _parse(file: GGUF, settings: dict[str, Any]) -> ModelConfig:
    try:
        return ModelConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or file.get("general.architecture", str)
        raise file.error(where, first["msg"].removeprefix("Value error, ")) from None


def _read_scaling(file: GGUF, name: str, config: ModelConfig) -> dict[str, Any] | None:
    kind = file.get(f"{name}.rope.scaling.type", str, "linear")
    factor = file.get(f"{name}.rope.scaling.factor", float, file.get(f"{name}.rope.scale_linear", float, 0.0)) or 1.0
    if ROPE_FREQS in file.infos:
        return _recognise_llama3(file, config)
    if kind == "none" or factor == 1:
        return None
    scaling: dict[str, Any] = {"kind": kind, "factor": factor}
    if kind == "yarn":
        scaling["original_seq_len"] = config.seq_len
        for key, setting in YARN.items():
            if f"{name}.{key}" in file.metadata:
                scaling[setting] = file.get(f"{name}.{key}", int if setting == "original_seq_len" else float)
    elif kind != "linear":
        raise file.error(f"{name}.rope.scaling.type", f"{quote(kind)} is not supported; none, linear and yarn are")
    return scaling


def _recognise_llama3(file: GGUF, config: ModelConfig) -> dict[str, Any] | None:
    """Llama 3's scaling. The file only has its result; every Llama 3 has the same settings except for the factor."""
    found = file.tensor(ROPE_FREQS).flatten()
    scaling = Llama3Rope(
        factor=max(1.0, found.max().item()), original_seq_len=8192, low_freq_factor=1.0, high_freq_factor=4.0
    )
    wanted = frequency_factors(scaling, config.rope_theta, config.head_dim)
    if len(found) != len(wanted) or not np.allclose(found, wanted, rtol=1e-3):
        raise file.error(f"tensor {ROPE_FREQS}", "is not Llama 3's scaling; import the model's Hugging Face folder")
    return None if scaling.factor == 1 else scaling.model_dump()


def frequency_factors(scaling: Llama3Rope, theta: float, head_dim: int) -> list[float]:
    """llama.cpp's divisor of each rotary frequency."""
    frequencies = [theta ** (-even / head_dim) for even in range(0, head_dim, 2)]
    return [1 / (kept + (1 - kept) / scaling.factor) for kept in scaling.kept(frequencies, theta)]


class _Weights(Mapping[str, Tensor]):
    """Tensors that are read from the file on each access, so that memory need not hold more than one."""

    def __init__(self, readers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._readers = readers

    def __getitem__(self, name: str) -> Tensor:
        return self._readers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def tensor_layout(config: ModelConfig, architecture: Architecture) -> dict[str, list[tuple[str, Shape]]]:
    """GGUF's tensors -> our tensors that they consist of, stacked by rows."""
    tensors: dict[str, list[tuple[str, Shape]]] = {}
    for name, shape in config.shapes():
        stem, _, kind = name.rpartition(".")
        layer = _LAYER.fullmatch(stem)
        theirs = NAMES[layer[2] if layer else stem]
        if architecture.fused and theirs in ("attn_q", "attn_k", "attn_v"):
            theirs = "attn_qkv"
        tensors.setdefault(f"blk.{layer[1]}.{theirs}.{kind}" if layer else f"{theirs}.{kind}", []).append((name, shape))
    for parts in tensors.values():
        parts.sort(key=lambda part: "qkv".find(part[0].rsplit(".", 2)[1][0]))
    return tensors


def is_interleaved(name: str, architecture: Architecture) -> bool:
    """Whether the file has the rows of this tensor of ours in interleaved order."""
    return architecture.interleaved and _ROTATED.search(name) is not None


def interleave(rows: Tensor, head_dim: int) -> Tensor:
    """Rows of each head: first half, then second half -> alternating."""
    return rows.reshape(-1, 2, head_dim // 2, *rows.shape[1:]).transpose(1, 2).flatten(0, 2)


def deinterleave(rows: Tensor, head_dim: int) -> Tensor:
    """The inverse of `interleave`."""
    return rows.reshape(-1, head_dim // 2, 2, *rows.shape[1:]).transpose(1, 2).flatten(0, 2)


def _find_tensors(file: GGUF, config: ModelConfig, architecture: Architecture) -> Mapping[str, Tensor]:
    wanted = tensor_layout(config, architecture)
    for name in sorted(wanted.keys() ^ (file.infos.keys() - {ROPE_FREQS})):
        raise file.error(f"tensor {quote(name)}", "is missing" if name in wanted else "is not supported")
    readers: dict[str, Callable[[], Tensor]] = {}
    for name, parts in wanted.items():
        shape = (sum(shape[0] for _, shape in parts), *parts[0][1][1:])
        if file.infos[name].shape != shape:
            raise file.error(f"tensor {name!r}", f"is {file.infos[name].shape}, the metadata says {shape}")
        start = 0
        for ours, (n_rows, *_) in parts:
            head_dim = config.head_dim if is_interleaved(ours, architecture) else None
            readers[ours] = partial(_read_part, file, name, slice(start, start + n_rows), head_dim)
            start += n_rows
    return _Weights(readers)


def _read_part(file: GGUF, name: str, rows: slice, head_dim: int | None) -> Tensor:
    part = file.tensor(name)[rows]
    return part if head_dim is None else deinterleave(part, head_dim)
