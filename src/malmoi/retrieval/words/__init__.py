"""Lists of words, written by hand: plain files, UTF-8, in which lines that begin with # are comments."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


def word_list(name: str) -> list[str]:
    """The words of a file, which are separated by white space."""
    return [word for line in _lines(name) for word in line.split()]


def word_table(name: str, between: str = ",") -> dict[str, list[str]]:
    """A file of two columns separated by a tab: a key, and what it stands for, separated by commas or else."""
    table: dict[str, list[str]] = {}
    for line in _lines(name):
        key, values = line.split("\t")
        table[key] = [value.strip() for value in values.split(between)]
    return table


def word_groups(name: str) -> list[list[str]]:
    """A file with one group of words a line, separated by commas."""
    return [[word.strip() for word in line.split(",")] for line in _lines(name)]


def is_listed(name: str, word: str) -> bool:
    """Whether a file lists a word; a Korean one that it lists may go on, if it has more than one syllable."""
    whole, beginnings = _words_and_beginnings(name)
    return word in whole or word.startswith(beginnings)


@cache
def _words_and_beginnings(name: str) -> tuple[frozenset[str], tuple[str, ...]]:
    words = word_list(name)
    return frozenset(words), tuple(word for word in words if not word.isascii() and len(word) > 1)


@cache
def patterns(name: str) -> dict[str, re.Pattern[str]]:
    """A file of two columns: a key, and a regular expression. Those of one key are joined by "or"; case is ignored.

    A key in capitals names a part, which later lines have as `<NAME>`.
    """
    forms: dict[str, list[str]] = {}
    parts: dict[str, str] = {}
    for line in _lines(name):
        key, form = line.split("\t")
        form = _PART.sub(lambda found: parts[found[1]], form)
        if key.isupper():
            parts[key] = form
        else:
            forms.setdefault(key, []).append(form)
    return {key: re.compile("|".join(found), re.IGNORECASE) for key, found in forms.items()}


_PART = re.compile("<([A-Z_]+)>")


def _lines(name: str) -> Iterator[str]:
    for line in (FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line
