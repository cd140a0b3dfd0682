"""A sixth planted set of personal data: published rules at their full width, in pages as they are found on the web.

Telephone numbers are those of Google's tables of every country's numbering plan (`pip install phonenumbers
python-stdnum`) in their four published forms, and others that E.123,
DIN 5008 and Korean offices use. Cards have the groups
and first digits of ISO/IEC 7812, IP addresses the forms of RFC 4291, 5952, 4007, 4632 and 3986, e-mail those of RFC
5321, 5322 and 6531 and of people who hide it; accounts the groups that each Korean bank publishes, IBAN those of the
registry of ISO 13616, passports the forms that countries publish. The recogniser was mended by this set: it shows
what is known.
"""

import ipaddress
import json
import random
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from benchmarks.corpus_personal import Makers, business, digits, luhn, resident

R = random.Random
KOREAN_LABELS = {
    "phone": ("전화", "연락처", "휴대폰", "전화번호", "문의", "TEL", "팩스", "핸드폰 번호", "H.P", "대표전화"),
    "account": ("계좌번호", "입금계좌", "환불 계좌", "송금 계좌번호"), "passport": ("여권번호", "여권 번호", "여권"),
    "card": ("카드번호", "신용카드 번호", "카드 번호"), "resident": ("주민등록번호", "주민번호", "외국인등록번호"),
}  # fmt: skip
ENGLISH_LABELS = {
    "phone": ("Phone", "Tel.", "Mobile", "Call us", "Fax", "cell", "WhatsApp", "T", "telephone number", "Direct line (phone)"),  # noqa: E501
    "account": ("Account number", "Account No.", "A/C no", "acct #", "Bank account"),
    "passport": ("Passport", "Passport No.", "passport number", "Passport #"),
    "card": ("Card number", "card", "Credit card", "Card no."), "resident": ("RRN", "Resident registration number"),
}  # fmt: skip


def label(rng: R, kind: str) -> str:
    return rng.choice(rng.choice((KOREAN_LABELS, ENGLISH_LABELS))[kind])


def in_a_page(rng: R, kind: str, value: str) -> str:
    """A form for a value that only a word before it tells."""
    name, key = label(rng, kind), rng.choice(ENGLISH_LABELS[kind]).lower().replace(" ", "_").strip("._#")
    forms = (
        f"{name}: {{}}", f"{name} {{}}", f"{name}\n{{}}\n서울특별시", f"<dt>{name}</dt><dd>{{}}</dd>",
        json.dumps({"name": "Kim", key: "HERE"}).replace("{", "{{").replace("}", "}}").replace("HERE", "{}"),
        f"| Kim | {name} | {{}} |", f"**{name}:** {{}}", f"{name} = {{}}", f"• {name} – {{}} (Kim)",
        f"{name};{{}};Seoul",
        f"{name} : {{}} / 담당 김민수", f"Kim, {name.lower()}: {{}}, Seoul", f"{name}는 {{}}입니다.", f"[{name}] {{}}",
    )  # fmt: skip
    return f"{rng.choice(forms)}|{value}"


@cache
def _regions() -> tuple[str, ...]:
    import phonenumbers

    return tuple(sorted(phonenumbers.SUPPORTED_REGIONS))


def numbered(rng: R, region: str) -> tuple[Any, str]:
    """A valid number of a region, with other last digits than in the tables."""
    import phonenumbers as pn

    kinds = (pn.PhoneNumberType.MOBILE, pn.PhoneNumberType.FIXED_LINE, pn.PhoneNumberType.TOLL_FREE)
    while True:
        example = pn.example_number_for_type(region, rng.choice(kinds))
        if example is None:
            continue
        text = str(example.national_number)
        for _ in range(20):
            other = pn.PhoneNumber(
                country_code=example.country_code, italian_leading_zero=example.italian_leading_zero,
                national_number=int(text[:-4] + digits(rng, 4)),
            )  # fmt: skip
            if pn.is_valid_number_for_region(other, region):
                return other, pn.format_number(other, pn.PhoneNumberFormat.NATIONAL)
        return example, pn.format_number(example, pn.PhoneNumberFormat.NATIONAL)


