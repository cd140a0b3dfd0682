"""A second planted set of personal data: more of the forms that each published rule allows, in other sentences.

Written from the rules like the first (benchmarks/corpus_personal.py), wider in each kind: RFC 5322 and 5890 (e-mail),
E.123, E.164 and RFC 3966 (telephone), the Korean and the North American numbering plan, ISO/IEC 7812, RFC 5952 and 4007
(IPv6), ISO 13616 with its check digits, ICAO 9303 with the lines that machines read, the police's and the banks'
numbers. What was missed here was mended; a third set (benchmarks/corpus_personal_third.py) was made after that.
"""

import random
from collections.abc import Callable
from itertools import pairwise

from benchmarks.corpus_personal import business, digits, luhn, resident

CARRIERS = (
    "If that fails, try {} instead; somebody will answer.",
    "{}",
    "- {} (old)",
    "He scribbled {}, then left.",
    "Name\tJ. Smith\t{}\tactive",
    "Re: {} — please confirm",
    'see also "{}"',
    "Is {} still valid?",
    "아래 {}으로 확인 부탁드립니다.",
    "변경 전: {} / 변경 후: 추후 공지",
    "홍길동 {} 서울",
    "‘{}’ 맞나요?",
    "{}, 맞습니다.",
    "등록된 값은 {}입니다",
)
R = random.Random


def one(rng: R, *forms: Callable[[], str] | str) -> str:
    chosen = rng.choice(forms)
    return chosen if isinstance(chosen, str) else chosen()


def email(rng: R) -> str:
    local = one(
        rng,
        "jane",
        "JANE.DOE",
        "o'neil",
        "a+b=c",
        "kim_ys.77",
        "2020applicants",
        "no-reply",
        "x/y",
        "!def!xyz",
        "hong.gildong",
    )
    host = one(
        rng,
        "Example.COM",
        "xn--bcher-kva.example",
        "mail-3.eu.example.net",
        "korea.ac.kr",
        "a.io",
        "example.photography",
        "한국.kr",
        "daum.net",
    )
    return one(rng, f"{{}}|{local}@{host}", f"mailto:{{}}|{local}@{host}", f"<{{}}>|{local}@{host}")


def mobile(rng: R) -> str:
    a, b = digits(rng, 4, "23456789"), digits(rng, 4)
    return one(
        rng,
        f"010-{a}-{b}",
        f"010 {a} {b}",
        f"010.{a}.{b}",
        f"(010) {a}-{b}",
        f"010){a}-{b}",
        f"+82-10-{a}-{b}",
        f"+82 (0)10 {a} {b}",
        f"+8210{a}{b}",
        f"82-10-{a}-{b}",
        f"0082 10 {a} {b}",
        f"tel:{{}}|+82-10-{a}-{b}",
        f"010–{a}–{b}",
        f"010 - {a} - {b}",
        f"011-{digits(rng, 3, '2345')}-{b}",
        f"H.P. {{}}|010{a}{b}",
    )


def line(rng: R) -> str:
    area = one(
        rng, "2", "31", "32", "33", "41", "42", "43", "44", "51", "52", "53", "54", "55", "61", "62", "63", "64", "70"
    )
    a, b = digits(rng, 4 if area == "70" else rng.choice((3, 4)), "23456789"), digits(rng, 4)
    return one(
        rng,
        f"0{area}-{a}-{b}",
        f"0{area}){a}-{b}",
        f"(0{area}){a}-{b}",
        f"0{area} {a} {b}",
        f"+82 {area} {a} {b}",
        f"+82-{area}-{a}-{b}",
        f"+82{area}{a}{b}",
        f"전화 {{}}|0{area}{a}{b}",
        f"0{area}.{a}.{b}",
        f"0505-{digits(rng, 3, '23456')}-{b}",
        f"0507-{digits(rng, 4, '1')}-{b}",
        f"+82 (0){area} {a}-{b}",
    )


