"""Korean counts in one form: 두 대 and 2대, 8인 and 8명 are the same."""

import re

_ONES = {"한": 1, "두": 2, "세": 3, "석": 3, "네": 4, "넉": 4, "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9}
_TENS = {"열": 10, "스무": 20, "스물": 20, "서른": 30, "마흔": 40, "쉰": 50}
_COUNTERS = "개월|시간|사람|군데|가지|켤레|명|인|번|회|대|개|달|장|매|마리|살|세|권|병|잔|통|층|주|줄|팀|칸|채|벌"
_SAME = {"인": "명", "사람": "명", "회": "번", "개월": "달", "매": "장", "세": "살"}
_COUNT = re.compile(
    rf"(?:(?<![가-힣])(?P<tens>{'|'.join(_TENS)})?(?P<ones>{'|'.join(_ONES)})?(?: |(?=개|명|번|달|시간|사람))"
    r"|(?P<digits>\d+) ?)"
    rf"(?P<counter>{_COUNTERS})(?!시|화|리|답|원|수)"
)


def in_digits(text: str) -> str:
    """The text with numbers in words before what they count as digits, and with one counter for those that count alike.

    한 is left: it is also of 하다, and 한 번 says no number.
    """
    return _COUNT.sub(_digits, text)


def _digits(found: re.Match[str]) -> str:
    number = found["digits"] or str(_TENS.get(found["tens"], 0) + _ONES.get(found["ones"], 0))
    if number in ("0", "1") and not found["digits"]:
        return found.group()
    return number + _SAME.get(found["counter"], found["counter"])
