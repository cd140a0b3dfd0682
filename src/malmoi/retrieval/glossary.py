"""What else a word may be called in the documents: synonyms, and English for Korean words.

The lists in `words/` are written by hand. Their keys and values are compared by stem; a value of several words must be
found whole.
"""

import re
from functools import cache, lru_cache

from malmoi.retrieval.korean import without_ending, without_particle
from malmoi.retrieval.stem import stem
from malmoi.retrieval.words import word_groups, word_table

Forms = tuple[tuple[str, ...], ...]
"""Each form is the stems of one or several words."""


@cache
def synonyms() -> dict[tuple[str, ...], Forms]:
    """Stems of a word or phrase -> its other names in the same field."""
    return {stems(key): tuple(map(stems, values)) for key, values in word_table("synonyms.en.tsv").items()}


@cache
def korean_words() -> dict[str, Forms]:
    """Korean word, or the beginning of one that its endings follow -> English."""
    return {key: tuple(map(stems, values)) for key, values in word_table("glossary.ko.tsv").items()}


@lru_cache(maxsize=1 << 14)
def korean_synonyms(word: str) -> tuple[str, ...]:
    """What else a Korean word may be called, as it begins; of the longest key that the word begins with."""
    starts = [word[:end] for end in range(len(word), 0, -1)]
    found = (next((table[start] for start in starts if start in table), ()) for table in (_korean_table(), _everyday()))
    return tuple(dict.fromkeys(other for others in found for other in others if other != word))


_WITH_S_OR_Z = re.compile(r"([a-z]{3,}[iy])([sz])(e[drs]?|es|ing|ers?|ations?)")


@lru_cache(maxsize=1 << 14)
def other_spelling(word: str) -> str:
    """An English word in lower case as the other side of the Atlantic spells it, or "": tyre and tire, organise and
    organize. What it makes of words that have one spelling only, no text has."""
    if turned := _WITH_S_OR_Z.fullmatch(word):
        return f"{turned[1]}{'z' if turned[2] == 's' else 's'}{turned[3]}"
    begins = next((word[:end] for end in range(len(word), 2, -1) if word[:end] in _spellings()), "")
    return _spellings()[begins] + word[len(begins) :] if begins else ""


@cache
def _spellings() -> dict[str, str]:
    pairs = {british: american for british, (american,) in word_table("spellings.tsv").items()}
    return pairs | {american: british for british, american in pairs.items()}


@cache
def _everyday() -> dict[str, tuple[str, ...]]:
    """Word, as it begins -> the others of all groups of everyday words that it is in."""
    found: dict[str, tuple[str, ...]] = {}
    for language in ("ko", "en"):
        for group in word_groups(f"everyday.{language}.txt"):
            for word in group:
                found[word] = (*found.get(word, ()), *(other for other in group if other != word))
    return found


@lru_cache(maxsize=1 << 14)
def everyday_synonyms(word: str) -> Forms:
    """What else notes may call an English word, as stems."""
    return tuple(map(stems, _everyday_english().get(stems(word), ())))


@cache
def _everyday_english() -> dict[tuple[str, ...], tuple[str, ...]]:
    return {stems(word): others for word, others in _everyday().items() if word.isascii()}


@cache
def _korean_table() -> dict[str, tuple[str, ...]]:
    return {key: tuple(values) for key, values in word_table("synonyms.ko.tsv").items()}


def stems(words: str) -> tuple[str, ...]:
    return tuple(stem(word.lower()) for word in words.split())


LONGEST_PHRASE = 4
"""Words of the longest key of the synonyms."""


@lru_cache(maxsize=1 << 14)
def translations(word: str) -> tuple[tuple[str, Forms], ...]:
    """The known words that a Korean word is made of, with their English; empty if there is none.

    `문자열을` is 문자열 with a particle, `정렬하려면` is 정렬 with an ending, `파일이름` two words without the space.
    """
    known = korean_words()
    found: list[tuple[str, Forms]] = []
    at = 0
    while at < len(word):
        key = next((word[at:end] for end in range(len(word), at, -1) if _fits(word, at, end)), "")
        if key:
            found.append((key, known[key]))
        elif at == 0:
            return ()
        at += len(key) or 1
    return tuple(found)


def _fits(word: str, start: int, end: int) -> bool:
    """Whether a known word is there; one of a single character only where nothing but a particle or ending follows."""
    part = word[start:end]
    if part not in korean_words():
        return False
    if len(part) > 1:
        return True
    rest = word[start:]
    return start == 0 and part in (rest, without_particle(rest), without_ending(rest))
