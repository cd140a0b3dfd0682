"""How answers are sampled where a person chose some of it: the rest is what the model asks for, else usual values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from malmoi.config import parse
from malmoi.formats.generation import sampling_defaults
from malmoi.inference.sampling import Sampling

ELSE: dict[str, dict[str, Any]] = {
    "chat": {"temperature": 0.7, "max_tokens": 128},
    "ask": {"temperature": 0.7, "max_tokens": 128},
    "generate": {"temperature": 1.0, "max_tokens": 256},
}
"""How a command samples where neither a person nor the model says it."""


def sampling_of(folder: Path, given: Mapping[str, Any], command: str) -> Sampling:
    """How a model samples: as its folder says, except for what is given. given: name -> value, None if it is not

    Raises ConfigError for a value that cannot be used.
    """
    return sampling_from(sampling_defaults(folder), given, command)


def sampling_from(own: Mapping[str, Any], given: Mapping[str, Any], command: str) -> Sampling:
    """The same; own: what the model's folder says"""
    chosen = {name: value for name, value in given.items() if value is not None}
    return parse(Sampling, ELSE[command] | dict(own) | chosen, command)