def world(rng: R) -> str:
    """With the country's code, in every way that is written."""
    import phonenumbers as pn

    number, national = numbered(rng, rng.choice(_regions()))
    plain = pn.format_number(number, pn.PhoneNumberFormat.INTERNATIONAL)
    code, rest = plain.split(" ", 1)
    trunk = f"{code} (0){rest}" if national.startswith("0") else plain
    forms = (
        plain, plain, pn.format_number(number, pn.PhoneNumberFormat.E164), plain.replace(" ", "-"),
        plain.replace(" ", "."),
        f"({code}) {rest}", f"{code}-{rest}", plain.replace(" ", "\u00a0"), trunk,
        f"{plain} ext. {rng.randrange(10, 999)}",
        f"{plain} x{rng.randrange(10, 999)}", plain.replace("-", "\u2011"), f"{code} {rest.replace(' ', '')}",
    )  # fmt: skip
    rfc = pn.format_number(number, pn.PhoneNumberFormat.RFC3966).removeprefix("tel:")
    return rng.choice((rng.choice(forms), rng.choice(forms), f'<a href="tel:{{}}">call</a>|{rfc}'))


def inland(rng: R) -> str:
    """As written inside a country, after a word that says what it is."""
    while True:
        _, national = numbered(rng, rng.choice(_regions()))
        if len("".join(filter(str.isdigit, national))) > 6:
            return in_a_page(rng, "phone", rng.choice((national, national, national.replace(" ", "-"))))


def wide(text: str) -> str:
    """In full width, as East Asian forms have it."""
    return "".join(chr(ord(letter) + 0xFEE0) if letter in "0123456789-()+." else letter for letter in text)


def korean(rng: R) -> str:
    """Mobiles, lines, 050 and 070, and the short numbers of firms, as Korean offices and shops write them."""
    area = rng.choice(("2", "31", "32", "33", "41", "42", "43", "44", "51", "52", "53", "54", "55", "61", "62", "63", "64", "70", "10", "10", "10", "50", "505", "502", "80"))  # fmt: skip # noqa: E501
    middle, last = digits(rng, 3 if area in ("502", "505", "80") else 4, "23456789"), digits(rng, 4)
    a, b = rng.choice(("-", "-", "-", ".", " ", " - ", "–", "·", "\u00a0")), f"0{area}"
    forms = (
        f"{b}{a}{middle}{a}{last}", f"{b}{a}{middle}{a}{last}", f"({b}){middle}-{last}", f"({b}) {middle}-{last}",
        f"{b}){middle}-{last}", f"{b}) {middle}-{last}", f"+82-{area}-{middle}-{last}", f"+82 {area} {middle} {last}",
        f"+82 {area}-{middle}-{last}", f"+82.{area}.{middle}.{last}", f"+82){area}-{middle}-{last}",
        f"(+82) {area}-{middle}-{last}",
        f"(82) {area}-{middle}-{last}", f"82-{area}-{middle}-{last}", f"+82 ({area}) {middle}-{last}",
        f"+82(0){area}-{middle}-{last}",
        f"0082-{area}-{middle}-{last}", f"+82{area}{middle}{last}", f"{b}-{middle}-{last}~{rng.randrange(1, 9)}",
        f"{b}-{middle}-{last} (내선 {digits(rng, 3)})", f"{b}-{middle}-{last} 내선 {digits(rng, 3)}",
        wide(f"{b}-{middle}-{last}"),
        f"{b}/{middle}-{last}", f"{b}-{middle} {last}", f"{b}−{middle}−{last}", f"{b}—{middle}—{last}",
    )  # fmt: skip
    short = f"{rng.choice(('1588', '1544', '1577', '1599', '1600', '1661', '1899', '1811', '1670'))}-{last}"
    return rng.choice(
        (*forms, in_a_page(rng, "phone", rng.choice((short, f"{b}{middle}{last}", f"{b}{middle}-{last}"))))
    )


