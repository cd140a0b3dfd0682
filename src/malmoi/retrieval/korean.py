"""Korean words without their particles and endings, by lists: enough to compare them, no morphological analysis."""

import re
from functools import lru_cache

from malmoi.retrieval.words import word_list

PARTICLES = sorted(word_list("particles.ko.txt"), key=len, reverse=True)
ENDINGS = sorted(word_list("endings.ko.txt"), key=len, reverse=True)


@lru_cache(maxsize=1 << 16)
def without_particle(word: str) -> str:
    """The word without the longest particle that leaves some of it and may follow that: 사과 and 가을 have none."""
    for particle in PARTICLES:
        if word.endswith(particle) and len(word) > len(particle) and _may_follow(word[-len(particle) - 1], particle):
            return word[: -len(particle)]
    return word


_AFTER_CONSONANT = ("은", "이", "을", "과", "으로", "이나", "이랑", "이라는", "이라고")
_OF_CONSONANT = ("은", "을", "으면", "으려고", "으려면", "습니다")
_AFTER_VOWEL = ("는", "가", "를", "와", "랑", "예요")


def _may_follow(syllable: str, particle: str) -> bool:
    final = _split(syllable)[2]
    return not (
        (final == " " and particle in _AFTER_CONSONANT) or (final not in ("", " ") and particle in _AFTER_VOWEL)
    )


@lru_cache(maxsize=1 << 16)
def without_ending(word: str) -> str:
    """The word without the longest particle or ending of a verb that leaves at least one character of it."""
    for ending in ENDINGS:
        is_vowel = ending in _OF_CONSONANT and len(word) > len(ending) and _split(word[-len(ending) - 1])[2] == " "
        if word.endswith(ending) and len(word) > len(ending) and not is_vowel:
            return word[: -len(ending)]
    return without_particle(word)


_VERBAL = ("", *ENDINGS, *word_list("verb_endings.ko.txt"))
"""Nothing, and what may follow a stem or its contraction."""
_OPENS = {"ㄹ": "", "ㅆ": "", "ㄴ": "다대답", "ㅁ": " ", "ㅂ": "니시"}
"""Final consonants that endings put below an open stem, or that fall out; how what follows may begin ("": anyhow)."""
_CONTRACTED = {"ㅕ": "ㅣ", "ㅘ": "ㅗ", "ㅝ": "ㅜ", "ㅙ": "ㅚ", "ㅐ": "ㅏ"}
"""Vowels of a stem that is run together with its ending: 마셔, 나와, 바꿔, 돼, 해."""
_OF_EU = re.compile(".?[ㄲㅆㄸㅋㅌ]ㅓ|.[ㄱㄹㅇㅍㅃ][ㅏㅓ]")
"""The last two syllables of a stem with ㅡ that is run together with its ending, the last as letters: 꺼, 잠가."""
_SOFT = "어아으은을음었았"
"""Beginnings of endings before which ㄷ becomes ㄹ and ㅅ falls out: 걸어, 지은."""
_VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
_FINALS = " ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ"


@lru_cache(maxsize=1 << 16)
def verb_stems(word: str) -> frozenset[str]:
    """What a word may be a form of: 마셔도, 마신다 and 마시세요 all have 마시, 구워 and 굽는 have 굽, 발라 has 바르.

    It is all that the spelling allows, also of other words: two words with a common stem may be forms of one verb.
    """
    found = {word, without_particle(word)}
    for ending in _VERBAL:
        form = word.removesuffix(ending)
        if form and (form != word or not ending):
            found |= _stems_of(form, ending or " ")
    return frozenset(found)


def _stems_of(form: str, ending: str) -> set[str]:
    """A form without its ending, and the stems that may have changed into it."""
    before, (initial, vowel, final) = form[:-1], _split(form[-1])
    if not initial or (ending == "다" and (final not in "ㄴㅆ" or form[-1] in "있겠")):
        return {form} if ending != "다" else set()
    found = {form}
    if final in _OPENS and (not _OPENS[final] or ending[0] in f" {_OPENS[final]}"):
        found.add(before + _joined(initial, vowel))
    own = "ㅡ" if _OF_EU.fullmatch(before[-1:] + initial + vowel) else _CONTRACTED.get(vowel)
    if own and final in " ㅆ":
        found.add(before + _joined(initial, own))
    if ending[0] in _SOFT and final in " ㄹ":
        found.add(before + _joined(initial, vowel, "ㄷ" if final == "ㄹ" else "ㅅ"))
    if before and (shape := _split(before[-1]))[0]:
        if initial == "ㄹ" and vowel in "ㅏㅓ" and shape[2] == "ㄹ":
            found.add(before[:-1] + _joined(*shape[:2]) + "르")
        if initial == "ㅇ" and vowel in "ㅜㅝㅘ" and shape[2] == " ":
            found.add(before[:-1] + _joined(*shape[:2], "ㅂ"))
    return found


_HEARD = {"ㅐ": "ㅔ", "ㅖ": "ㅔ", "ㅒ": "ㅔ", "ㅙ": "ㅚ", "ㅞ": "ㅚ"}
_HARD = {"ㅑ": "ㅏ", "ㅕ": "ㅓ", "ㅛ": "ㅗ", "ㅠ": "ㅜ"}
_CLOSED = {"ㅋ": "ㄱ", "ㄲ": "ㄱ", "ㅍ": "ㅂ"} | dict.fromkeys("ㅅㅆㅈㅊㅌ", "ㄷ")
_LOAN = {"크": "ㄱ", "프": "ㅂ", "트": "ㄷ", "츠": "ㄷ"}


@lru_cache(maxsize=1 << 14)
def sounds(text: str) -> str:
    """Hangul as it is heard, for spellings that people mix up: 케익 and 케이크, 찌게 and 찌개, 스케쥴 and 스케줄."""
    found = ""
    for letter in text:
        initial, vowel, final = _split(letter)
        if letter in _LOAN and found and _split(found[-1])[2] == " ":
            found = found[:-1] + _joined(*_split(found[-1])[:2], _LOAN[letter])
        elif initial:
            vowel = _HEARD.get(vowel, vowel)
            vowel = _HARD.get(vowel, vowel) if initial in "ㅈㅉㅊ" else vowel
            found += _joined(initial, vowel, _CLOSED.get(final, final))
        else:
            found += letter
    return found


_INITIALS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"


def _split(syllable: str) -> tuple[str, str, str]:
    """Its first consonant, vowel and final consonant (" ": none); ("", "", "") of what is no syllable."""
    code = ord(syllable) - 0xAC00
    if not 0 <= code < 11172:
        return "", "", ""
    return _INITIALS[code // 588], _VOWELS[code % 588 // 28], _FINALS[code % 28]


def _joined(initial: str, vowel: str, final: str = " ") -> str:
    return chr(0xAC00 + _INITIALS.index(initial) * 588 + _VOWELS.index(vowel) * 28 + _FINALS.index(final))