def american(rng: R) -> str:
    a, b, c = digits(rng, 3, "23456789"), digits(rng, 3, "23456789"), digits(rng, 4)
    return one(
        rng,
        f"({a}) {b}-{c}",
        f"{a}-{b}-{c}",
        f"{a}.{b}.{c}",
        f"{a} {b} {c}",
        f"+1{a}{b}{c}",
        f"+1 ({a}) {b}-{c}",
        f"1 ({a}) {b}-{c}",
        f"1-{a}-{b}-{c}",
        f"1.{a}.{b}.{c}",
        f"({a}){b}-{c}",
        f"tel:{{}}|+1-{a}-{b}-{c}",
        f"{{}} ext. {digits(rng, 3)}|{a}-{b}-{c}",
        f"{{}}x{digits(rng, 3)}|({a}) {b}-{c}",
        f"+1.{a}.{b}.{c}",
    )


def abroad(rng: R) -> str:
    def d(n: int) -> str:
        return digits(rng, n, "23456789")

    return one(
        rng,
        f"+44 (0)20 {d(4)} {d(4)}",
        f"+44 20 {d(4)} {d(4)}",
        f"+44{d(10)}",
        f"+44 7{d(3)} {d(6)}",
        f"+49 (0)30 {d(6)}",
        f"+49 30 {d(6)}",
        f"+49-89-{d(7)}",
        f"+33 {d(1)} {d(2)} {d(2)} {d(2)} {d(2)}",
        f"+33{d(9)}",
        f"+39 06 {d(4)} {d(4)}",
        f"+61 2 {d(4)} {d(4)}",
        f"+81-3-{d(4)}-{d(4)}",
        f"+81 90 {d(4)} {d(4)}",
        f"+86 10 {d(4)} {d(4)}",
        f"+86 13{d(9)}",
        f"+91 {d(5)} {d(5)}",
        f"+84 {d(2)} {d(3)} {d(4)}",
        f"+353 1 {d(3)} {d(4)}",
        f"+55 11 9{d(4)}-{d(4)}",
        f"0044 20 {d(4)} {d(4)}",
        f"+7 (495) {d(3)}-{d(2)}-{d(2)}",
    )


def card(rng: R) -> str:
    start, n = rng.choice(
        (
            ("4", 16),
            ("53", 16),
            ("2345", 16),
            ("37", 15),
            ("3541", 16),
            ("6011", 16),
            ("65", 16),
            ("647", 16),
            ("62", 16),
            ("62", 19),
            ("36", 14),
            ("4", 19),
            ("9410", 16),
        )
    )
    number = luhn(start + digits(rng, n - 1 - len(start)))
    cuts = (0, 4, 10, n) if n in (14, 15) else (*range(0, n, 4), n)
    return rng.choice(("", " ", "-")).join(number[a:b] for a, b in pairwise(cuts))


def registered(rng: R) -> str:
    number = resident(rng)
    plain = number.replace("-", "").replace(" ", "")
    return one(
        rng,
        number,
        f"{plain[:6]}-{plain[6:]}",
        f"{plain[:6]}–{plain[6:]}",
        f"{plain[:6]} {plain[6:]}",
        f"주민등록번호 {{}}|{plain}",
        f"주민번호:{{}}|{plain[:6]}-{plain[6:]}",
        f"RRN {{}}|{plain[:6]}-{plain[6:]}",
    )


def company(rng: R) -> str:
    number = business(rng)
    return one(
        rng,
        number,
        f"사업자등록번호 {{}}|{number}",
        f"사업자번호: {{}}|{number.replace('-', '')}",
        f"사업자등록번호({{}})|{number}",
        f"사업자 등록번호 {{}}|{number.replace('-', ' ')}",
    )


def ip(rng: R) -> str:
    four = ".".join(str(rng.randrange(1, 255 if at else 224)) for at in range(4))

    def h() -> str:
        return f"{rng.randrange(1, 65536):x}"

    full = ":".join(h() for _ in range(8))
    return one(
        rng,
        four,
        f"http://{{}}/index.html|{four}",
        f"{{}}:8080|{four}",
        f"{{}}/24|{four}",
        full,
        full.upper(),
        f"2001:db8::{h()}:{h()}",
        f"2001:{h()}:{h()}::1",
        f"fe80::{h()}:{h()}:{h()}:{h()}",
        f"::ffff:{four}",
        f"[{{}}]:443|2001:db8::{h()}",
        f"{{}}%eth0|fe80::{h()}",
        f"{{}}/64|2001:db8:{h()}::",
        f"{h()}::{h()}".replace("::", ":0:0::"),
        f"src={{}}|{four}",
    )