def american(rng: R) -> str:
    a, b, c = digits(rng, 3, "23456789"), digits(rng, 3, "23456789"), digits(rng, 4)
    forms = (
        f"({a}) {b}-{c}", f"{a}-{b}-{c}", f"{a}.{b}.{c}", f"{a} {b} {c}", f"+1 ({a}) {b}-{c}", f"+1-{a}-{b}-{c}",
        f"+1.{a}.{b}.{c}",
        f"1 ({a}) {b}-{c}", f"1-{a}-{b}-{c}", f"1.{a}.{b}.{c}", f"({a}){b}-{c}", f"+1{a}{b}{c}", f"+1 {a} {b} {c}",
        f"{a}/{b}-{c}",
        f"({a}) {b}-{c} ext. 12", f"{a}-{b}-{c} x345", f"({a}) {b}.{c}", f"{a}–{b}–{c}", f"{a}\u00a0{b}\u00a0{c}",
        f"{a} {b}-{c}",
        f"1-800-{rng.choice(('FLOWERS', 'CONTACT', 'GO-FEDEX'))}", f"({a}) {b} {c}", f"{a}-{b}-{c}, ext 9",
        f"+1 {a}-{b}-{c}",
        f"001-{a}-{b}-{c}", f"(+1) {a}-{b}-{c}", f"{a} - {b} - {c}",
    )  # fmt: skip
    return rng.choice((*forms, in_a_page(rng, "phone", f"{a}{b}{c}")))


def email(rng: R) -> str:
    local = rng.choice(("minsu.kim", "kim_77", "jane+news", "j.doe", "o'neil", "info", "KimYS", "a.b-c", "park1990", "x", "hong", "no-reply", "first.middle.last"))  # fmt: skip # noqa: E501
    name, tld = rng.choice(("example", "naver", "my-company", "mail.example", "korea.ac", "dept.univ")), rng.choice(("com", "co.kr", "org", "kr", "net", "io"))  # fmt: skip # noqa: E501
    host, dotted = f"{name}.{tld}", f"{name}.{tld}".replace(".", " dot ")
    hidden = rng.choice(("jane", "kim_77", "j.doe", "hong"))
    return rng.choice((
        f"{local}@{host}", f"{local}@{host}", f"<{{}}>|{local}@{host}", f"mailto:{{}}?subject=hi|{local}@{host}",
        f"{local}@{host.upper()}",
        f"{hidden} [at] {host}", f"{hidden}[at]{host}", f"{hidden}(at){host}", f"{hidden} (at) {host}",
        f"{hidden} at {dotted}",
        f"{hidden} AT {dotted.replace(' dot ', ' DOT ')}", f"{hidden} [at] {host.replace('.', ' [dot] ')}",
        f"{hidden}[at]{host.replace('.', '[dot]')}",
        f"{hidden}(at){host.replace('.', '(dot)')}", f"{hidden} (at) {host.replace('.', ' (dot) ')}",
        f"{hidden}{{at}}{host}",
        f"{hidden}@{host.replace('.', '[.]')}", f"{hidden}@{host.replace('.', '(dot)')}", f"{hidden} @ {host}",
        f"{hidden}@ {host}", f"{hidden} @{host}",
        f"{hidden}&#64;{host}", f"{hidden}&#x40;{host}", f"{hidden}&commat;{host}", f"{hidden}%40{host}",
        f"{hidden}_at_{host}", f"{hidden}-at-{dotted.replace(' dot ', '-dot-')}",
        f"{hidden}＠{host}", f"{hidden}골뱅이{host}", f"{hidden} 골뱅이 {host}", f"{hidden}(골뱅이){host}",
        f"{hidden}[골뱅이]{host}", f"{hidden} 골뱅이 네이버 점 컴",
        f"{hidden}<at>{host}", f"{hidden} _at_ {host}", f'"Jane Doe"@{host}',
        f"{hidden}@[192.0.2.{rng.randrange(1, 255)}]", f"{hidden}@[IPv6:2001:db8::{rng.randrange(1, 99)}]",
        f"{hidden}@xn--bcher-kva.example", f"{hidden}@한국메일.한국", f"{hidden}@bücher.example",
        f"用户@例子.{rng.choice(('广告', 'cn'))}", "почта@пример.рф",
        f"{local}@sub.sub2.{host}", f"{local}@{name}.photography", f"{hidden}(@){host}", f"{hidden}[@]{host}",
        f"{hidden} [@] {host}",
    ))  # fmt: skip


