"""Personal data: found by patterns with checks, and masked or counted.

Known: e-mail, telephone numbers (Korean, American, international), payment cards, IP addresses, Korean resident and
foreigner registration numbers, business registration numbers, bank accounts, passports and driving licences next to a
word that says so. Names and postal addresses are not found.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

_A = "A-Za-z0-9_"
"""Letters and digits that belong to a number or a name: Korean particles follow them without a space."""
_B, _E = rf"(?<![{_A}.\-/=])", rf"(?![{_A}\-/]|\.\d)"


@dataclass(frozen=True)
class Kind:
    """A kind of personal data. mask: what takes its place; is_one: whether a match is really one"""

    name: str
    pattern: re.Pattern[str]
    mask: str
    is_one: Callable[[str], bool] = lambda found: True


_ISSUED = re.compile(
    r"4\d{12}(\d{3})?|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(0[0-5]|[68]\d)\d{11}|6(011|5\d\d)\d{12}"
    r"|35(2[89]|[3-8]\d)\d{12}|9\d{15}|62\d{14}"
)
"""The first digits of cards, and how many there are."""


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def is_card(text: str) -> bool:
    """By its first digits, its length and Luhn's check (ISO/IEC 7812)."""
    digits = _digits(text)
    if not _ISSUED.fullmatch(digits) or len(set(digits)) == 1:
        return False
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(n - 9 * (n > 9) for n in doubled) % 10 == 0


def is_resident(text: str) -> bool:
    """By its date of birth and the digit of century and sex. Numbers given since October 2020 have no checksum."""
    digits = _digits(text)
    month, day = int(digits[2:4]), int(digits[4:6])
    return 1 <= month <= 12 and 1 <= day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31)


def is_business(text: str) -> bool:
    """By the checksum of the National Tax Service."""
    digits = [int(digit) for digit in _digits(text)]
    total = sum(digit * weight for digit, weight in zip(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=False))
    return (10 - (total + digits[8] * 5 // 10) % 10) % 10 == digits[9]


def is_address(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified or found.is_multicast)


_S = r"[-. ]"
_EMAIL = re.compile(rf"(?<![{_A}.+%-])[{_A}.+%-]{{1,64}}@(?:[A-Za-z0-9-]{{1,63}}\.)+[A-Za-z]{{2,24}}(?![{_A}@])")
_NO_EMAIL = (".png", ".jpg", ".gif", ".svg", ".webp", ".js", ".css")
_IP = re.compile(
    rf"(?<![{_A}.\-/])(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?![{_A}-]|\.\d)"
    rf"|(?<![\w:.])(?=[A-Fa-f:]*\d)(?:[0-9a-fA-F]{{0,4}}:){{2,7}}[0-9a-fA-F]{{0,4}}(?![{_A}:])"
)
_RESIDENT = re.compile(rf"{_B}\d{{6}}\s?[-–]?\s?[1-8]\d{{6}}{_E}")
_CARD = re.compile(rf"{_B}(?:\d{{4}}[- ]){{3}}\d{{4}}{_E}|{_B}3\d{{3}}[- ]\d{{6}}[- ]\d{{5}}{_E}|{_B}\d{{13,16}}{_E}")
_PHONE = re.compile(
    # Korean mobiles, Korean lines with their area, American numbers, others with a country code
    rf"{_B}(?:\+82[-. ]?\(?0?\)?1[016789]|01[016789]){_S}?\d{{3,4}}{_S}?\d{{4}}{_E}"
    rf"|{_B}(?:\+82[-. ]?\(?0?\)?|\(?0)(?:2|[3-6][1-5]|70|50\d?|80)\)?{_S}\d{{3,4}}{_S}\d{{4}}{_E}"
    rf"|{_B}(?:\+?1{_S})?(?:\([2-9]\d{{2}}\)\s?|[2-9]\d{{2}}{_S})[2-9]\d{{2}}{_S}\d{{4}}{_E}"
    rf"|{_B}\+(?!82|1\b)[1-9]\d{{0,2}}(?:{_S}?\(?\d{{1,4}}\)?){{2,5}}{_E}"
)
_ACCOUNT = re.compile(
    r"(?:계좌(?:번호)?|입금|송금|account(?:\s+(?:no\.?|number))?|IBAN)[^\d\n]{0,20}?"
    r"(?P<it>[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?"
    r"|\d{2,6}(?:-\d{2,7}){2,4}|\d{10,14})(?![A-Za-z0-9_-])",
    re.I,
)
KINDS = (
    Kind("e-mail", _EMAIL, "<EMAIL>", lambda found: not found.lower().endswith(_NO_EMAIL)),
    Kind("Korean resident number", _RESIDENT, "<RESIDENT-NUMBER>", is_resident),
    Kind("payment card", _CARD, "<CARD>", is_card),
    Kind("telephone", _PHONE, "<PHONE>", lambda found: 8 <= len(_digits(found)) <= 15),
    Kind("business number", re.compile(rf"{_B}\d{{3}}-\d{{2}}-\d{{5}}{_E}"), "<BUSINESS-NUMBER>", is_business),
    Kind("bank account", _ACCOUNT, "<ACCOUNT>"),
    Kind("passport", re.compile(
        r"(?:여권(?:\s*번호)?|passport(?:\s+(?:no\.?|number))?)[^\w\n]{0,6}(?:는|은|is)?\s*"
        r"(?P<it>[A-Z]\d{8}|[A-Z]\d{3}[A-Z]\d{4}|\d{9})(?![A-Za-z0-9_])",
        re.I), "<PASSPORT>"),
    Kind("driving licence", re.compile(
        r"(?:운전면허(?:\s*번호)?|면허\s*번호|driver'?s?\s+licen[cs]e(?:\s+(?:no\.?|number))?)[^\w\n]{0,8}(?:는|은|is)?\s*"
        r"(?P<it>\d{2}-\d{2}-\d{6}-\d{2}|\d{12})(?![A-Za-z0-9_])", re.I), "<DRIVING-LICENCE>"),
    Kind("IP address", _IP, "<IP>", is_address),
)  # fmt: skip
_MAY_HAVE = re.compile(r"\d{3}|@|\+\d|\d\.\d|[0-9a-fA-F]:[0-9a-fA-F:]")


def find_personal(text: str) -> list[tuple[int, int, Kind]]:
    """(start, end, kind) of what is personal, in order; of two that overlap the first kind of `KINDS` counts."""
    if not _MAY_HAVE.search(text):
        return []
    found: list[tuple[int, int, Kind]] = []
    for kind in KINDS:
        for match in kind.pattern.finditer(text):
            group = "it" if "it" in kind.pattern.groupindex else 0
            start, end = match.span(group)
            if kind.is_one(match[group]) and not any(start < b and a < end for a, b, _ in found):
                found.append((start, end, kind))
    return sorted(found, key=lambda one: one[0])


def masked(text: str) -> tuple[str, Counter[str]]:
    """The text with masks in place of personal data, and how many of each kind there were."""
    parts, at, counts = [], 0, Counter[str]()
    for start, end, kind in find_personal(text):
        parts += [text[at:start], kind.mask]
        counts[kind.name] += 1
        at = end
    return "".join([*parts, text[at:]]), counts
