"""What is indexed and what is searched: a text as a list of terms.

Documents and questions go through the same function, so a term that is in both is found. English words are reduced to
their stem. Identifiers are kept whole and also split: `os.path.join` is also os, path and join, and `readFile`
is also read and file. Korean, Chinese and Japanese are taken as pairs of characters, which need no dictionary and match
through particles and endings; a Korean noun of one character is also found without its particle.
"""

import re
from functools import lru_cache

from malmoi.retrieval.korean import PARTICLES
from malmoi.retrieval.stem import stem
from malmoi.text import nfc

_PAIRED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff"
_LETTERS = rf"[^\W\d{_PAIRED}][^\W{_PAIRED}]*"
TOKEN = re.compile(
    rf"(?P<name>{_LETTERS}(?:\.{_LETTERS})*)"
    rf"|(?P<number>\d+(?:[.,:/-]\d+)*)"
    rf"|(?P<paired>[{_PAIRED}]+)"
    rf"|(?P<operator>//|\*\*|:=|->|==|!=|<=|>=|<<|>>|\.\.\.)"
)
"""Names (dotted or single words), numbers, runs of Korean, Chinese or Japanese, and operators of programs."""
_TOKENS = re.compile(re.sub(r"\?P<\w+>", "?:", TOKEN.pattern))
"""The same without names of its groups: of gigabytes, plain text is found faster than groups."""
_IS_PAIRED = re.compile(f"[{_PAIRED}]")
_PARTICLES = frozenset(PARTICLES)
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\WA-Za-z\d_]+")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")


def terms(text: str) -> list[str]:
    """The terms of a text, in its order, repeated as often as they occur; every word gives at least one."""
    return [term for token in _TOKENS.findall(nfc(text)) for term in token_terms(token)]


@lru_cache(maxsize=1 << 17)
def token_terms(token: str) -> tuple[str, ...]:
    """The terms of one match of `TOKEN`."""
    first = token[0]
    if _IS_PAIRED.match(first):
        return _paired_terms(token)
    if first.isdecimal():
        return _number_terms(token)
    return _name_terms(token) if first == "_" or first.isalnum() else (token,)


def _name_terms(name: str) -> tuple[str, ...]:
    """A word gives its stem; a compound gives itself, its parts as they are, and their stems."""
    dotted = name.split(".")
    if len(dotted) == 1 and _is_word(name):
        return (stem(nfc(name.lower())),)
    found = [name]
    for part in dotted:
        found += [part, *([part] if _is_word(part) else _PART.findall(part))]
    lowered = [nfc(word.lower()) for word in found]
    return tuple(dict.fromkeys([*lowered[:1], *(form for word in lowered[1:] for form in (word, stem(word)))]))


def _is_word(name: str) -> bool:
    return "_" not in name and (not name.isascii() or len(_PART.findall(name)) == 1)


def _number_terms(number: str) -> tuple[str, ...]:
    """The number without commas between thousands, and its groups of digits."""
    whole = number.replace(",", "") if _THOUSANDS.fullmatch(number) else number
    groups = [] if _THOUSANDS.fullmatch(number) else re.findall(r"\d+", number)
    return tuple(dict.fromkeys((whole, *groups)))


def _paired_terms(run: str) -> tuple[str, ...]:
    if len(run) == 1:
        return (run,)
    pairs = (run[start : start + 2] for start in range(len(run) - 1))
    return (*([run[0]] if run[1:] in _PARTICLES else []), *pairs)