def card(rng: R) -> str:
    brands = (("4", 16), ("4", 13), ("4", 19), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("3528", 16), ("3589", 16), ("6011", 16), ("65", 16), ("644", 16), ("300", 14), ("36", 14), ("38", 14), ("62", 16), ("62", 19), ("5018", 16), ("6304", 16), ("6759", 16), ("2200", 16), ("9", 16), ("6521", 16), ("5081", 16))  # fmt: skip # noqa: E501
    start, n = rng.choice(brands)
    number = luhn(start + digits(rng, n - 1 - len(start)))
    if n == 15:
        cuts: tuple[int, ...] = (4, 6, 5)
    elif n == 14:
        cuts = (4, 6, 4)
    else:
        cuts = rng.choice(((4, 4, 4, 4, 3), (6, 13))) if n == 19 else (4, 4, 4, n - 12)
    parts, at = [], 0
    for size in cuts:
        parts.append(number[at : at + size])
        at += size
    joint = rng.choice(("", " ", "-", ".", "\u00a0", " - ", "  "))
    return rng.choice(
        (joint.join(parts), joint.join(parts), in_a_page(rng, "card", joint.join(parts)), wide("-".join(parts)))
    )


def ip(rng: R) -> str:
    four = f"{rng.choice((10, 172, 192, 203, 8, 61, 121, 211))}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"  # noqa: E501
    six = ipaddress.IPv6Address(0x2001_0DB8 << 96 | rng.getrandbits(96))
    short = ipaddress.IPv6Address(0x2001_0DB8 << 96 | rng.getrandbits(rng.choice((8, 16, 32, 48))))
    local = ipaddress.IPv6Address(0xFE80 << 112 | rng.getrandbits(64))
    return rng.choice((
        four, four, f"{four}/{rng.randrange(8, 33)}", f"{four}:{rng.randrange(80, 65535)}", f"http://{{}}/|{four}",
        f"[{{}}]|{four}", f"ip={{}};|{four}",
        str(six), six.exploded, six.exploded.upper(), str(short), str(short).upper(),
        f"{short}/{rng.randrange(16, 129)}", f"[{short}]:{rng.randrange(80, 65535)}",
        f"http://[{{}}]:8080/|{short}", str(local), f"{local}%eth0", f"{local}%{rng.randrange(1, 20)}",
        f"{local}%25en1", f"::ffff:{four}", f"::FFFF:{four}", f"64:ff9b::{four}",
        f"{local}/64", f"inet6 addr: {{}} scope|{local}", f"X-Forwarded-For: {{}}, proxy|{four}",
        f"{{}} - - [01/Jan/2026:10:00:00 +0900]|{four}", f"({{}})|{four}", f"src={{}},|{short}",
        f"::{rng.randrange(0x1000, 0xFFFF):x}:{rng.randrange(0x1000, 0xFFFF):x}",
        f"fd00::{rng.randrange(1, 9)}:{rng.randrange(0x1000, 0xFFFF):x}", f"IP: {{}}|{four}",
    ))  # fmt: skip


def registered(rng: R) -> str:
    number = resident(rng).replace(" ", "")
    plain = number.replace("-", "")
    return rng.choice((
        f"{plain[:6]}-{plain[6:]}", f"{plain[:6]} - {plain[6:]}", f"{plain[:6]}–{plain[6:]}",
        f"{plain[:6]} {plain[6:]}", wide(f"{plain[:6]}-{plain[6:]}"),
        in_a_page(rng, "resident", plain), in_a_page(rng, "resident", f"{plain[:6]}-{plain[6:]}"),
        f"({{}})|{plain[:6]}-{plain[6:]}",
    ))  # fmt: skip


def firm(rng: R) -> str:
    number = business(rng).replace("-", "")
    a, b, c = number[:3], number[3:5], number[5:]
    corporate = "1" + rng.choice("1234") + digits(rng, 2) + rng.choice(("11", "21", "22")) + digits(rng, 6)
    check = str(-sum(int(digit) * (1 + at % 2) for at, digit in enumerate(corporate)) % 10)
    legal = f"{corporate[:6]}-{corporate[6:]}{check}"
    return rng.choice((
        f"{a}-{b}-{c}", f"사업자등록번호: {{}}|{a}-{b}-{c}", f"사업자번호 {{}}|{number}",
        f"사업자등록번호\n{{}}|{a} {b} {c}",
        f"사업자 등록번호 [{{}}]|{a}-{b}-{c}",
        f"Business registration number: {{}}|{number}", f"BRN {{}}|{a}-{b}-{c}", f"법인등록번호 {{}}|{legal}",
        f"법인번호: {{}}|{legal.replace('-', '')}",
        legal, f"corporate registration no. {{}}|{legal}", f'"사업자등록번호": "{{}}"|{number}',
        f"사업자등록번호 (주)한국 {{}}|{a}-{b}-{c}",
    ))  # fmt: skip


