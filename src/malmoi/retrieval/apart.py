"""What sets two questions apart that have most words in common.

"When is the glass collected?" has all words of "When is the paper collected?" but one, as many a rewording has. What
tells that it is another question is that the two words are of one kind (`words/siblings.tsv`), or that all others are
the same in the same order. Also here: words that are one word, misspelt or shortened.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache, lru_cache

from malmoi.retrieval.days import days_of
from malmoi.retrieval.korean import without_particle
from malmoi.retrieval.names import distance
from malmoi.retrieval.others import is_of_another
from malmoi.retrieval.words import word_table
from malmoi.text import nfc


def are_siblings(one: str, other: str) -> bool:
    """Whether two questions name different things of one kind and none in common: a cat and a dog."""
    days, other_days = days_of(one), days_of(other)
    if days and other_days and days.isdisjoint(other_days):
        return True
    if is_of_another(one, other, other):
        return True
    here, there = _members(nfc(one).lower()), _members(nfc(other).lower())
    return any(there.get(kind) and members.isdisjoint(there[kind]) for kind, members in here.items())


def common(one: str, other: str) -> list[re.Pattern[str]]:
    """The forms of what both texts name of one kind, in whatever words: elevator and lift, 매주 and 주간."""
    here, there = _members(nfc(one).lower()), _members(nfc(other).lower())
    forms = _kinds()
    return [forms[kind][n] for kind, members in here.items() for n in members & there.get(kind, frozenset())]


LONG_ENOUGH, LONG = 5, 9
"""Letters of a word in which one is taken for a slip of the hand, and two."""


def is_misspelt(one: str, other: str) -> bool:
    """Whether two English words of two questions are one, with a letter or two typed wrong: elevater, brach."""
    shorter = min(len(one), len(other))
    if shorter < LONG_ENOUGH or one[0] != other[0] or not (one.isascii() and one.isalpha() and other.isalpha()):
        return False
    limit = 2 if shorter >= LONG else 1
    return distance(one, other, limit) <= limit


def is_short_for(short: str, long: str) -> bool:
    """Whether a word is what people make of a longer one: 동방 of 동아리방, "max" of "maximum"."""
    if short.isascii() and long.isascii():
        return 3 <= len(short) <= 5 and len(long) >= len(short) + 3 and long.startswith(short)
    if not _HANGUL.fullmatch(short) or not len(short) + 2 <= len(long) <= 3 * len(short) or len(short) > 3:
        return False
    rest = iter(long[1:])
    return short[0] == long[0] and short[-1] == long[-1] and all(letter in rest for letter in short[1:])


def are_initials(short: str, first: str, second: str) -> bool:
    """Whether a Korean word has the first syllables of two others, such as 신입 of 신규 입사자."""
    return len(short) == 2 and _HANGUL.fullmatch(short) is not None and short == first[:1] + second[:1]


_HANGUL = re.compile("[가-힣]{2,}")


@lru_cache(maxsize=1 << 14)
def _members(text: str) -> Mapping[str, frozenset[int]]:
    """Kind -> the numbers of those of this kind that a text names."""
    found = {
        kind: frozenset(n for n, form in enumerate(forms) if form.search(text)) for kind, forms in _kinds().items()
    }
    return {kind: members for kind, members in found.items() if members}


@cache
def _kinds() -> dict[str, list[re.Pattern[str]]]:
    return {
        kind: [re.compile("|".join(_form(word.strip()) for word in one.split(","))) for one in members]
        for kind, members in word_table("siblings.tsv", between=";").items()
    }


def _form(word: str) -> str:
    if word.isascii():
        return rf"(?<![a-z]){re.escape(word)}(?:s|es|ed|d|e|ing|ning|ting|er|ers|y|ies)?(?![a-z])"
    return rf"(?<![가-힣0-9]){re.escape(word)}"


_ASKED_EN = re.compile(
    r"(?i)\b(?:what|which) (?P<np>(?:[\w-]+ ){0,2}?[\w-]+) "
    r"(?=(?:do|does|did|is|are|was|were|can|could|should|will|may|must|has|have|would)\b)"
    r"|\bwhat(?:['’]?s| is| are| was| were) (?:the |your |our |an? )?(?P<of>(?:[\w'’-]+ ){0,3}?[\w-]+)"
    r"(?= (?:of|for|in|at|on|to|from|when|if|that|with|by|about|after|before)\b|\W*$)"
)
_ASKED_KO = re.compile(
    r"(?P<np>[가-힣A-Za-z0-9]+?)(?:이|가|은|는|을|를|의)? ?"
    r"(?:뭐|뭔|뭘|무엇|얼마(?!나)|언제|누구|어떻게 ?[되돼됩된]|어디(?:예|에요|인|죠|야|지|임))"
)
_NOT_NOUN = re.compile(r"(?:에|에서|로|까지|부터|에게|한테|면|서|고|데|만|때|려|게|도|날|지|것|거|건|인|한|할|하는)$")


@lru_cache(maxsize=1 << 12)
def asked_nouns(text: str) -> frozenset[str]:
    """What is asked for by name: 기종 in 노트북 기종이 뭐예요, "date" in "What is the opening date of …"."""
    found = set()
    for match in _ASKED_EN.finditer(text):
        words = (match["np"] or match["of"]).lower().split()
        found.add(words[-1])
    for match in _ASKED_KO.finditer(text):
        if not _NOT_NOUN.search(match["np"]):
            found.add(match["np"])
    return frozenset(found)


BY_WORD = frozenset({"person", "place", "reason"})
"""Kinds of answers that are asked for by a question word of their own; a number may be in the name of a thing."""


def asks_for(text: str, missing: Sequence[str]) -> bool:
    """Whether one of the missing words names what a question asks for."""
    words = [word.lower() for word in missing]
    return any(noun.startswith(word) or word.startswith(noun) for noun in asked_nouns(text) for word in words)


_TOKEN = re.compile(r"[a-z0-9]+|[가-힣]+")
ALIKE = 0.5
"""Share of the other words in common from which on two questions begin to be called verbatim the same."""


def verbatim(one: str, other: str, missing: Sequence[str], unknown: Sequence[str]) -> float:
    """How surely two questions are said in the same words, but for those that only one of them has; from 0 to 1.

    Who keeps all of a question but one word means that word: "How do I restart the other server?". Who asks for the
    same in other words seldom changes only one. missing, unknown: the words that only one, only the other has
    """
    ours, theirs = _words(one, missing), _words(other, unknown)
    same = sum(block.size for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks())
    return max(0.0, same / (max(len(ours), len(theirs)) or 1) - ALIKE) / (1 - ALIKE)


def _words(text: str, but: Sequence[str]) -> list[str]:
    """The words of a text without some, Korean ones as far as their particles and endings leave them alone."""
    away = tuple(word.lower() for word in but)
    words = [word for word in _TOKEN.findall(text.lower()) if not (away and word.startswith(away))]
    return [word if word.isascii() else without_particle(word)[:3] for word in words]
