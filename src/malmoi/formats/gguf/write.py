"""Write a model of ours as a GGUF file for llama.cpp, Ollama and LM Studio, with the tables of `read` and `text`."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from malmoi.errors import CheckpointError, ConfigError
from malmoi.formats.gguf.file import TensorToWrite, write_gguf
from malmoi.formats.gguf.read import (
    ARCHITECTURES,
    EPSILON,
    FIELDS,
    ROPE_FREQS,
    YARN,
    Architecture,
    frequency_factors,
    interleave,
    is_interleaved,
    tensor_layout,
)
from malmoi.formats.gguf.text import (
    CONTROL,
    END_OF_TURN_ID,
    NORMAL,
    TEXT_RULES,
    TOKEN_IDS,
    UNUSED,
    USER_DEFINED,
    TextRules,
)
from malmoi.model.config import LinearRope, Llama3Rope, ModelConfig, YarnRope
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

KINDS = {"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7}
"""Formats of matrices that can be written -> `general.file_type`."""
Metadata = dict[str, Any]


def export_gguf(
    path: Path, model: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate, kind: str = "f32"
) -> None:
    """Write a model with its tokenizer and chat template. kind: format of the matrices, one of `KINDS`

    Vectors and learned positions stay float32. With q8_0, matrices whose width is not a multiple of 32 become float16.
    The file appears complete or not at all.
    Raises ConfigError for an unknown kind, CheckpointError for a part that GGUF or llama.cpp cannot express, UserError
    if the disk is full.
    """
    if kind not in KINDS:
        raise ConfigError(f"{kind!r} is not supported; {', '.join(KINDS)} are")
    config = model.config
    try:
        name, architecture = _choose(config)
        metadata: Metadata = {
            "general.architecture": name,
            "general.type": "model",
            "general.name": path.stem,
            "general.file_type": KINDS[kind],
            "general.quantization_version": 2,
            **{f"{name}.{key}": value for key, value in _architecture_metadata(config).items()},
            **_tokenizer_metadata(tokenizer, config.vocab_size),
            "tokenizer.chat_template": template.source,
        }
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    state = model.state_dict()
    tensors: dict[str, TensorToWrite] = {}
    if isinstance(config.rope_scaling, Llama3Rope):
        factors = torch.tensor(frequency_factors(config.rope_scaling, config.rope_theta, config.head_dim))
        tensors[ROPE_FREQS] = TensorToWrite(tuple(factors.shape), "F32", lambda: factors)
    for theirs, parts in tensor_layout(config, architecture).items():
        shape = (sum(shape[0] for _, shape in parts), *parts[0][1][1:])
        rows = [(state[ours], config.head_dim if is_interleaved(ours, architecture) else None) for ours, _ in parts]
        tensors[theirs] = TensorToWrite(shape, _kind_of(theirs, shape, kind), partial(_join, rows))
    write_gguf(path, metadata, tensors)


def _choose(config: ModelConfig) -> tuple[str, Architecture]:
    """The architecture of llama.cpp that computes what this network computes."""
    biases = (config.qkv_bias, config.o_bias, config.ff_bias)
    fitting = (
        (name, architecture)
        for name, architecture in ARCHITECTURES.items()
        if biases in architecture.biases
        and all(getattr(config, key) == value for key, value in architecture.settings(config.n_layer).items())
    )
    name, architecture = next(fitting, ("", None))
    if architecture is None:
        raise CheckpointError("no architecture of llama.cpp has this network's features; export it with --to hf")
    if architecture.fused and (config.n_kv_head, config.n_head * config.head_dim) != (config.n_head, config.n_embd):
        raise CheckpointError(f"{name} needs n_kv_head = n_head, and n_head · head_dim = n_embd")
    if isinstance(config.rope_scaling, Llama3Rope) and name != "llama":
        raise CheckpointError(f"llama.cpp supports Llama 3's rotary scaling only in llama, not in {name}")
    return name, architecture


def _architecture_metadata(config: ModelConfig) -> Metadata:
    """Metadata that describes the network."""
    described: Metadata = {EPSILON[config.norm]: config.norm_eps, "vocab_size": config.vocab_size}
    for key, setting in FIELDS.items():
        if config.positions == "rope" or not key.startswith("rope."):
            described[key] = getattr(config, setting)
    scaling = config.rope_scaling
    if isinstance(scaling, LinearRope | YarnRope):
        described |= {"rope.scaling.type": scaling.kind, "rope.scaling.factor": scaling.factor}
    if isinstance(scaling, YarnRope):
        usual = YarnRope(factor=scaling.factor, original_seq_len=scaling.original_seq_len)
        if not scaling.truncate or abs(scaling.amplitude - usual.amplitude) > 1e-6:
            raise CheckpointError("rope_scaling: llama.cpp only supports YaRN's default attention_factor and truncate")
        described |= {key: getattr(scaling, setting) for key, setting in YARN.items()}
    return described


def _kind_of(name: str, shape: tuple[int, ...], kind: str) -> str:
    if len(shape) == 1 or name.startswith("position_embd"):
        return "F32"
    return "F16" if kind == "q8_0" and shape[-1] % 32 else kind.upper()


def _join(rows: list[tuple[Tensor, int | None]]) -> Tensor:
    return torch.cat([part if head_dim is None else interleave(part, head_dim) for part, head_dim in rows])


def _tokenizer_metadata(tokenizer: Tokenizer, vocab_size: int) -> Metadata:
    """The tokenizer's metadata. Rows of the embedding without a token get a name and are marked as unused."""
    backend = tokenizer.backend
    rules = json.loads(backend.to_str())
    pre = next((name for name, known in TEXT_RULES.items() if _same(known, rules)), None)
    if rules["model"]["type"] != "BPE" or pre is None:
        raise CheckpointError("tokenizer: llama.cpp does not know how it splits text; export it with --to hf")
    tokens = [f"[PAD{token_id}]" for token_id in range(vocab_size)]
    types = [UNUSED] * vocab_size
    added = {token_id: token.special for token_id, token in backend.get_added_tokens_decoder().items()}
    for token, token_id in backend.get_vocab(with_added_tokens=True).items():
        if token_id >= vocab_size:
            raise CheckpointError(f"tokenizer: {token!r} is number {token_id}, but the embedding has {vocab_size} rows")
        is_special = added.get(token_id, False) or token in tokenizer.special
        tokens[token_id] = token
        types[token_id] = CONTROL if is_special else USER_DEFINED if token_id in added else NORMAL
    # Without this llama.cpp uses token 11 as the beginning of a text. Ours begin after the end of the previous one.
    ids = {"bos_token": tokenizer.end_of_text_id}
    ids |= {name: tokenizer.special_id(token) for name, token in tokenizer.names.items() if name in TOKEN_IDS}
    ids["pad_token"] = tokenizer.pad_id
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in rules["model"]["merges"]],
        **{TOKEN_IDS[name]: token_id for name, token_id in ids.items()},
        END_OF_TURN_ID: tokenizer.end_of_turn_id,
        "tokenizer.ggml.add_bos_token": bool(backend.encode("").ids),
    }


def _same(known: TextRules, rules: dict[str, Any]) -> bool:
    """Whether tokenizer.json splits text by these rules. Offsets of pieces in the text do not matter."""
    cut = json.dumps([rules["pre_tokenizer"], rules["normalizer"], rules["model"].get("ignore_merges", False)])
    return json.loads(cut.replace('"trim_offsets": false', '"trim_offsets": true')) == list(known)
