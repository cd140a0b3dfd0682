"""Personal data planted by published rules of their formats, and numbers that are none, for `corpus.steps.personal`.

Written from the rules, not from the patterns: Korea's numbering plan and the North American one, ITU-T E.123 and E.164,
RFC 5321, RFC 791 and 4291, ISO/IEC 7812 with Luhn's check, resident registration numbers (before October 2020 with a
checksum, since then without), the tax service's business numbers, ICAO 9303 with Korea's two forms of passports, the
police's licence numbers, the lengths of banks' account numbers, ISO 13616 (IBAN).
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise

from malmoi.corpus.steps.personal import find_personal

N_OF_EACH = 60
ENGLISH = (
    "You can reach us at {} until Friday.",
    "Contact: {}",
    "{} is what she wrote down.",
    "Please note ({}) today.",
    "Sent from {}, as agreed.",
    "My details are {}. Thank you!",
    "It says “{}” on the form.",
)
KOREAN = (
    "연락은 {}로 주세요.",
    "문의: {}",
    "{} 입니다",
    "제 것은 {}이고 내일까지 있습니다.",
    "신청서에 {}라고 적었다.",
    "담당자 김민수({})에게 보내세요.",
    "예전에는 {}였어요.",
)


def digits(rng: random.Random, n: int, first: str = "0123456789") -> str:
    return rng.choice(first) + "".join(rng.choice("0123456789") for _ in range(n - 1)) if n else ""


def luhn(number: str) -> str:
    total = sum(sum(divmod(int(digit) * (2 - at % 2), 10)) for at, digit in enumerate(reversed(number)))
    return number + str(-total % 10)


def card(rng: random.Random) -> str:
    start, length = rng.choice(
        (("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("3528", 16), ("6011", 16))
    )
    number = luhn(start + digits(rng, length - 1 - len(start)))
    joint = rng.choice(("", " ", "-"))
    cuts = (0, 4, 10, 15) if length == 15 else (0, 4, 8, 12, 16)
    return joint.join(number[a:b] for a, b in pairwise(cuts))


def resident(rng: random.Random) -> str:
    year, month = rng.randrange(1940, 2026), rng.randrange(1, 13)
    born = f"{year % 100:02d}{month:02d}{rng.randrange(1, 29):02d}"
    century = (
        rng.choice("12" if year < 2000 else "34") if rng.random() < 0.7 else rng.choice("56" if year < 2000 else "78")
    )
    number = born + century + digits(rng, 5)
    total = sum(int(digit) * weight for digit, weight in zip(number, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), strict=True))
    check = str((11 - total % 11) % 10) if (year, month) < (2020, 10) else digits(rng, 1)
    return f"{number[:6]}{rng.choice(('-', '-', '', ' - '))}{number[6:]}{check}"


def business(rng: random.Random) -> str:
    number = digits(rng, 3, "123456789") + digits(rng, 2) + digits(rng, 4)
    total = sum(int(d) * w for d, w in zip(number, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=True)) + int(number[8]) * 5 // 10
    return f"{number[:3]}-{number[3:5]}-{number[5:]}{-total % 10}"


def mobile(rng: random.Random) -> str:
    parts = ("010", digits(rng, 4, "23456789"), digits(rng, 4))
    joint = rng.choice(("-", "-", " ", ".", ""))
    return (
        joint.join(parts) if rng.random() < 0.8 else f"+82 10{rng.choice('- ')}{parts[1]}{rng.choice('- ')}{parts[2]}"
    )


def line(rng: random.Random) -> str:
    area = rng.choice(
        (
            "02",
            "031",
            "032",
            "033",
            "041",
            "042",
            "043",
            "044",
            "051",
            "052",
            "053",
            "054",
            "055",
            "061",
            "062",
            "063",
            "064",
            "070",
            "080",
        )
    )
    parts = (area, digits(rng, rng.choice((3, 4)), "23456789"), digits(rng, 4))
    return rng.choice(("{}-{}-{}", "{})-{}-{}".replace(")-", ") "), "({}) {}-{}", "{}.{}.{}")).format(*parts)


def american(rng: random.Random) -> str:
    parts = (digits(rng, 3, "23456789"), digits(rng, 3, "23456789"), digits(rng, 4))
    return rng.choice(("({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "+1 {} {} {}", "+1-{}-{}-{}", "1-{}-{}-{}")).format(*parts)


def abroad(rng: random.Random) -> str:
    return rng.choice(
        (
            f"+44 20 7{digits(rng, 3)} {digits(rng, 4)}",
            f"+49 30 {digits(rng, 4)} {digits(rng, 4)}",
            f"+33 1 {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)}",
            f"+81 3 {digits(rng, 4)} {digits(rng, 4)}",
            f"+86 138 {digits(rng, 4)} {digits(rng, 4)}",
        )
    )


def email(rng: random.Random) -> str:
    names = ("minsu.kim", "j_doe", "ann+news", "o-brien", "sales", "kim1984", "a.b.c", "x", "first_last99")
    hosts = (
        "example.com",
        "naver.com",
        "hanmail.net",
        "mail.example.co.kr",
        "snu.ac.kr",
        "sub-domain.example.org",
        "t.example.museum",
    )
    return f"{rng.choice(names)}@{rng.choice(hosts)}"


def ip(rng: random.Random) -> str:
    four = ".".join(str(rng.randrange(1, 255)) for _ in range(4))
    six = ":".join(f"{rng.randrange(1, 65536):x}" for _ in range(8))
    return rng.choice(
        (four, four, six, f"2001:db8::{rng.randrange(1, 65536):x}", f"fe80::{rng.randrange(1, 65536):x}:1")
    )


def account(rng: random.Random) -> str:
    form = rng.choice(((6, 2, 6), (3, 3, 6), (4, 3, 6), (3, 6, 5), (3, 4, 4, 2), (4, 2, 7), (3, 6, 2, 3)))
    number = "-".join(digits(rng, n) for n in form)
    bank = rng.choice(("국민", "신한", "우리", "하나", "농협", "카카오뱅크", "기업"))
    body = rng.choice((f"DE{digits(rng, 20)}", f"FR{digits(rng, 25)}", f"GB{digits(rng, 2)}NWBK{digits(rng, 14)}"))
    iban = rng.choice((body, " ".join(body[at : at + 4] for at in range(0, len(body), 4))))
    return rng.choice(
        (
            f"계좌번호 {bank} {{}}|{number}",
            f"{bank}은행 계좌 {{}}|{number}",
            f"입금계좌: {bank} {{}}|{number}",
            f"account number {{}}|{digits(rng, 12)}",
            f"IBAN {{}}|{iban}",
        )
    )


def passport(rng: random.Random) -> str:
    old, new = rng.choice("MSR") + digits(rng, 8), "M" + digits(rng, 3) + rng.choice("ABCDEFG") + digits(rng, 4)
    return rng.choice(
        (
            f"여권번호 {{}}|{old}",
            f"여권 번호: {{}}|{new}",
            f"passport number {{}}|{new}",
            f"Passport No. {{}}|{old}",
            f"passport no {{}}|{digits(rng, 9)}",
        )
    )


def licence(rng: random.Random) -> str:
    number = f"{rng.randrange(11, 29)}-{digits(rng, 2)}-{digits(rng, 6)}-{digits(rng, 2)}"
    return rng.choice(
        (f"운전면허번호 {{}}|{number}", f"운전면허 번호: {{}}|{number}", f"driver's license {{}}|{number}")
    )


KINDS: dict[str, Callable[[random.Random], str]] = {
    "e-mail": email,
    "Korean mobile": mobile,
    "Korean line": line,
    "American number": american,
    "number abroad": abroad,
    "card": card,
    "resident number": resident,
    "business number": business,
    "IP": ip,
    "account": account,
    "passport": passport,
    "driving licence": licence,
}
NONE: tuple[Callable[[random.Random], str], ...] = (
    lambda r: f"ISBN 978-{digits(r, 1)}-{digits(r, 2)}-{digits(r, 6)}-{digits(r, 1)}",
    lambda r: f"doi:10.{digits(r, 4, '123')}/{digits(r, 4)}.{digits(r, 5)}",
    lambda r: f"{r.randrange(1900, 2030)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d} {r.randrange(10, 24)}:30",
    lambda r: f"{r.randrange(1, 999)},{digits(r, 3)},{digits(r, 3)}원",
    lambda r: f"order no. {digits(r, 8)}",
    lambda r: f"주문번호 {r.randrange(2015, 2026)}{digits(r, 8)}",
    lambda r: f"{r.randrange(1, 90)}.{digits(r, 6)}, {r.randrange(1, 180)}.{digits(r, 6)}",
    lambda r: f"version {r.randrange(9)}.{r.randrange(20)}.{r.randrange(99)}",
    lambda r: f"{r.randrange(1000, 9999)}–{r.randrange(1000, 9999)}년",
    lambda r: f"pp. {r.randrange(100, 400)}-{r.randrange(400, 900)}",
    lambda r: f"commit {r.getrandbits(160):040x}",
    lambda r: f"사건번호 {r.randrange(1990, 2026)}가단{digits(r, 5)}",
    lambda r: f"{digits(r, 3)}-{digits(r, 3)} 우편번호",
    lambda r: f"{r.randrange(9)}:{digits(r, 2, '012345')}:{digits(r, 2, '012345')}",
    lambda r: f"ISSN {digits(r, 4)}-{digits(r, 4)}",
)


Makers = dict[str, Callable[[random.Random], str]]
"""Kind -> what makes one: the value, or FORM|VALUE, where the value takes the place of {} in the form."""
None_ = Sequence[Callable[[random.Random], str]]


def planted(
    seed: int, kinds: Makers, none: None_, carriers: Sequence[str]
) -> tuple[list[tuple[str, str, str]], list[str]]:
    """([(kind, value, text)], texts with none of them)."""
    rng = random.Random(seed)
    rows = []
    for kind, make in kinds.items():
        for _ in range(N_OF_EACH):
            made = make(rng)
            form, _, value = made.rpartition("|") if "{}" in made else ("{}", "", made)
            rows.append((kind, value, rng.choice(carriers).format(form.format(value))))
    return rows, [rng.choice(carriers).format(make(rng)) for make in none for _ in range(N_OF_EACH)]


def measure(
    wilson: Callable[[int, int], str], name: str = "first", kinds: Makers = KINDS, none: None_ = NONE,
    carriers: Sequence[str] = ENGLISH + KOREAN, seed: int = 20261130,
) -> None:  # fmt: skip
    """Recall and precision on one planted set, by kind."""
    rows, others = planted(seed, kinds, none, carriers)
    hits, missed, n_right, n_wrong = defaultdict[str, int](int), defaultdict[str, list[str]](list), 0, list[str]()
    for kind, value, text in rows:
        at = text.index(value)
        found = find_personal(text)
        if any(start <= at and end >= at + len(value) for start, end, _ in found):
            hits[kind] += 1
        else:
            missed[kind].append(text)
        for start, end, _ in found:
            if start < at + len(value) and end > at:
                n_right += 1
            else:
                n_wrong.append(text)
    wrong = [text for text in others if find_personal(text)]
    n_wrong += wrong
    print(f"personal data, {name} set: planted {len(rows)}, recall {wilson(sum(hits.values()), len(rows))}; "
          f"precision {wilson(n_right, n_right + len(n_wrong))}; of {len(others)} numbers that are none {len(wrong)} "
          "are taken for some")  # fmt: skip
    for kind in kinds:
        print(f"  {kind:<16} {hits[kind]}/{N_OF_EACH}  {' | '.join(missed[kind][:3])!r}")
    print("  wrong:", " | ".join(dict.fromkeys(n_wrong[:8])))
