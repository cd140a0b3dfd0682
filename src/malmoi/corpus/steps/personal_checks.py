"""Checks of personal data: whether digits that look like a card, a number of a person or an account can be one."""

import ipaddress
import re

_ISSUED = re.compile(
    r"4\d{12}(\d{3}){0,2}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3(0[0-5]|[689]\d)\d{11}|6(011|5\d\d|4[4-9]\d)\d{12}"
    r"|35(2[89]|[3-8]\d)\d{12}|9\d{15}|62\d{14,17}|220[0-4]\d{12}|8[16]\d{14}|(50[89]\d|60[4-9]\d|65[0-3]\d)\d{12}"
    r"|(50[1-3]\d|5[678]\d\d|6304|6759|676[1-3]|63\d\d)\d{8,15}"
)
"""The first digits of cards, and how many there are."""
_DATE = re.compile(
    r"(1[5-9]|20)\d\d([-./ ]{1,2})(0?[1-9]|1[0-2])\2(0?[1-9]|[12]\d|3[01])(?!\d)"
    r"|(0?[1-9]|[12]\d|3[01])([-./ ]{1,2})(0?[1-9]|[12]\d|3[01])\6(1[5-9]|20)\d\d(?!\d)"
    r"|(1[5-9]|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?:([01]\d|2[0-3])([0-5]\d){1,2})?(?!\d)"
)
_NO_EMAIL = (".png", ".jpg", ".gif", ".svg", ".webp", ".js", ".css")
_FRACTION = re.compile(r"\d{1,3}\.\d{5,}|[1-9]\d*(/\d+)+")
_YEARS = re.compile(r"(1[5-9]|20)\d\d([-–/, .~]{1,3}(1[5-9]|20)\d\d)+")


def digits_of(text: str) -> str:
    """Only the digits of a text."""
    return re.sub(r"\D", "", text)


def is_email(text: str) -> bool:
    """No name of a picture for two densities, and not the address of a repository."""
    return not text.lower().endswith(_NO_EMAIL) and not text.startswith("git@")


def is_card(text: str) -> bool:
    """By its first digits, its length and Luhn's check (ISO/IEC 7812)."""
    digits = digits_of(text)
    if not _ISSUED.fullmatch(digits) or len(set(digits)) == 1:
        return False
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(n - 9 * (n > 9) for n in doubled) % 10 == 0


def is_resident(text: str) -> bool:
    """By its date of birth and the digit of century and sex. Numbers given since October 2020 have no checksum.

    Thirteen digits in a row that are the bar code of a ware are none, nor is a number with a decimal point, unless they
    have the checksum.
    """
    digits = digits_of(text)
    month, day = int(digits[2:4]), int(digits[4:6])
    if not 1 <= month <= 12 or not 1 <= day <= (29 if month == 2 else 30 if month in (4, 6, 9, 11) else 31):
        return False
    if len(digits) < 13:
        return True
    each = list(map(int, digits))
    is_ware = "." in text or (text == digits and sum(each[::2]) % 10 == -3 * sum(each[1::2]) % 10)
    weighed = sum(n * weight for n, weight in zip(each, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), strict=False))
    return not is_ware or (11 - weighed % 11) % 10 == each[12]


def is_business(text: str) -> bool:
    """By the checksum of the National Tax Service."""
    digits = [int(digit) for digit in digits_of(text)]
    total = sum(digit * weight for digit, weight in zip(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=False))
    return (10 - (total + digits[8] * 5 // 10) % 10) % 10 == digits[9]


def is_corporation(text: str) -> bool:
    """A Korean corporation's registration number, by its check digit (rules of the Supreme Court's registry)."""
    digits = [int(digit) for digit in digits_of(text)]
    return -sum(digit * (1 + at % 2) for at, digit in enumerate(digits[:12])) % 10 == digits[12]


def is_address(text: str) -> bool:
    """An IP address that can be somebody's: with or without brackets, port, zone (RFC 4007) and prefix (RFC 4632)."""
    plain = re.sub(r"[\[(](?:\.|dot)[\])]| \. ", ".", text)
    plain = re.sub(r"^\[|\](?::\d+)?$", "", plain)
    plain = re.sub(r"/\d+$", "", plain)
    plain = re.sub(r":\d+$", "", plain) if plain.count(":") == 1 else plain
    plain = plain[:-1] if re.search(r"[^:]:$", plain) else plain  # "ping 2001:db8::1: 7 packets"
    try:
        found = ipaddress.ip_address(plain)
    except ValueError:
        return False
    is_mask = found.version == 4 and found.packed[0] >= 240
    return not (found.is_loopback or found.is_unspecified or found.is_multicast or is_mask)


def is_iban(text: str) -> bool:
    """By its check digits (ISO 13616, ISO/IEC 7064)."""
    plain = re.sub(r"[\s-]", "", text).upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def is_account(text: str) -> bool:
    return 10 <= len(digits_of(text)) <= 16


def is_machine_line(text: str) -> bool:
    """The second line of a passport that machines read, by the check digits of ICAO 9303."""
    return all(_checked(text[a:b]) == text[b] for a, b in ((0, 9), (13, 19), (21, 27)))


def _checked(text: str) -> str:
    return str(
        sum((int(letter, 36) if letter != "<" else 0) * (7, 3, 1)[at % 3] for at, letter in enumerate(text)) % 10
    )


def is_dated(text: str) -> bool:
    """Whether it begins with a date, or is years."""
    return bool(_DATE.match(text.strip("() ")))


def is_years(text: str) -> bool:
    """Whether it is only years, which short Korean numbers look like, too (1588-1661)."""
    return bool(_YEARS.fullmatch(text.strip("()+ ")))


def is_telephone(text: str, least: int = 8) -> bool:
    """By how many digits it has (E.164, with what is dialled inside); no date, fraction, or 0s and 1s."""
    digits = digits_of(text)
    least = 7 if text.startswith("+") else 11 if text.startswith("00") and least == 8 else least
    return (
        least <= len(digits) <= 20
        and not is_dated(text)
        and not _FRACTION.fullmatch(text)
        and len(set(digits)) > 1
        and not set(digits) <= {"0", "1"}
    )


def is_bracketed(text: str) -> bool:
    """A telephone number whose area is in brackets: 9 to 14 digits."""
    return 9 <= len(digits_of(text)) <= 14 and is_telephone(text) and not is_years(text)


def is_national(text: str) -> bool:
    """A telephone number that begins with the 0 of its country: 9 to 12 digits, joined in one way after the area."""
    joints = re.findall(r"(?<=\d)[^\d]+(?=\d)", text)
    is_two = len(joints) == 1 and not text.startswith("(")
    if is_two and len(re.split(r"\D+", text.strip("()"))[1]) < 6:  # a postcode of America
        return False
    return 9 <= len(digits_of(text)) <= 12 and len(set(joints[1:])) <= 1 and is_telephone(text)