BANKS = {
    "국민": ("6-2-6", "3-2-4-3", "4-2-7"), "신한": ("3-3-6", "3-2-6"), "우리": ("4-3-6", "3-6-2-3"),
    "하나": ("3-6-5", "3-8-3"),
    "농협": ("3-4-4-2", "3-2-6", "6-2-6"), "기업": ("3-6-2-3", "3-3-6-1"), "카카오뱅크": ("4-2-7",),
    "토스뱅크": ("4-4-4",),
    "케이뱅크": ("3-3-6",),
    "SC제일": ("3-2-6",), "씨티": ("3-6-3", "3-5-3"), "부산": ("3-4-4-2", "3-2-6-1"), "대구": ("3-2-6-1", "3-10"),
    "광주": ("3-3-6",), "전북": ("3-2-7", "4-2-7"),
    "경남": ("3-2-7", "3-4-4-2"), "제주": ("2-2-6", "3-3-6"), "산업": ("3-4-4-3", "3-8-3"),
    "수협": ("3-2-6-1", "4-4-4"),
    "신협": ("3-3-6", "5-2-6"),
    "새마을금고": ("4-2-6-1", "4-4-4-1"), "우체국": ("6-2-6",),
}  # fmt: skip


def account(rng: R) -> str:
    name = rng.choice(list(BANKS))
    number = "-".join(digits(rng, int(n), "123456789") for n in rng.choice(BANKS[name]).split("-"))
    bank = name if name.endswith(("뱅크", "협", "금고", "우체국")) else f"{name}은행"
    plain = number.replace("-", "")
    return rng.choice((
        f"{bank} {{}} 김민수|{number}", f"{bank} {{}}|{number}", f"{bank}: {{}}|{number}", f"({bank}) {{}}|{number}",
        f"{bank} 계좌 {{}}|{number}", f"{bank} {{}} (예금주: 홍길동)|{plain}",
        f"{{}} {bank} 김민수|{number}", f"{{}} ({bank})|{number}", f"{name} {{}}|{number}",
        in_a_page(rng, "account", number), in_a_page(rng, "account", plain), f"입금: {{}} {bank}|{number}",
        f"{bank}\t{{}}\t(주)한국|{number}", f"계좌: {bank} / {{}} / 홍길동|{number}",
        f"무통장입금 {bank} {{}}|{number}",
        f"예금주 홍길동 {bank} {{}}|{number}",
        in_a_page(rng, "account", digits(rng, rng.randrange(8, 13))),
        f"Sort code {{}}|{digits(rng, 2)}-{digits(rng, 2)}-{digits(rng, 2)}",
        f"Routing number: {{}}|{digits(rng, 9)}",
    ))  # fmt: skip


def iban(rng: R) -> str:
    from stdnum import iban as rules

    code, length = rng.choice((("NO", 11), ("BE", 12), ("DK", 14), ("FI", 14), ("NL", 0), ("AT", 16), ("LT", 16), ("EE", 16), ("CH", 17), ("DE", 18), ("GB", 0), ("SA", 20), ("CZ", 20), ("ES", 20), ("RO", 0), ("PT", 21), ("IS", 22), ("TR", 22), ("FR", 23), ("IT", 0), ("CY", 24), ("HU", 24), ("PL", 24), ("UA", 25), ("MT", 0), ("KZ", 16), ("AL", 24), ("QA", 0), ("EG", 25), ("RS", 18), ("LV", 0), ("XK", 16)))  # fmt: skip # noqa: E501
    body = digits(rng, length) if length else {
        "NL": "ABNA" + digits(rng, 10), "GB": "NWBK" + digits(rng, 14), "RO": "AAAA" + digits(rng, 16),
        "IT": "X" + digits(rng, 22),
        "MT": "MALT" + digits(rng, 23), "QA": "DOHB" + digits(rng, 21), "LV": "BANK" + digits(rng, 13),
    }[code]  # fmt: skip
    whole = code + str(rules.calc_check_digits(code + "00" + body)) + body
    spaced = " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))
    return rng.choice(
        (
            whole,
            spaced,
            f"IBAN: {{}}|{spaced}",
            f"IBAN {{}}|{whole}",
            f'"iban":"{{}}"|{whole}',
            spaced.replace(" ", "\u00a0"),
            whole.lower(),
        )
    )


