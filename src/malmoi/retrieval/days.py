"""Days of the week that a text names, also in short and by a span: "Sat", 금, 월수금, "Monday to Friday", 평일."""

import re
from functools import lru_cache

_ENGLISH = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_KOREAN = "월화수목금토일"
_ENDS = "(?:day|sday|nesday|rsday|urday)?s?"
_DAY = re.compile(r"(?i)\b(mon|tues|wednes|thurs|fri|satur|sun)days?\b|([월화수목금토일])요일")
_SHORT = re.compile(
    r"\b(Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\b(?= ?(?:[:,./|)&–-]|and\b|or\b|at\b|\d|morning|afternoon|evening|$))"
    rf"|(?<![가-힣\w])([{_KOREAN}])(?= ?(?:[:,·/|)]|$))"
)
_TOGETHER = re.compile(r"(?<![가-힣])(월수금?|월목|월금|월화수?|화목토?|화금|수금|목금|토일)(?=[ ,:·/|)]|에|은|반|$)")
_SPAN = re.compile(
    rf"(?i)\b({'|'.join(_ENGLISH)}){_ENDS}\s*(?:to|through|till|until|-|–|~)\s*({'|'.join(_ENGLISH)}){_ENDS}\b"
    rf"|(?<![가-힣])([{_KOREAN}])(?:요일)?\s*(?:부터|에서|[-–~∼])\s*([{_KOREAN}])(?:요일)?(?![가-힣]*월)"
)
_WORKDAYS = re.compile(r"(?i)\bweekdays?\b|평일|주중")
_WEEKEND = re.compile(r"(?i)\bweekends?\b|주말")


@lru_cache(maxsize=1 << 14)
def days_of(text: str) -> frozenset[int]:
    """The days that a text names: 0 for Monday to 6 for Sunday."""
    found = {_number(match[1] or match[2]) for match in _DAY.finditer(text)}
    found |= {_number(match[1] or match[2]) for match in _SHORT.finditer(text)}
    found |= {_number(day) for match in _TOGETHER.finditer(text) for day in match[1]}
    for match in _SPAN.finditer(text):
        first, last = (_number(day) for day in match.groups() if day)
        found |= {day % 7 for day in range(first, last + 1 if last >= first else last + 8)}
    found |= set(range(5)) if _WORKDAYS.search(text) else set()
    return frozenset(found | ({5, 6} if _WEEKEND.search(text) else set()))


def _number(day: str) -> int:
    return _KOREAN.index(day) if day in _KOREAN else _ENGLISH.index(day.lower()[:3])