def iban(rng: R) -> str:
    country, body = rng.choice(
        (
            ("DE", digits(rng, 18)),
            ("GB", "NWBK" + digits(rng, 14)),
            ("FR", digits(rng, 23)),
            ("NL", "ABNA" + digits(rng, 10)),
            ("ES", digits(rng, 20)),
            ("IT", "X" + digits(rng, 22)),
            ("CH", digits(rng, 17)),
            ("BE", digits(rng, 12)),
            ("NO", digits(rng, 11)),
            ("PL", digits(rng, 24)),
            ("SE", digits(rng, 20)),
        )
    )
    number = "".join(str(int(letter, 36)) for letter in f"{body}{country}00")
    whole = f"{country}{98 - int(number) % 97:02d}{body}"
    spaced = " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
    return one(rng, whole, spaced, f"IBAN: {{}}|{spaced}", f"IBAN {{}}|{whole}", f"IBAN-Nr. {{}}|{spaced}")


def account(rng: R) -> str:
    form = rng.choice(
        (
            (6, 2, 6),
            (3, 3, 6),
            (4, 3, 6),
            (3, 6, 5),
            (3, 4, 4, 2),
            (4, 2, 7),
            (3, 6, 2, 3),
            (4, 4, 4, 1),
            (3, 2, 6, 1),
            (3, 2, 4, 3),
            (6, 6),
            (4, 4, 4),
        )
    )
    number = "-".join(digits(rng, n) for n in form)
    plain = number.replace("-", "")
    bank = rng.choice(
        (
            "국민",
            "신한",
            "우리",
            "하나",
            "농협",
            "카카오뱅크",
            "기업",
            "새마을금고",
            "토스뱅크",
            "우체국",
            "부산",
            "SC제일",
            "케이뱅크",
            "수협",
        )
    )
    name = bank if bank.endswith(("뱅크", "협", "금고", "국")) else f"{bank}은행"
    return one(
        rng,
        f"{name} {{}}|{number}",
        f"{name} {{}} 홍길동|{number}",
        f"{name} {{}}|{plain}",
        f"계좌번호: {{}}|{number}",
        f"계좌: {name} {{}}|{plain}",
        f"예금주 홍길동 {name} {{}}|{number}",
        f"후원계좌 {name} {{}}|{number}",
        f"Account No. {{}}|{plain}",
        f"bank account: {{}}|{number}",
        f"A/C No. {{}}|{plain}",
        f"account #{{}}|{plain}",
        f"환불계좌 ({name}) {{}}|{number}",
    )


def with_ean(number: str) -> str:
    """Twelve digits with the check digit of a bar code (GS1)."""
    each = list(map(int, number))
    return number + str(-(sum(each[::2]) + 3 * sum(each[1::2])) % 10)


def check(text: str) -> int:
    """ICAO 9303's check digit."""
    return sum((0 if c == "<" else int(c, 36)) * (7, 3, 1)[at % 3] for at, c in enumerate(text)) % 10


def passport(rng: R) -> str:
    old, new, us = (
        rng.choice("MSRGD") + digits(rng, 8),
        "M" + digits(rng, 3) + rng.choice("ABCDEFGH") + digits(rng, 4),
        rng.choice("ACEY") + digits(rng, 8),
    )
    any_ = rng.choice((old, new, us, digits(rng, 9)))
    born, until = (
        digits(rng, 2) + f"{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}",
        "3" + digits(rng, 1) + f"{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}",
    )
    second = f"{new}{check(new)}KOR{born}{check(born)}{rng.choice('MF')}{until}{check(until)}" + "<" * 14
    second += (
        f"{0}{check(new + str(check(new)) + born + str(check(born)) + until + str(check(until)) + '<' * 14 + '0')}"
    )
    return one(
        rng,
        f"여권번호 {{}}|{any_}",
        f"여권 No. {{}}|{any_}",
        f"여권: {{}}|{old}",
        f"여권번호는 {{}}|{new}",
        f"passport: {{}}|{any_}",
        f"Passport # {{}}|{us}",
        f"passport number is {{}}|{any_}",
        f"PASSPORT NO: {{}}|{any_}",
        f"passport ({{}})|{old}",
        f"{{}}|{second}",
        f"여권번호({{}})|{any_}",
    )