def passport(rng: R) -> str:
    d = partial(digits, rng)
    return in_a_page(rng, "passport", rng.choice((
        f"M{d(8)}", f"S{d(8)}", f"R{d(8)}", f"M{d(3)}A{d(4)}", f"R{d(3)}B{d(4)}", d(9), f"A{d(8)}", f"E{d(8)}",
        f"EA{d(7)}", f"TK{d(7)}", f"TZ{d(7)}", f"C{d(2)}X{d(2)}T{d(2)}",
        f"{d(2)}AB{d(5)}", f"AB{d(6)}", f"AAA{d(6)}", f"YA{d(7)}", f"N{d(7)}", f"P{d(7)}A", f"{d(2)} {d(7)}",
        f"{d(2)} {d(2)} {d(6)}", f"K{d(7)}E", f"G{d(8)}", f"AB{d(7)}", f"F{d(7)}",
    )))  # fmt: skip


KINDS: Makers = {
    "e-mail": email, "Korean number": korean, "American number": american, "number of the world": world,
    "inland, named": inland, "card": card, "IP": ip, "resident number": registered, "firm's number": firm,
    "account": account, "IBAN": iban, "passport, named": passport,
}  # fmt: skip


def _isbn(rng: R) -> str:
    body = "978" + digits(rng, 9)
    return body + str(-sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(body)) % 10)


