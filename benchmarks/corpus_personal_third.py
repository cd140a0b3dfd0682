"""A third planted set of personal data, made after the patterns were mended on the second, and measured once.

As people write them in signatures, forms, tables, code and logs, with the forms of the rules that the first two sets do
not have. What was missed here was then mended as well, so that it is no blind set any more; the fourth
(benchmarks/corpus_personal_fourth.py) is by other people.
"""

import random
from collections.abc import Callable

from benchmarks.corpus_personal import digits, luhn, resident
from benchmarks.corpus_personal_forms import iban, with_ean

CARRIERS = (
    "Regards,\nAnn Lee\n{}\nSeoul",
    '{{"id": 7, "value": "{}"}}',
    "<td>{}</td>",
    "id,value\n12,{}\n",
    "* {}",
    "Q: Which one? A: {}!",
    "2026-01-02 10:11:12 INFO saved {} for user 12",
    "We had {}; that is wrong",
    "**{}**",
    "성명 김영희 | {} | 확인",
    "1. {}",
    "신청자의 {}가 다릅니다",
    "「{}」",
    "문의처 {} (평일 9시~18시)",
    "지난번에 알려 주신 {}은 틀렸어요.",
    "※ {}",
)
R = random.Random


def of(rng: R, *forms: str) -> str:
    return rng.choice(forms)


def email(rng: R) -> str:
    name = of(rng, "yh.lee", "Lee_YH", "info", "dev+ci-42", "10042", "marie-claire", "q", "park.js.1990")
    host = of(
        rng,
        "gmail.com",
        "nate.com",
        "seoul.go.kr",
        "cs.example.edu",
        "example.co.uk",
        "EXAMPLE.ORG",
        "kakao.com",
        "m-1.example.io",
    )
    return of(
        rng,
        f"{name}@{host}",
        f"E-mail: {{}}|{name}@{host}",
        f"이메일({{}})|{name}@{host}",
        f"메일주소:{{}}|{name}@{host}",
        f'<a href="mailto:{{}}">|{name}@{host}',
        f"(cc: {{}})|{name}@{host}",
    )


def mobile(rng: R) -> str:
    a, b = digits(rng, 4, "23456789"), digits(rng, 4)
    return of(
        rng,
        f"010-{a}-{b}",
        f"01{rng.choice('016789')}-{digits(rng, 3, '23456789')}-{b}",
        f"휴대전화 {{}}|010{a}{b}",
        f"M. {{}}|010.{a}.{b}",
        f"HP:{{}}|010-{a}-{b}",
        f"+82 10 {a} {b}",
        f"+82)10-{a}-{b}",
        f"+82.10.{a}.{b}",
        f"C.P {{}}|010 {a} {b}",
        f"wa.me/{{}}|8210{a}{b}",
        f"010-{a} {b}",
    )


def line(rng: R) -> str:
    area = of(rng, "2", "31", "32", "41", "42", "51", "52", "53", "62", "63", "64", "70")
    a, b = digits(rng, 4 if area == "70" else rng.choice((3, 4)), "23456789"), digits(rng, 4)
    return of(
        rng,
        f"Tel. {{}}|0{area}-{a}-{b}",
        f"T {{}}|0{area} {a} {b}",
        f"TEL) {{}}|0{area}-{a}-{b}",
        f"팩스 {{}}|0{area}-{a}-{b}",
        f"(0{area}) {a}-{b}",
        f"F: {{}}|+82-{area}-{a}-{b}",
        f"☎ {{}}|0{area}-{a}-{b}",
        f"0{area}-{a}-{b}~{rng.randrange(2, 10)}",
        f"{{}} (내선 {digits(rng, 3)})|0{area}-{a}-{b}",
        f"대표전화 {{}}|0{area}{a}{b}",
    )


def american(rng: R) -> str:
    a, b, c = digits(rng, 3, "23456789"), digits(rng, 3, "23456789"), digits(rng, 4)
    return of(
        rng,
        f"cell {{}}|{a}-{b}-{c}",
        f"{a}/{b}-{c}",
        f"({a}) {b}.{c}",
        f"Ph: {{}}|({a}) {b}-{c}",
        f"1 {a} {b} {c}",
        f"+1 {a}-{b}-{c}",
        f"{{}}, extension {digits(rng, 2)}|{a}-{b}-{c}",
        f"{a} - {b} - {c}",
        f"phone={{}}|+1{a}{b}{c}",
        f"fax {{}}|{a}.{b}.{c}",
    )