def licence(rng: R) -> str:
    a, b, c = digits(rng, 2), digits(rng, 6), digits(rng, 2)
    code, town = (
        rng.randrange(11, 29),
        rng.choice(
            (
                "서울",
                "부산",
                "경기",
                "강원",
                "충북",
                "충남",
                "전북",
                "전남",
                "경북",
                "경남",
                "제주",
                "대구",
                "인천",
                "광주",
                "대전",
                "울산",
            )
        ),
    )
    return one(
        rng,
        f"운전면허번호 {{}}|{code}-{a}-{b}-{c}",
        f"운전면허 {{}}|{code}-{a}-{b}-{c}",
        f"면허번호: {{}}|{town} {a}-{b}-{c}",
        f"운전면허증 번호 {{}}|{code}-{a}-{b}-{c}",
        f"면허번호 {{}}|{code}{a}{b}{c}",
        f"{{}}|{code}-{a}-{b}-{c}",
        f"driver's licence no. {{}}|{code}-{a}-{b}-{c}",
        f"driving licence: {{}}|{code}-{a}-{b}-{c}",
        f"자동차운전면허번호({{}})|{town}{a}-{b}-{c}".replace(town, f"{town} "),
        f"license number {{}}|{code}-{a}-{b}-{c}",
    )


KINDS: dict[str, Callable[[R], str]] = {
    "e-mail": email,
    "Korean mobile": mobile,
    "Korean line": line,
    "American number": american,
    "number abroad": abroad,
    "card": card,
    "resident number": registered,
    "business number": company,
    "IP": ip,
    "IBAN": iban,
    "account": account,
    "passport": passport,
    "driving licence": licence,
}
NONE: tuple[Callable[[R], str], ...] = (
    lambda r: f"특허 제10-{r.randrange(1990, 2026)}-00{digits(r, 5)}호",
    lambda r: ":".join(f"{r.randrange(256):02X}" for _ in range(6)),
    lambda r: (
        f"{r.getrandbits(32):08x}-{r.getrandbits(16):04x}-4{r.getrandbits(12):03x}-a{r.getrandbits(12):03x}-{r.getrandbits(48):012x}"
    ),
    lambda r: f"CAS {r.randrange(50, 9999)}-{digits(r, 2)}-{digits(r, 1)}",
    lambda r: f"{r.randrange(1, 99)}:{r.randrange(10, 60)}, {r.randrange(1, 99)}:{r.randrange(10, 60)}",
    lambda r: " ~ ".join(f"{r.randrange(1990, 2026)}.{r.randrange(1, 13)}.{r.randrange(1, 29)}." for _ in "ab"),
    lambda r: f"{r.randrange(1990, 2026)} {r.randrange(1990, 2026)} {r.randrange(1990, 2026)}",
    lambda r: f"ISO/IEC {digits(r, 5)}-{digits(r, 1)}:{r.randrange(1990, 2026)}",
    lambda r: f"US$ {r.randrange(1, 99)},{digits(r, 3)},{digits(r, 3)}.{digits(r, 2)}",
    lambda r: with_ean("880" + digits(r, 9)),
    lambda r: f"운송장 {digits(r, 4)}-{digits(r, 4)}-{digits(r, 4)}",
    lambda r: f"x = {r.randrange(100, 999)} - {r.randrange(100, 999)} + {r.randrange(1000, 9999)}",
    lambda r: f"제{r.randrange(1, 300)}조 제{r.randrange(1, 9)}항",
    lambda r: f"arXiv:{r.randrange(1000, 2600)}.{digits(r, 5)}",
    lambda r: f"{r.randrange(1000, 9999)}x{r.randrange(1000, 9999)} px",
    lambda r: f"user@{r.choice(('host', 'localhost'))}:~$",
    lambda r: f"@{r.choice(('minsu', 'jane_d'))}",
    lambda r: f"T{digits(r, 8)} part no.",
    lambda r: f"1{digits(r, 12)}",
    lambda r: f"{r.randrange(1, 9)}.{digits(r, 6)}e-{digits(r, 2)}",
    lambda r: f"std::{r.choice(('map', 'pair'))}<a::b>",
    lambda r: f"{digits(r, 5)}-{digits(r, 4)}",
    lambda r: f"1{r.choice('568')}{digits(r, 2)}-{digits(r, 4)}",
    lambda r: f"법인 {digits(r, 2)}년 {digits(r, 3)}-{digits(r, 3)}쪽",
)
