"""Korean words without their particles and endings, by lists: enough to compare them, no morphological analysis."""

import re
from functools import lru_cache

from malmoi.retrieval.words import word_list

PARTICLES = sorted(word_list("particles.ko.txt"), key=len, reverse=True)
ENDINGS = sorted(word_list("endings.ko.txt"), key=len, reverse=True)


@lru_cache(maxsize=1 << 16)
def without_particle(word: str) -> str:
    """The word without the longest particle that leaves at least one character of it."""
    for particle in PARTICLES:
        if word.endswith(particle) and len(word) > len(particle):
            return word[: -len(particle)]
    return word


@lru_cache(maxsize=1 << 16)
def without_ending(word: str) -> str:
    """The word without the longest particle or ending of a verb that leaves at least one character of it."""
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            return word[: -len(ending)]
    if plain := _plain(word):
        return plain[:-1] + open_syllable(plain[-1])
    return without_particle(word)


def _plain(word: str) -> str:
    """A verb in the plain style of notes without its 다: 간다, 모였다; "" for other words."""
    is_plain = len(word) > 1 and word[-1] == "다" and (ord(word[-2]) - 0xAC00) % 28 in _PLAIN
    return word[:-1] if is_plain else ""


_PLAIN = frozenset({4, 20})
"""Final consonants before 다 in plain style: ㄴ and ㅆ."""
_SOFTENED = re.compile("^(.*)([가-힣])(?:워|우|운|울|와)")


def irregular_stem(word: str) -> tuple[str, ...]:
    """The stem of a verb whose ㅂ became 우: 구워 is of 굽다. Other words get a stem that no text has."""
    found = _SOFTENED.match(word)
    if found is None or (ord(found[2]) - 0xAC00) % 28:
        return ()
    return (found[1] + chr(ord(found[2]) + 17),)


def open_syllable(word: str) -> str:
    """A word of one syllable without its final consonant, which endings change (열다, 엽니다, 연); others unchanged."""
    code = ord(word) - 0xAC00 if len(word) == 1 else -1
    return chr(0xAC00 + code - code % 28) if 0 <= code < 11172 else word


_DROPPED = frozenset({4, 8, 16, 17, 20})
"""Final consonants that endings put below an open stem: 온, 올, 옴, 옵니다, 왔다."""
_CONTRACTED = {"ㅕ": "ㅣ", "ㅘ": "ㅗ", "ㅝ": "ㅜ", "ㅙ": "ㅚ", "ㅐ": "ㅏ"}
"""Vowels of a stem that is run together with its ending: 마셔, 나와, 바꿔, 돼, 해."""
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"


@lru_cache(maxsize=1 << 16)
def verb_stems(word: str) -> frozenset[str]:
    """What a word of two or more syllables may be the form of: 마셔도, 마시지 and 마십니다 all have 마시."""
    found = {word, without_ending(word), without_particle(word)}
    found |= {word[: -len(ending)] for ending in ENDINGS if word.endswith(ending)}
    found.add(_plain(word))
    return frozenset(stem for form in found if len(form) > 1 for stem in (form, *_uncontracted(form)) if len(stem) > 1)


def _uncontracted(form: str) -> tuple[str, ...]:
    """A form with its last syllable opened, and with the stem's own vowel in it."""
    code = ord(form[-1]) - 0xAC00
    if not 0 <= code < 11172:
        return ()
    initial, vowel, final = code // 588, code % 588 // 28, code % 28
    if final and final not in _DROPPED:
        return ()
    opened = form[:-1] + chr(0xAC00 + initial * 588 + vowel * 28)
    own = _CONTRACTED.get(_VOWELS[vowel])
    return (opened, *([form[:-1] + chr(0xAC00 + initial * 588 + _VOWELS.index(own) * 28)] if own else ()))