NONE: tuple[Callable[[R], str], ...] = (
    lambda r: f"ISBN {_isbn(r)}", lambda r: f"ISBN-13: {_isbn(r)[:3]}-{_isbn(r)[3:]}",
    lambda r: f"ISBN-10 {digits(r, 1)}-{digits(r, 3)}-{digits(r, 5)}-X",
    lambda r: f"v{r.randrange(9)}.{r.randrange(99)}.{r.randrange(9999)}",
    lambda r: f"version {r.randrange(9)}.{r.randrange(99)}.{r.randrange(9)}-rc{r.randrange(9)}",
    lambda r: f"{r.randrange(1900, 2030)}-{r.randrange(1, 13):02d}-{r.randrange(1, 29):02d}T{r.randrange(24):02d}:{r.randrange(60):02d}:{r.randrange(60):02d}+09:00",  # noqa: E501
    lambda r: f"{r.randrange(1, 29):02d}.{r.randrange(1, 13):02d}.{r.randrange(1900, 2030)}",
    lambda r: f"{r.randrange(1, 13):02d}/{r.randrange(1, 29):02d}/{r.randrange(1900, 2030)}",
    lambda r: f"{r.randrange(1990, 2030)}년 {r.randrange(1, 13)}월 {r.randrange(1, 29)}일",
    lambda r: f"{r.randrange(1900, 1990)}–{r.randrange(1990, 2026)}",
    lambda r: f"₩{r.randrange(1, 999)},{digits(r, 3)},{digits(r, 3)}",
    lambda r: f"${r.randrange(1000, 99999)}.{digits(r, 2)}",
    lambda r: f"€ {r.randrange(1, 99)}.{digits(r, 3)}.{digits(r, 3)},00",
    lambda r: f"{r.randrange(33, 39)}.{digits(r, 6)}, {r.randrange(124, 132)}.{digits(r, 6)}",
    lambda r: f"{r.randrange(90)}°{r.randrange(60)}′{r.randrange(60)}″N {r.randrange(180)}°{r.randrange(60)}′{r.randrange(60)}″E",  # noqa: E501
    lambda r: f"{r.getrandbits(128):032x}", lambda r: f"sha256:{r.getrandbits(256):064x}",
    lambda r: f"doi:10.{digits(r, 4, '123')}/j.{digits(r, 4)}.{digits(r, 6)}",
    lambda r: f"https://doi.org/10.{digits(r, 4, '123')}/{digits(r, 7)}",
    lambda r: "로또 당첨번호 " + ", ".join(str(n) for n in sorted(r.sample(range(1, 46), 6))),
    lambda r: " ".join(f"{n:02d}" for n in sorted(r.sample(range(10, 46), 6))),
    lambda r: f"order #{digits(r, 3)}-{digits(r, 7)}-{digits(r, 7)}",
    lambda r: f"주문번호: {r.randrange(2015, 2027)}{r.randrange(1, 13):02d}{r.randrange(1, 29):02d}-{digits(r, 7)}",
    lambda r: f"invoice no. {digits(r, 10)}",
    lambda r: f"tracking number 1Z{digits(r, 3)}AA{digits(r, 10)}",
    lambda r: f"송장번호 {digits(r, 4)}-{digits(r, 4)}-{digits(r, 4)}",
    lambda r: f"ISSN {digits(r, 4)}-{digits(r, 3)}X", lambda r: f"arXiv:{r.randrange(1001, 2612)}.{digits(r, 5)}",
    lambda r: f"대법원 {r.randrange(1990, 2026)}. {r.randrange(1, 13)}. {r.randrange(1, 29)}. 선고 {r.randrange(1990, 2026)}다{digits(r, 5)} 판결",  # noqa: E501
    lambda r: f"특허 제10-{digits(r, 7, '12')}호",
    lambda r: f"US {r.randrange(5, 12)},{digits(r, 3)},{digits(r, 3)} B2",
    lambda r: f"({r.randrange(1990, 2026)}) {r.randrange(1, 99)}: {r.randrange(100, 400)}-{r.randrange(400, 900)}",
    lambda r: f"pp. {r.randrange(1000, 4000)}–{r.randrange(4000, 9000)}",
    lambda r: f"{r.randrange(10, 99)}:{r.randrange(10, 60)}:{r.randrange(10, 60)},{digits(r, 3)}",
    lambda r: ":".join(f"{r.randrange(256):02x}" for _ in range(6)),
    lambda r: "-".join(f"{r.getrandbits(4 * n):0{n}x}" for n in (8, 4, 4, 4, 12)),
    lambda r: f"CAS {r.randrange(50, 9999)}-{digits(r, 2)}-{digits(r, 1)}",
    lambda r: f"EC {r.randrange(1, 7)}.{r.randrange(1, 20)}.{r.randrange(1, 20)}",
    lambda r: f"KS X ISO/IEC {digits(r, 5)}-{digits(r, 1)}:{r.randrange(1990, 2026)}",
    lambda r: f"우편번호 {digits(r, 5)}", lambda r: f"{digits(r, 5)}-{digits(r, 4)}",
    lambda r: f"{r.randrange(2, 99)} x {r.randrange(1000, 9999)} = {r.randrange(10000, 99999)}",
    lambda r: f"0.{digits(r, 9)}", lambda r: f"{digits(r, 1, '123456789')}.{digits(r, 8)}e+{digits(r, 2)}",
    lambda r: f"{r.randrange(1, 999)},{digits(r, 3)},{digits(r, 3)}명",
    lambda r: f"RFC {digits(r, 4)}, section {r.randrange(1, 9)}.{r.randrange(1, 9)}.{r.randrange(1, 9)}",
    lambda r: f"Windows NT 10.0; rv:{r.randrange(90, 140)}.0",
    lambda r: f"요한복음 {r.randrange(1, 21)}:{r.randrange(1, 40)}-{r.randrange(40, 60)}",
    lambda r: f"제{r.randrange(2000, 2026)}-{digits(r, 4)}호",
    lambda r: f"{r.randrange(1000, 9999)} {r.randrange(1000, 9999)} {r.randrange(1000, 9999)}",
    lambda r: f"{r.randrange(100, 999)} {r.randrange(100, 999)}",
    lambda r: f"[{r.randrange(1, 99)}, {r.randrange(100, 999)}, {r.randrange(1000, 9999)}]",
    lambda r: f"Lot {digits(r, 2)}-{digits(r, 4)}-{digits(r, 3)}",
    lambda r: f"model no. {digits(r, 3)}-{digits(r, 4)}-{digits(r, 2)}",
    lambda r: f"@{r.choice(('kim', 'jane'))}_{digits(r, 4)}",
    lambda r: f"look at {r.choice(('example', 'naver'))}.com",
    lambda r: f"{r.choice(('meet', 'lunch'))} at noon in Room {digits(r, 3)}",
    lambda r: f"score {r.randrange(0, 9)}-{r.randrange(0, 9)} ({r.randrange(0, 9)}-{r.randrange(0, 9)})",
    lambda r: f"NGC {digits(r, 4)} at RA {r.randrange(24):02d} {r.randrange(60):02d} {r.randrange(60):02d}",
    lambda r: f"Bus {digits(r, 3)}, {digits(r, 4)}, {digits(r, 4)}",
)  # fmt: skip
