"""Sentences of a passage, and the one that answers a question."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from malmoi.retrieval.words import patterns

_END = re.compile(r"""[.!?…。！？]["'”’)\]]*(?=\s|$)|\n[ \t]*\n+|\n(?=[ \t]*(?:[-*+•·|]|\d+[.)])[ \t])""")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Dr|Mr|Mrs|Ms|No|St|Fig|p|pp)|^\s*\d+|\b[A-Z])\.$")

_SIGNATURE = r"[\w.]+\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
# What it has taken it keeps, so that long sentences with many calls take no longer than others.
_SIGNATURES = re.compile(rf"^(?:{_SIGNATURE}\s*+(?:-+>\s*+(?:(?!{_SIGNATURE})[^.])*+)?\.?+\s*+)++$")

_PROSE = re.compile(r"(?!Also called|For example|>>>)[^\W\d_]")


@dataclass(frozen=True)
class Sentence:
    """text: on one line; start: where it begins in the passage; line: lines of the passage before it"""

    text: str
    start: int
    line: int


@lru_cache(maxsize=1 << 12)
def sentences(text: str) -> tuple[Sentence, ...]:
    """The sentences of a text, in order. Paragraphs and items of lists end a sentence, too."""
    found = []
    start = 0
    for match in _END.finditer(text):
        part = text[start : match.end()]
        if match.group()[0] == "." and _ABBREVIATION.search(part):
            continue
        found.append((start, match.end()))
        start = match.end()
    found.append((start, len(text)))
    return tuple(
        Sentence(" ".join(text[a:b].split()), a + _indent(text[a:b]), text.count("\n", 0, a + _indent(text[a:b])))
        for a, b in found
        if text[a:b].strip()
    )


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def first_telling(text: str) -> Sentence:
    """The first sentence of a text, or the next one after signatures such as `dumps(obj) -> str` if that is prose."""
    found = sentences(text)
    rest = (sentence for sentence in found if not _SIGNATURES.match(sentence.text))
    told = next(rest, found[0])
    return told if _PROSE.match(told.text) else found[0]


def asked_kinds(question: str) -> tuple[str, ...]:
    """What kinds of answers the question words ask for: time, number, place, person, reason."""
    return tuple(kind for kind, form in patterns("asked.tsv").items() if form.search(question))


def tells(kind: str, sentence: str) -> bool:
    """Whether a sentence has what such a question asks for, such as a date for a time."""
    return patterns("told.tsv")[kind].search(sentence) is not None


def best_sentence(text: str, question: str, fit: Callable[[str], float]) -> Sentence:
    """The sentence that answers: fit says, from 0 to 1, how much of the question is in it.

    Among those that fit alike, the one that has what the question word asks for, then the first.
    """
    kinds = asked_kinds(question)

    def worth(sentence: Sentence) -> float:
        told = sum(tells(kind, sentence.text) for kind in kinds) / len(kinds) if kinds else 0.0
        return fit(sentence.text) + 0.3 * told

    return max(sentences(text), key=lambda sentence: (round(worth(sentence), 6), -sentence.start))


def example(text: str) -> Sentence | None:
    """The first example of a session with Python, up to the next blank line, if the text has one."""
    match = re.search(r"^[ \t]*>>> .*(?:\n[ \t]*\S.*)*", text, re.MULTILINE)
    if match is None:
        return None
    lines = [line.strip() for line in match.group().splitlines()]
    return Sentence("\n".join(lines), match.start(), text.count("\n", 0, match.start()))
