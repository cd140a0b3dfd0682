"""Whether a text is of another one than asked for: 3월 where 4월 is asked for, 예린이 어머니 for 하준이 어머니."""

import re
from functools import lru_cache
from itertools import pairwise

from malmoi.retrieval.korean import without_particle

_NUMBERED = re.compile(
    r"(?P<first>\d+)(?: ?[~-] ?(?P<last>\d+))? ?(?P<unit>월|호선|호차|호(?!선|차)|동|층"
    r"|학년|학기|교시|반(?!납|찬|드)|기(?![가-힣])|관|단계|구역"
    r"|번째|주차|회차|차시|번 ?출구|번 ?테이블|번 [가-힣]+|코스|조(?![가-힣]))(?! ?(?:동안|간(?![가-힣])|이내|마다))"
)
_NUMBERED_EN = re.compile(
    r"(?i)\b(?P<unit>room|week|grade|year|chapter|unit|lane|table|level|class|step|platform|gate|line|bay|plot|house|session"
    r"|round|part|floor|term) (?P<first>\d+)(?: ?[-–] ?(?P<last>\d+))?"
)
MONTHS, MOST = 12, 100
"""Months of a year, and most numbers of a span besides its last one."""
_WORD = re.compile(r"[가-힣]+")
_ASKS = re.compile("무슨|며칠|언제|어디|얼마|누구|어떻|어느")
_HANGUL = re.compile("[가-힣]{2,}")
_PARTICLE = re.compile(r"[은는을를에도로과와만서고면한된던할될지게]$|까지$|부터$|에게$|한테$|하고$|마다$")
"""After which a word says nothing of the next one."""


def is_of_another(question: str, own: str, around: str) -> bool:
    """Whether a sentence tells of another one of what the question numbers: of 3월 where 4월 is asked for.

    own: the sentence with its title; around: the passage with its title
    """
    asked = _numbers(question)
    there, near = _numbers(own), _numbers(around)
    return any(there.get(unit) and numbers.isdisjoint(near.get(unit, ())) for unit, numbers in asked.items()) or any(
        numbers.isdisjoint(there.get(unit, numbers)) for unit, numbers in asked.items() if unit.startswith("번")
    )


def is_of_other_person(question: str, own: str) -> bool:
    """Whether a question names a person, and a sentence only others. own: the sentence with its title"""
    asked, told = _persons(question), _persons(own)
    return bool(asked and told) and asked.isdisjoint(told) and not any(name in own for name in asked)


_PERSON = re.compile(r"(?<![가-힣])([가-힣]{2,3}) ?(?:씨|님|선생님|쌤|코치|언니|오빠|누나|형|이모|삼촌)(?![가-힣]{2})")
_PERSON_EN = re.compile(r"\b([A-Z][a-z]+)(?='s\b)")


@lru_cache(maxsize=1 << 12)
def _persons(text: str) -> frozenset[str]:
    """Those whom a text names as people are addressed: 준호 씨, "Mira's"."""
    return frozenset(match[1] for form in (_PERSON, _PERSON_EN) for match in form.finditer(text))


def modifies_otherwise(question: str, own: str, around: str) -> bool:
    """Whether a sentence has another word before a noun than the question: 예린이 어머니, not 하준이 어머니."""
    words = _WORD.findall(question)
    here = own.split()
    for modifier, noun in pairwise(words):
        noun, bare = without_particle(noun), without_particle(modifier)
        if len(noun) < 2 or len(bare) < 2 or _PARTICLE.search(bare) or _ASKS.match(bare) or bare[:2] in around:
            continue
        before = [one for one, other in pairwise(here) if other.startswith(noun)]
        if before and all(_HANGUL.fullmatch(one) and not _PARTICLE.search(one) for one in before):
            return True
    return False


@lru_cache(maxsize=1 << 12)
def _numbers(text: str) -> dict[str, frozenset[int]]:
    """Kind of thing -> the numbers of those that a text names, also of a span: 3~5월."""
    found: dict[str, frozenset[int]] = {}
    for form in (_NUMBERED, _NUMBERED_EN):
        for match in form.finditer(text):
            first, last = int(match["first"]), int(match["last"] or match["first"])
            unit = _of_noun(match["unit"].lower())
            if last < first <= MONTHS and unit == "월":  # 12~2월
                span = {(month - 1) % MONTHS + 1 for month in range(first, last + MONTHS + 1)}
            else:
                span = {first, last, *range(first, min(last, first + MOST) + 1)}
            found[unit] = found.get(unit, frozenset()) | span
    for year, form in enumerate(_YEARS):
        if form.search(text):
            found["year"] = found.get("year", frozenset()) | {year}
    return found


_YEARS = tuple(
    re.compile(form)
    for form in (
        r"재작년",
        r"(?<!재)작년|지난해|\blast (?:year|spring|summer|autumn|fall|winter)\b",
        r"올해|금년|\bthis year\b",
        r"내년|\bnext year\b",
    )
)


def _of_noun(unit: str) -> str:
    """What is numbered: of 번 통에 the hive."""
    counter, _, noun = unit.partition(" ")
    return counter + without_particle(noun) if noun else unit
