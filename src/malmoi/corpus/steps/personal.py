"""Personal data: found by patterns with checks, and masked or counted.

Known: e-mail, telephone numbers (Korean, American, international), payment cards, IP addresses, Korean resident and
foreigner registration numbers, business registration numbers, bank accounts (IBAN by its check digits, others next to a
bank or a word that says so), passports and driving licences next to such a word or by their form. Names and postal
addresses are not found.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

_A = "A-Za-z0-9_"
"""Letters and digits that belong to a number or a name: Korean particles follow them without a space."""
_B, _E = rf"(?<![{_A}.\-/])", rf"(?![{_A}\-/]|\.\d)"


@dataclass(frozen=True)
class Kind:
    """A kind of personal data. mask: what takes its place; is_one: whether a match is really one

    words: in lower case; a text without any of them has none; may: the same of a text in which this is not found
    """

    name: str
    pattern: re.Pattern[str]
    mask: str
    is_one: Callable[[str], bool] = lambda found: True
    words: tuple[str, ...] = ()
    may: re.Pattern[str] | None = None


_ISSUED = re.compile(
    r"4\d{12}(\d{3}){0,2}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(0[0-5]|[689]\d)\d{11}|6(011|5\d\d|4[4-9]\d)\d{12}"
    r"|35(2[89]|[3-8]\d)\d{12}|9\d{15}|62\d{14,17}"
    r"|(50[1-3]\d|5[678]\d\d|6304|6759|676[1-3])\d{8,15}"
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
    """By its date of birth and the digit of century and sex. Numbers given since October 2020 have no checksum.

    Thirteen digits in a row that are the bar code of a Korean ware are none, unless they have the checksum.
    """
    digits = _digits(text)
    month, day = int(digits[2:4]), int(digits[4:6])
    if not 1 <= month <= 12 or not 1 <= day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31):
        return False
    each = list(map(int, digits))
    is_ware = text.startswith("880") and text == digits and sum(each[::2]) % 10 == -3 * sum(each[1::2]) % 10
    weighed = sum(n * weight for n, weight in zip(each, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), strict=False))
    return not is_ware or (11 - weighed % 11) % 10 == each[12]


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


def is_iban(text: str) -> bool:
    """By its check digits (ISO 13616, ISO/IEC 7064)."""
    plain = text.replace(" ", "")
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def is_account(text: str) -> bool:
    return 10 <= len(_digits(text)) <= 16


def is_machine_line(text: str) -> bool:
    """The second line of a passport that machines read, by the check digits of ICAO 9303."""
    return all(_checked(text[a:b]) == text[b] for a, b in ((0, 9), (13, 19), (21, 27)))


def _checked(text: str) -> str:
    return str(
        sum((int(letter, 36) if letter != "<" else 0) * (7, 3, 1)[at % 3] for at, letter in enumerate(text)) % 10
    )


_S = r"(?: ?[-–‐‑.] ?| )"
"""What joins the parts of a telephone number."""
_EMAIL = re.compile(
    rf"(?<![{_A}.+%-])[{_A}.+%!-][{_A}.+%!'=/&#$*-]{{0,63}}@(?:(?:[A-Za-z0-9-]{{1,63}}|[^\W\x00-\x7f]{{1,63}})\.)+"
    rf"(?:[A-Za-z]{{2,24}}|한국)(?![{_A}@])"
)
_NO_EMAIL = (".png", ".jpg", ".gif", ".svg", ".webp", ".js", ".css")
_IP4 = re.compile(
    # The number of a version looks the same.
    rf"(?<!rv:)(?<!ersion )(?<!버전 )(?:(?<![{_A}.\-/])|(?<=//))(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?![{_A}-]|\.\d)"
)
_IP6 = re.compile(
    rf"(?<![\w:.])(?=[A-Fa-f:]*\d)(?:[0-9a-fA-F]{{0,4}}:){{2,7}}(?:(?:\d{{1,3}}\.){{3}}\d{{1,3}}|[0-9a-fA-F]{{0,4}})(?![{_A}:])"
)
_RESIDENT = re.compile(rf"{_B}\d{{6}}\s?[-–]?\s?[1-8]\d{{6}}{_E}")
_LONG_CARD = re.compile(rf"{_B}(?:(?:\d{{4}}[- ]){{4}}\d{{1,3}}|\d{{17,19}}){_E}")
_CARD = re.compile(rf"{_B}(?:(?:\d{{4}}[- ]){{2,3}}\d{{1,4}}|3\d{{3}}[- ]\d{{6}}[- ]\d{{4,5}}|\d{{12,16}}){_E}")
_82 = rf"(?:\+|00)82{_S}?\(?0?\)?{_S}?|82{_S}"
_AREA = r"(?:2|[3-6][1-5]|70|50\d?|80)"
_COUNTRY = (
    r"(?:7|20|27|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[146]|9[0-58]|(?:2[1-69]|3[578]|42|50|59|6[7-9]|80|8[578]|9[679])\d)"
)
"""Codes of countries (E.164), but Korea's and America's."""
_PHONE = re.compile(
    # Korean mobiles, Korean lines with their area, American numbers, all with a country code
    rf"{_B}(?:{_82}|\(?0)1[016789]\)?{_S}?\d{{3,4}}{_S}?\d{{4}}{_E}"
    rf"|{_B}(?:{_82}|\(?0){_AREA}(?:\){_S}?|{_S})\d{{3,4}}{_S}\d{{4}}(?:~\d{{1,4}})?{_E}"
    rf"|{_B}\+82{_AREA}\d{{7,8}}{_E}"
    rf"|{_B}(?:(?:\+?|00)1{_S})?(?:\([2-9]\d{{2}}\)\s?|[2-9]\d{{2}}(?:{_S}|/))[2-9]\d{{2}}{_S}\d{{4}}"
    rf"(?: ?(?:x|ext\.?) ?\d{{1,5}})?{_E}"
    rf"|{_B}\+[1-9]\d{{0,2}}(?:(?:{_S}|/)?\(?\d{{1,4}}+\)?){{2,7}}{_E}"
    rf"|{_B}00{_COUNTRY}(?:{_S}\(?\d{{1,4}}+\)?){{2,5}}{_E}"
)
_PHONE_WORDS = ("전화", "연락처", "휴대폰", "핸드폰", "팩스", "tel", "phone", "fax", "mobile", "wa.me/")
_NAMED_PHONE = re.compile(
    rf"(?:{'|'.join(_PHONE_WORDS)})[^\d\n]{{0,10}}(?P<it>0\d{{8,10}}|8210\d{{8}}|1?[2-9]\d{{2}}[2-9]\d{{6}})(?![A-Za-z0-9_-])",
    re.I,
)
_NUMBER = r"(?:\s*\(?(?:no\b\.?|number\b|#|번호))?"
_IS = r"[^\w\n]{0,8}(?:는|은|is)?[^\w\n]{0,3}"
_ACCOUNT = re.compile(
    r"(?:계좌(?:번호)?|입금|송금|account|\bacct|\ba/c|IBAN)(?:\s*(?:no\b\.?|number\b|#))?[^\d\n]{0,20}?"
    r"(?P<it>[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?"
    r"|\d{2,6}(?:-\d{1,7}){1,4}|\d{10,14})(?![A-Za-z0-9_-])",
    re.I,
)
_BANKS = ("은행", "뱅크", "농협", "수협", "신협", "새마을금고", "우체국")
_AT_BANK = re.compile(
    rf"(?:{'|'.join(_BANKS)})\)?[^\w\n]{{1,4}}(?P<it>\d{{2,6}}(?:-\d{{1,7}}){{1,4}}|\d{{10,14}})(?![A-Za-z0-9_-])"
)
_IBAN_LENGTHS = (
    "NO15 BE16 DK18 FI18 NL18 AT20 LU20 LT20 EE20 HR21 CH21 LI21 LV21 BG22 DE22 GB22 IE22 GE22 AE23 IL23 "
    "CZ24 ES24 RO24 SA24 SE24 SK24 PT25 IS26 TR26 FR27 GR27 IT27 MC27 SM27 CY28 HU28 PL28 AZ28 BR29 UA29 MT31"
)
"""Lengths by country, of the registry of ISO 13616."""


def _iban() -> re.Pattern[str]:
    by_length: dict[int, list[str]] = {}
    for one in _IBAN_LENGTHS.split():
        by_length.setdefault(int(one[2:]), []).append(one[:2])
    forms = []
    for length, countries in by_length.items():
        whole, rest = divmod(length - 4, 4)
        end = rf" ?[A-Z0-9]{{{rest}}}" if rest else ""
        forms.append(rf"(?:{'|'.join(countries)})\d{{2}}(?: ?[A-Z0-9]{{4}}){{{whole}}}{end}")
    return re.compile(rf"(?<![{_A}])(?:{'|'.join(forms)})(?![{_A}])")


_LONG = re.compile(r"\d(?:[^\w\n]{0,3}\d){6}")
_LETTERS_THEN_DIGITS = re.compile(r"[A-Z]{2}\d\d")
KINDS = (
    Kind("e-mail", _EMAIL, "<EMAIL>", lambda found: not found.lower().endswith(_NO_EMAIL),
         words=("@",)),
    Kind("bank account", _iban(), "<ACCOUNT>", is_iban, may=_LETTERS_THEN_DIGITS),
    Kind("Korean resident number", _RESIDENT, "<RESIDENT-NUMBER>", is_resident, may=_LONG),
    Kind("payment card", _LONG_CARD, "<CARD>", is_card, may=_LONG),
    Kind("payment card", _CARD, "<CARD>", is_card, may=_LONG),
    Kind("telephone", _PHONE, "<PHONE>", lambda found: 8 <= len(_digits(found)) <= 18, may=_LONG),
    Kind("telephone", _NAMED_PHONE, "<PHONE>", words=_PHONE_WORDS, may=_LONG),
    Kind("business number", re.compile(rf"{_B}\d{{3}}-\d{{2}}-\d{{5}}{_E}"), "<BUSINESS-NUMBER>", is_business,
         may=_LONG),
    Kind("business number", re.compile(
        r"사업자\s*(?:등록)?\s*번호[^\d\n]{0,8}(?P<it>\d{3}[- ]?\d{2}[- ]?\d{5})(?![A-Za-z0-9_-])"),
         "<BUSINESS-NUMBER>", words=("사업자",)),
    Kind("driving licence", re.compile(
        rf"(?:운전\s*면허(?:증)?|면허(?:증)?\s*번호|driv(?:er'?s?|ing)\s+licen[cs]e|licen[cs]e\s+(?=no|num)){_NUMBER}{_IS}"
        r"(?P<it>(?:[가-힣]{2} ?|\d{2}-)\d{2}-\d{6}-\d{2}|\d{12})(?![A-Za-z0-9_])", re.I), "<DRIVING-LICENCE>",
         words=("면허", "licen"), may=_LONG),
    Kind("driving licence", re.compile(
        rf"{_B}(?:1[1-9]|2[0-8])-\d{{2}}-\d{{6}}-\d{{2}}{_E}"), "<DRIVING-LICENCE>", may=_LONG),
    Kind("bank account", _ACCOUNT, "<ACCOUNT>", lambda found: found[0].isalpha() or is_account(found),
         words=("계좌", "입금", "송금", "account", "acct", "a/c", "iban")),
    Kind("bank account", _AT_BANK, "<ACCOUNT>", is_account, words=_BANKS, may=_LONG),
    Kind("passport", re.compile(
        rf"(?:여권|passport){_NUMBER}{_IS}(?P<it>[A-Z]\d{{8}}|[A-Z]\d{{3}}[A-Z]\d{{4}}|\d{{9}})(?![A-Za-z0-9_])",
        re.I), "<PASSPORT>", words=("여권", "passport")),
    Kind("passport", re.compile(r"(?<![A-Z0-9<])P[A-Z<][A-Z]{3}[A-Z]+<(?=[A-Z<]*<<)[A-Z<]{20,38}(?![A-Z0-9<])"),
         "<PASSPORT>", words=("<<",)),
    Kind("passport", re.compile(
        r"(?<![A-Z0-9<])[A-Z0-9<]{9}\d[A-Z<]{3}\d{7}[MFX<]\d{7}[A-Z0-9<]{14}[0-9<]\d(?![A-Z0-9<])"), "<PASSPORT>",
         is_machine_line, words=("<",), may=_LONG),
    Kind("IP address", _IP6, "<IP>", is_address, may=re.compile("[0-9a-fA-F:]:[0-9a-fA-F]{0,4}:")),
    Kind("IP address", _IP4, "<IP>", is_address, may=re.compile(r"\d\.\d{1,3}\.\d")),
)  # fmt: skip
_MAY_HAVE = re.compile(r"\d{3}|@|<<|\+\d|\d\.\d|[0-9a-fA-F]:[0-9a-fA-F:]")


def find_personal(text: str) -> list[tuple[int, int, Kind]]:
    """(start, end, kind) of what is personal, in order; of two that overlap the first kind of `KINDS` counts."""
    if not _MAY_HAVE.search(text):
        return []
    found: list[tuple[int, int, Kind]] = []
    lower = text.lower()
    missing = {id(may) for may in {kind.may for kind in KINDS if kind.may} if not may.search(text)}
    for kind in KINDS:
        if id(kind.may) in missing or (kind.words and not any(word in lower for word in kind.words)):
            continue
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
