"""Text of evaluation sets in a corpus: a page that holds 13 words or 50 characters of one in a row is dropped."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.files import iterate_jsonl
from malmoi.text import nfc

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
    """Hashes of all runs of 13 words and of 50 characters (only letters and digits) of a text."""
    lower = nfc(text.lower())
    words = _WORD.findall(lower)
    numbers = np.fromiter(map(_numbers.__getitem__, words), np.uint64, len(words))
    letters = np.frombuffer("".join(words).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    return np.concatenate([_hashes(numbers, N_WORDS), _hashes(letters, N_CHARS)])


class _Numbers(dict[str, int]):
    """A word's number, 64 bits that are the same in every process, computed once."""

    def __missing__(self, word: str) -> int:
        if len(self) > 1_000_000:
            self.clear()
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = self[word] = int.from_bytes(digest, "little")
        return number


_numbers = _Numbers()


class EvaluationSets:
    """What must not be learned. sets: name -> its texts"""

    def __init__(self, sets: Mapping[str, Iterable[str]]) -> None:
        self.hashes = {name: np.unique(np.concatenate([np.zeros(0, np.uint64), *map(runs, texts)]))
                       for name, texts in sets.items()}  # fmt: skip

    @classmethod
    def read(cls, paths: Iterable[Path]) -> "EvaluationSets":
        """JSON lines, plain or gzipped; every text in a row counts. Files of one name are one set."""
        named: dict[str, list[Path]] = {}
        for path in paths:
            named.setdefault(path.name, []).append(path)
        return cls({
            name: (text for path in files for row in iterate_jsonl(path) for text in _texts(row))
            for name, files in named.items()
        })  # fmt: skip

    def found_in(self, text: str) -> str:
        """The name of the first set of which a text holds a run; "" if it holds none."""
        mine = runs(text)
        return next((name for name, known in self.hashes.items() if _in_common(mine, known)), "")


def _in_common(some: np.ndarray, known: np.ndarray) -> bool:
    """Whether a value of `some` is in `known`, which is sorted and may be much longer."""
    if not len(known):
        return False
    at = np.minimum(np.searchsorted(known, some), len(known) - 1)
    return bool((known[at] == some).any())


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