def abroad(rng: R) -> str:
    def d(n: int) -> str:
        return digits(rng, n, "23456789")

    return of(
        rng,
        f"+31 20 {d(3)} {d(4)}",
        f"+46 8 {d(3)} {d(3)} {d(2)}",
        f"+41 44 {d(3)} {d(2)} {d(2)}",
        f"+43 1 {d(7)}",
        f"+65 {d(4)} {d(4)}",
        f"+852 {d(4)} {d(4)}",
        f"+886 2 {d(4)} {d(4)}",
        f"+34 {d(3)} {d(3)} {d(3)}",
        f"+48 {d(3)}-{d(3)}-{d(3)}",
        f"+971 4 {d(3)} {d(4)}",
        f"+62 21 {d(4)} {d(4)}",
        f"+351 21 {d(3)} {d(4)}",
        f"0033 1 {d(2)} {d(2)} {d(2)} {d(2)}",
        f"+44(0)1223 {d(6)}",
        f"+49/30/{d(6)}",
        f"+61 (0)4{d(2)} {d(3)} {d(3)}",
    )


def card(rng: R) -> str:
    start, n = rng.choice(
        (
            ("4", 16),
            ("52", 16),
            ("2720", 16),
            ("34", 15),
            ("3588", 16),
            ("644", 16),
            ("62", 16),
            ("38", 14),
            ("301", 14),
            ("54", 16),
        )
    )
    number = luhn(start + digits(rng, n - 1 - len(start)))
    four = [number[at : at + 4] for at in range(0, len(number), 4)]
    return of(
        rng,
        number,
        "-".join(four),
        " ".join(four),
        f"카드번호 {{}}|{'-'.join(four)}",
        f"card no. {{}} exp 09/29|{number}",
        f"{{}}, CVC {digits(rng, 3)}|{' '.join(four)}",
        f"VISA {{}}|{number}",
    )


def registered(rng: R) -> str:
    plain = "".join(filter(str.isdigit, resident(rng)))
    return of(
        rng,
        f"{plain[:6]}-{plain[6:]}",
        f"주민등록번호: {{}}|{plain[:6]} - {plain[6:]}",
        f"외국인등록번호 {{}}|{plain[:6]}-{plain[6:]}",
        f"주민번호 {{}}|{plain}",
        f"({{}})|{plain[:6]}-{plain[6:]}",
        f"생년월일/성별 {{}}|{plain[:6]}-{plain[6:]}",
    )


def company(rng: R) -> str:
    first = digits(rng, 3, "123456789") + digits(rng, 2) + digits(rng, 4)
    total = sum(int(d) * w for d, w in zip(first, (1, 3, 7, 1, 3, 7, 1, 3, 5), strict=True)) + int(first[8]) * 5 // 10
    number = f"{first[:3]}-{first[3:5]}-{first[5:]}{-total % 10}"
    return of(
        rng,
        f"사업자 {{}}|{number}",
        f"사업자등록번호 : {{}}|{number}",
        f"등록번호 {{}}|{number}",
        f"Business Reg. No. {{}}|{number}",
        f"사업자등록번호 {{}}|{number}",
        f"사업자번호 {{}}|{number.replace('-', '')}",
    )


def ip(rng: R) -> str:
    four = ".".join(str(rng.randrange(1, 224 if not at else 255)) for at in range(4))

    def h() -> str:
        return f"{rng.randrange(4096, 65536):x}"

    return of(
        rng,
        f"from {{}} port 22|{four}",
        f"{{}} - - [02/Jan/2026]|{four}",
        f"host={{}},|{four}",
        f"ssh root@{{}}|{four}",
        f"2a00:{h()}:{h()}::{h()}",
        f"2001:0db8:{h()}:0000:0000:{h()}:{h()}:{h()}",
        f"inet6 {{}}|fe80::{h()}:{h()}",
        f"https://{{}}/login|{four}",
        f"({{}})|{four}",
        f"X-Forwarded-For: {{}}|{four}",
        f"2600::{h()}",
        f"{{}}:443|{four}",
    )


