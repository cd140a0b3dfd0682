"""Text of evaluation sets in a corpus: a page that holds 13 words or 50 characters of one in a row is dropped."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.files import iterate_jsonl

N_WORDS, N_CHARS = 13, 50
_WORD = re.compile(r"\w+")
_BASE = np.uint64(0x9E3779B97F4A7C15)


def _hashes(values: np.ndarray, n: int) -> np.ndarray:
    """A hash of each run of n values. (L,) -> (L - n + 1,), empty if there are fewer."""
    if len(values) < n:
        return np.zeros(0, np.uint64)
    length = len(values) - n + 1
    hashed = np.zeros(length, np.uint64)
    with np.errstate(over="ignore"):
        for at in range(n):
            hashed = (hashed ^ values[at : at + length]) * _BASE
            hashed ^= hashed >> np.uint64(29)
    return hashed


def runs(text: str) -> np.ndarray:
    """Hashes of all runs of 13 words and of 50 characters (letters and digits alone) of a text."""
    lower = text.lower()
    words = _WORD.findall(lower)
    numbers = np.array([_word_number(word) for word in words], np.uint64)
    letters = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return np.concatenate([_hashes(numbers, N_WORDS), _hashes(letters, N_CHARS)])


def _word_number(word: str) -> int:
    number = 1469598103934665603
    for byte in word.encode("utf-8", "surrogatepass"):
        number = ((number ^ byte) * 1099511628211) & 0xFFFFFFFFFFFFFFFF
    return number


class EvaluationSets:
    """What must not be learned. sets: name -> its texts"""

    def __init__(self, sets: Mapping[str, Iterable[str]]) -> None:
        self.hashes = {name: np.unique(np.concatenate([np.zeros(0, np.uint64), *map(runs, texts)]))
                       for name, texts in sets.items()}  # fmt: skip

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "EvaluationSets":
        """JSON lines, plain or compressed; every text in a row counts."""
        return cls({path.name: (text for row in iterate_jsonl(path) for text in _texts(row)) for path in paths})

    def found_in(self, text: str) -> str:
        """The name of the first set of which a text holds a run; "" if it holds none."""
        mine = runs(text)
        return next((name for name, known in self.hashes.items() if len(known) and np.isin(mine, known).any()), "")


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
