"""How a model folder wants its answers sampled: the settings of `generation_config.json`, as transformers reads it."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

from malmoi.errors import CheckpointError, excerpt
from malmoi.tokenizer.bpe import UNCHOSEN_SAMPLING, Tokenizer
from malmoi.tokenizer.jinja import read_settings

FILE = "generation_config.json"


class _Range(NamedTuple):
    """A setting's name in Malmoi, and its smallest and largest value."""

    ours: str
    low: float
    high: float
    is_whole: bool = False


_SAMPLING = {
    "temperature": _Range("temperature", 0, 10),
    "top_k": _Range("top_k", 0, 2**31, is_whole=True),
    "top_p": _Range("top_p", 1e-9, 1),
    "min_p": _Range("min_p", 0, 1),
    "repetition_penalty": _Range("repetition_penalty", 0.01, 10),
}
_LENGTH = {"max_new_tokens": _Range("max_tokens", 1, 2**31, is_whole=True)}


def sampling_defaults(folder: Path) -> dict[str, Any]:
    """What a model folder says of sampling, under the names of `inference.sampling.Sampling`; empty if it says nothing.

    `"do_sample": false` is temperature 0, whatever else the file says of sampling. Raises CheckpointError for a value
    that cannot be used.
    """
    path = folder / FILE
    said = read_settings(path)
    is_greedy = said.get("do_sample") is False
    known = {**_LENGTH, **({} if is_greedy else _SAMPLING)}
    found = {known[name].ours: _checked(path, name, said[name]) for name in known if said.get(name) is not None}
    return {"temperature": 0.0, **found} if is_greedy else found


def _checked(path: Path, name: str, value: Any) -> float | int:
    allowed = (_SAMPLING | _LENGTH)[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not allowed.low <= value <= allowed.high or (allowed.is_whole and value != int(value)):
        kind = "whole number" if allowed.is_whole else "number"
        raise CheckpointError(
            f"{path}: {name}: must be a {kind} from {allowed.low:g} to {allowed.high:g} (got {excerpt(value)})"
        )
    return int(value) if allowed.is_whole else float(value)


def greedy_unless_chosen(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer of a model that was trained to answer. Its folder asks for the likeliest answer, unless the makers
    of the model that it comes from chose something else: a small model's other answers are rarely better."""
    said = {name: tokenizer.generation[name] for name in ("do_sample", *_SAMPLING) if name in tokenizer.generation}
    if said not in ({}, UNCHOSEN_SAMPLING):
        return tokenizer
    changed = copy.copy(tokenizer)
    rest = {name: value for name, value in tokenizer.generation.items() if name not in said}
    changed.generation = {**rest, "do_sample": False}
    return changed