def account(rng: R) -> str:
    number = "-".join(
        digits(rng, n)
        for n in rng.choice(((6, 2, 6), (3, 3, 6), (3, 4, 4, 2), (3, 6, 2, 3), (4, 2, 7), (3, 4, 6), (4, 3, 6)))
    )
    plain = number.replace("-", "")
    bank = of(
        rng, "국민은행", "신한은행", "우리은행", "NH농협", "하나은행", "카카오뱅크", "기업은행", "대구은행", "우체국"
    )
    return of(
        rng,
        f"{bank}: {{}}|{number}",
        f"{bank} {{}} (예금주: 김영희)|{number}",
        f"입금 계좌 {bank} {{}}|{plain}",
        f"계좌번호({bank}) {{}}|{number}",
        f"{bank} 계좌번호 {{}}|{number}",
        f"후원: {bank} {{}}|{number}",
        f"송금하실 곳: {bank} {{}}|{number}",
        f"Acct: {{}}|{plain}",
        f"bank account number {{}}|{plain}",
        f"환급계좌 {{}}|{number}",
    )


def passport(rng: R) -> str:
    any_ = of(
        rng,
        rng.choice("MSR") + digits(rng, 8),
        "M" + digits(rng, 3) + rng.choice("ABCDEFGH") + digits(rng, 4),
        digits(rng, 9, "123456789"),
    )
    return of(
        rng,
        f"여권번호 : {{}}|{any_}",
        f"여권(번호 {{}})|{any_}",
        f"Passport Number: {{}}|{any_}",
        f"passport no.{{}}|{any_}",
        f"her passport, {{}},|{any_}",
        f"여권번호={{}}|{any_}",
        f"PASSPORT: {{}}|{any_}",
        f"여권 번호는 {{}}|{any_}",
    )


def licence(rng: R) -> str:
    number = f"{rng.randrange(11, 29)}-{digits(rng, 2)}-{digits(rng, 6)}-{digits(rng, 2)}"
    return of(
        rng,
        f"운전면허 번호: {{}}|{number}",
        f"면허증번호 {{}}|{number}",
        f"면허 {{}}|{number}",
        f"운전면허번호={{}}|{number}",
        f"운전면허증({{}})|{number}",
        f"Driver License No. {{}}|{number}",
        f"제1종 보통 {{}}|{number}",
        f"drivers license: {{}}|{number}",
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
    lambda r: f"ISBN {with_ean('979' + digits(r, 9))}",
    lambda r: f"바코드 {with_ean('880' + digits(r, 9))}",
    lambda r: f"{r.randrange(2000, 2026)}-0{r.randrange(1, 10)}-{r.randrange(10, 29)}T{r.randrange(10, 24)}:30:59Z",
    lambda r: f"{r.randrange(1, 400)}쪽~{r.randrange(400, 800)}쪽",
    lambda r: f"서울특별시 중구 세종대로 {r.randrange(1, 300)}-{r.randrange(1, 30)} (우 0{digits(r, 4)})",
    lambda r: f"대법원 {r.randrange(1990, 2026)}다{digits(r, 5, '123')} 판결",
    lambda r: f"GDP {r.randrange(1, 9)},{digits(r, 3)}.{digits(r, 1)}",
    lambda r: f"{r.randrange(1, 100)}.{digits(r, 2)}%, {r.randrange(1, 100)}.{digits(r, 2)}%",
    lambda r: f"sha256:{r.getrandbits(256):064x}",
    lambda r: f"RFC {digits(r, 4, '123')}, section {r.randrange(1, 9)}.{r.randrange(1, 9)}.{r.randrange(1, 9)}",
    lambda r: f"git@github.com:{r.choice(('a/b', 'org/tool'))}"[4:],
    lambda r: f"{digits(r, 4, '12')}/{digits(r, 4, '12')} 시즌",
    lambda r: f"모델명 SM-{r.choice('ABGS')}{digits(r, 3)}{r.choice('NKU')}",
    lambda r: f"ticket #{digits(r, 6)}",
    lambda r: f"{r.randrange(1, 30)}° {r.randrange(10, 60)}′ {r.randrange(10, 60)}″ N",
    lambda r: f"call f({digits(r, 3)}, {digits(r, 3)}, {digits(r, 4)})",
    lambda r: f"{digits(r, 2, '123')}:{digits(r, 2, '012')}–{digits(r, 2, '123')}:{digits(r, 2, '012')}",
    lambda r: f"여권을 {r.randrange(1990, 2026)}년에 받았다",
    lambda r: f"은행 이자 {r.randrange(1, 9)}.{digits(r, 2)}% ({r.randrange(2000, 2026)}.{r.randrange(1, 13)})",
    lambda r: f"v{r.randrange(1, 20)}.{r.randrange(1, 20)}.{r.randrange(1, 20)}-rc{r.randrange(1, 5)}",
)
