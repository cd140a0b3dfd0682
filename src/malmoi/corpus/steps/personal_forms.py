"""The forms of personal data that can be told without a word before them, by the published rules of each."""

import re
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from malmoi.corpus.steps import personal_checks as checks

_A = "A-Za-z0-9_"
"""Letters and digits that belong to a number or a name: Korean particles follow them without a space."""
_B, _E = rf"(?<![{_A}.\-/])", rf"(?![{_A}]|[-/][A-Za-z]{{0,2}}\d|-[A-Z]{{1,2}}(?![A-Za-z])|-[가-힣]?\d|\.\d)"


@dataclass(frozen=True)
class Kind:
    """A kind of personal data. is_one: whether a match is really one

    words: in lower case; a text without any of them has none; may: the same of a text in which this is not found
    may_be_numbered: none after a word that says it is the number of an order, a ware, a book
    at_start: begins with a digit, + or (, and has six digits near each other: it is tried only at `STARTS`
    anchor: what is in each, two letters after its beginning: it is tried only there
    """

    name: str
    pattern: re.Pattern[str]
    is_one: Callable[[str], bool] = lambda found: True
    words: tuple[str, ...] = ()
    may: re.Pattern[str] | None = None
    may_be_numbered: bool = False
    at_start: bool = False
    anchor: re.Pattern[str] | None = None


MASKS = {
    "e-mail": "<EMAIL>", "bank account": "<ACCOUNT>", "Korean resident number": "<RESIDENT-NUMBER>",
    "payment card": "<CARD>", "telephone": "<PHONE>", "business number": "<BUSINESS-NUMBER>",
    "corporate number": "<CORPORATE-NUMBER>", "driving licence": "<DRIVING-LICENCE>", "passport": "<PASSPORT>",
    "IP address": "<IP>",
}  # fmt: skip
"""What takes the place of each kind."""

ONE_DIGIT = (
    {
        code: str(unicodedata.digit(chr(code)))
        for code in range(0x660, sys.maxunicode)
        if unicodedata.category(chr(code)) == "Nd"
    }
    | {ord(wide): plain for wide, plain in zip("＋－（）．＠：／＿　‐‑−", "+-().@:/_ ---", strict=True)}
    | {code: chr(code - 0xFEE0) for code in (*range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
)
"""Digits of all scripts, letters and signs of full width, other hyphens -> those of ASCII, one for one."""
WIDE = re.compile(
    "[\u0660-\u0669\u06f0-\u06f9\u0966-\u096f\u09e6-\u09ef\u0e50-\u0e59\uff10-\uff19\uff20-\uff3a\uff41-\uff5a"
    "\uff0d\u2010\u2011\u2212]"
)
"""One of these, in a text that is worth to be translated."""

_S = r"(?: ?[-–‐‑—−./·] ?| ?[ \u00a0] ?)"
"""What joins the parts of a telephone number."""
_TLD = (
    r"(?:xn--[A-Za-z0-9-]{2,50}|[A-Za-z]{2,24}|한국|닷컴|닷넷|[\u4e00-\u9fff]{2,5}|[\u0400-\u04ff]{2,12}|[\u0370-\u03ff]{2,12}"
    r"|[\u0600-\u06ff]{2,10}|[\u0900-\u097f]{2,10})"
)
_HOST = rf"(?:(?:[^\W_]|-){{1,63}}\.)+{_TLD}"
_EMAIL = re.compile(
    rf"(?<![{_A}.+%-])[{_A}.+%!-][{_A}.+%!'=/&#$*?^`{{|}}~-]{{0,63}}@{_HOST}(?![{_A}@])"
    rf"|(?<![{_A}.+%-])[{_A}.+%!-]{{1,64}}@\[(?:IPv6:)?[0-9A-Fa-f:.]{{3,45}}\]"
    rf"|(?<!\w)\"[^\"\n@]{{1,40}}\"@{_HOST}(?![{_A}@])"
    rf"|(?<!\w)(?:[\u00c0-\u024f\u0370-\u052f\u3040-\u30ff\u4e00-\u9fff]|[a-z]){{1,30}}@{_HOST}(?![{_A}@])"
)
_DOMAIN = (
    r"(?:com|org|net|edu|gov|info|biz|io|ac|co|go|or|re|pe|ne|kr|uk|de|fr|jp|us|ca|au|cn|eu|it|es|nl|in|me|dev|app|ai"
    r"|nz|br|mx|pl|se|dk|fi|ru|za|sg|hk|tw|ie|be|ch|xyz)"
)
_OPEN, _SHUT = r"[ _]?[\[({<「] ?", r" ?[\])}>」][ _]?"
_AT = rf"(?:{_OPEN}(?:at|AT|At|a|@|골뱅이|앳|엣|where)(?: sign)?{_SHUT}|&#0?64;|&#x40;|&commat;|%40)"
_DOT = rf"(?:{_OPEN}(?:dot|DOT|Dot|d0t|\.|점|쩜|닷|punto|punkt|point){_SHUT}|\.)"
_SAID = rf"(?: (?:dot|DOT|Dot|점|쩜|닷) | ?[-_](?:dot|DOT)[-_] ?| ?(?:점|쩜|닷) ?|\.|{_DOT})"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,40}"
_FRONT = rf"(?<![{_A}.+%-])"
_PARTS = rf"(?:[A-Za-z0-9-]{{1,40}}{_SAID}){{1,4}}"
_HIDDEN_EMAIL = re.compile(
    rf"{_FRONT}(?:{_NAME}{_DOT}(?=[A-Za-z0-9]))?{_NAME}{_AT}{_PARTS}[A-Za-z]{{2,12}}(?![{_A}@])"
    rf"|{_FRONT}{_NAME}(?: dot {_NAME})?(?: at | AT | At |[-_](?:at|AT)[-_])(?:[A-Za-z0-9-]{{1,40}}"
    rf"(?: dot | DOT | Dot |[-_](?:dot|DOT)[-_]|{_OPEN}(?:dot|\.){_SHUT}))(?:{_PARTS})?{_DOMAIN}(?![{_A}@])"
    rf"|{_FRONT}[A-Za-z0-9][A-Za-z0-9._+-]{{0,40}}? ?_(?:at|AT)_ ?{_PARTS}{_DOMAIN}(?![{_A}@])"
    rf"|{_FRONT}{_NAME} ?(?:골뱅이|앳) ?{_PARTS}[A-Za-z]{{2,12}}(?![{_A}@])"
    rf"|{_FRONT}{_NAME} ?골뱅이 ?[가-힣]{{2,6}} ?(?:\.|점|쩜|닷) ?(?:컴|넷|com|net|co\.kr|케이알|씨오)"
    rf"|{_FRONT}{_NAME} ?@ ?{_PARTS}{_DOMAIN}(?![{_A}@])"
    rf"|{_FRONT}{_NAME} @ (?:[A-Za-z0-9-]{{1,40}} \. ){{1,4}}{_DOMAIN}(?![{_A}@])"
    rf"|{_FRONT}{_NAME} -(?:at|AT)- {_PARTS}{_DOMAIN}(?![{_A}@])"
)
HIDDEN = re.compile(
    r"[\[({<「_-] ?(?:[aA][tT]|[dD][oO0][tT]|[a.@][\])}]|where|골|점|엣)|&(?:#0?64|#x40|commat);|%40"
    r"| (?:dot|DOT|Dot) | @|@ |골뱅이|앳|점com"
)
"""A text without any of these hides no e-mail."""

_IP4 = re.compile(
    # The number of a version looks the same.
    rf"(?<!rv:)(?<!ersion )(?<!버전 )(?:(?<![{_A}.\-/])|(?<=//))(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?:/\d{{1,2}}|:\d{{1,5}})?"
    rf"(?![{_A}-]|\.\d|절)"
)
_APART_IP4 = re.compile(
    rf"(?<![{_A}.\-/])\d{{1,3}}(?P<dot>\[\.\]|\(\.\)|\[dot\]| \. )\d{{1,3}}(?P=dot)\d{{1,3}}(?P=dot)\d{{1,3}}(?![{_A}])"
)
_IP6 = re.compile(
    rf"(?<![\w:.])(?=\[?[A-Fa-f:]*\d)\[?(?:[0-9a-fA-F]{{0,4}}:){{2,8}}(?:(?:\d{{1,3}}\.){{3}}\d{{1,3}}|[0-9a-fA-F]{{0,4}})"
    rf"(?:%[A-Za-z0-9.~_-]{{1,24}})?(?:\](?::\d{{1,5}})?|/\d{{1,3}})?(?![{_A}]|:[0-9a-fA-F:]|\.\d)"
)
_RESIDENT = re.compile(rf"{_B}\d{{6}}\s?[-–—~_/·.]?\s?[1-8](?:\d{{6}}|\*{{6}}){_E}")
_J = r"(?: ?[-–./·_] ?|[ \u00a0\t]{1,2})"
_NO_GROUP = rf"{_B}(?<!\+)(?<!\d{{4}} )"
_LONG_CARD = re.compile(rf"{_NO_GROUP}(?:(?:\d{{4}}{_J}){{4}}\d{{1,3}}|\d{{6}}{_J}\d{{13}}|\d{{17,19}}){_E}")
_CARD = re.compile(
    rf"{_NO_GROUP}(?:(?:\d{{4}}{_J}){{2,3}}\d{{1,4}}|3\d{{3}}{_J}\d{{6}}{_J}\d{{4,5}}|\d{{4}}{_J}\d{{4}}{_J}\d{{5}}"
    rf"|\d{{4}}{_J}\d{{5}}{_J}\d{{6}}|\d{{12,16}}){_E}"
)
_ALONE = rf"{_B}(?<!\d )(?<![A-Z]{{2}}\d\d )"
"""Not in a row of groups, as an account has them."""
_82 = rf"(?:\(\+?|\+ ?|00)82\)?{_S}?\(?0?\)?{_S}?|82{_S}"
_AREA = r"(?:2|[3-6][1-5]|70|50\d?|80)"
_COUNTRY = (
    r"(?:7|20|27|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[146]|9[0-58]|(?:2[1-69]|3[578]|42|50|59|6[7-9]|80|8[578]|9[679])\d)"
)
"""Codes of countries (E.164), but Korea's and America's."""
_EXTENSION = r"(?:,? ?(?:x|ext\.?|extension|내선|\(내선|#) ?\d{1,5}\)?)?"
_PHONE = re.compile(
    # Korean mobiles, Korean lines with their area, American numbers, all with a country code
    rf"{_B}(?:{_82}|\(?0)1[016789]\)?{_S}?\d{{3,4}}{_S}?\d{{4}}(?:~\d{{1,4}})?{_EXTENSION}{_E}"
    rf"|{_B}(?:{_82}|\(?0){_AREA}(?:\){_S}?|{_S})\d{{3,4}}{_S}\d{{4}}(?:~\d{{1,4}})?{_EXTENSION}{_E}"
    rf"|{_B}\+82{_AREA}\d{{7,8}}{_E}"
    rf"|{_B}(?:(?:(?:\+?|00)1|[08]){_S})?(?:\([2-9]\d{{2}}\)\s?|[2-9]\d{{2}}(?:{_S}|/))[2-9]\d{{2}}{_S}\d{{4}}{_EXTENSION}{_E}"
    rf"|{_B}(?:\+?1[-. ])?(?:\([2-9]\d{{2}}\) ?|[2-9]\d{{2}}[-.])\d{{3}}[-.]\d{{4}}{_EXTENSION}{_E}"
    rf"|{_B}\(?\+ ?\(?[1-9]\d{{0,2}}\)?(?:{_S}?\(?\d{{1,9}}+\)?){{1,7}}{_EXTENSION}{_E}"
    rf"|{_ALONE}00{_COUNTRY}(?:{_S}?\(?\d{{1,9}}+\)?){{1,6}}{_E}"
)
_WORDS_TO_DIAL = re.compile(
    rf"{_B}(?:\+?1[-. ])?8(?:00|33|44|55|66|77|88)[-. ](?:[A-Z][A-Z-]{{5,8}}[A-Z]|[A-Z0-9]{{3}}-[A-Z0-9]{{4}}){_E}"
)
_NATIONAL = re.compile(
    rf"{_ALONE}(?:\(0[1-9]\d{{0,4}}\){_S}?|0[1-9]\d{{0,4}}{_S}|0 ?\([1-9]\d{{1,3}}\){_S}?)"
    rf"\d{{2,8}}(?:{_S}\d{{2,6}}){{0,4}}{_EXTENSION}{_E}"
)
_BRACKETS = re.compile(
    rf"(?:{_B}[18][ -]?|(?<![\w)]))\((?!(?:1[5-9]|20)\d\d\))\+?\d{{2,4}}\)[ /-]?\d{{2,9}}(?:[ -]\d{{2,6}}){{0,3}}"
    rf"{_EXTENSION}{_E}"
)
_BANKS = (
    "은행", "뱅크", "농협", "수협", "신협", "새마을금고", "우체국", "국민", "신한", "우리", "하나", "기업", "토스",
    "예금주",
)  # fmt: skip
_BEFORE_BANK = re.compile(
    rf"{_B}(?!01[016789])(?P<it>\d{{2,6}}(?P<j> ?[-–./·_] ?|[ \u00a0])\d{{1,8}}(?:(?P=j)\d{{1,8}}){{1,3}}"
    rf"|\d{{3}}-\d{{8,11}}|\d{{10,16}})[ ,(/:]{{1,3}}"
    r"(?:[가-힣A-Za-z]{0,5}(?:은행|뱅크)|농협|수협"
    r"|신협|새마을금고|우체국|국민|신한|우리|하나|기업|토스|예금주)"
)
_IBAN_OF = (
    "AD|AE|AL|AT|AZ|BA|BE|BG|BH|BI|BR|BY|CH|CR|CY|CZ|DE|DJ|DK|DO|EE|EG|ES|FI|FK|FO|FR|GB|GE|GI|GL|GR|GT|HN|HR|HU|IE|IL"
    "|IQ|IR|IS|IT|JO|KW|KZ|LB|LC|LI|LT|LU|LV|LY|MA|MC|MD|ME|MK|MN|MR|MT|MU|NI|NL|NO|OM|PK|PL|PS|PT|QA|RO|RS|RU|SA|SC|SD"
    "|SE|SI|SK|SM|SN|SO|ST|SV|TL|TN|TR|UA|VA|VG|XK|YE|DZ|AO|BJ|BF|CM|CV|CF|TD|KM|CG|CI|GQ|GA|GW|ML|MZ|NE|TG"
)
"""Countries of the registry of ISO 13616, and those that use its form without being in it."""
_IBAN = re.compile(
    rf"(?<![{_A}])(?:{_IBAN_OF})\d{{2}}(?:[A-Z0-9]{{11,30}}|(?:[ \u00a0-][A-Z0-9]{{4}}){{2,7}}"
    rf"(?:[ \u00a0-][A-Z0-9]{{1,3}})?(?:[ -][A-Z0-9]{{1,2}})?)(?![{_A}])"
    rf"|(?<![{_A}])(?:{_IBAN_OF.lower()})\d{{2}}[a-z0-9]{{11,30}}(?![{_A}])"
)
STARTS = re.compile(r"[(+\d](?<![A-Za-z0-9_][(+\d])(?=(?:(?:[^\w\n]|_){0,3}[\d*]){5}|(?:-8)?\d\d[-. ][A-Z])")
"""Where a number of several digits begins."""
_LETTERS_THEN_DIGITS = re.compile(r"\d\d(?<=[A-Za-z]{2}\d\d)")
KINDS = (
    Kind("e-mail", _EMAIL, checks.is_email, words=("@",)),
    Kind("e-mail", _HIDDEN_EMAIL, may=HIDDEN),
    Kind("bank account", _IBAN, checks.is_iban, anchor=_LETTERS_THEN_DIGITS),
    Kind("Korean resident number", _RESIDENT, checks.is_resident, at_start=True, may_be_numbered=True),
    Kind("corporate number", re.compile(rf"{_B}[1-2][0-9]\d{{4}}-\d{{7}}{_E}"), checks.is_corporation, at_start=True),
    Kind("payment card", _LONG_CARD, checks.is_card, at_start=True, may_be_numbered=True),
    Kind("payment card", _CARD, checks.is_card, at_start=True, may_be_numbered=True),
    Kind("bank account", _BEFORE_BANK, checks.is_account, words=_BANKS, at_start=True),
    Kind("telephone", _PHONE, checks.is_telephone, at_start=True, may_be_numbered=True),
    Kind("telephone", _WORDS_TO_DIAL, at_start=True),
    Kind("telephone", _NATIONAL, checks.is_national, at_start=True, may_be_numbered=True),
    Kind("telephone", _BRACKETS, checks.is_bracketed,
         at_start=True, may_be_numbered=True),
    Kind("business number", re.compile(rf"{_B}\d{{3}}( ?[-–·] ?)\d{{2}}\1\d{{5}}{_E}"), checks.is_business,
         at_start=True),
    Kind("driving licence", re.compile(rf"{_B}(?:1[1-9]|2[0-8])-\d{{2}}-\d{{6}}-\d{{2}}{_E}"), at_start=True),
    Kind("passport", re.compile(r"(?<![A-Z0-9<])P[A-Z<][A-Z]{3}[A-Z]+<(?=[A-Z<]*<<)[A-Z<]{20,38}(?![A-Z0-9<])"),
         words=("<<",)),
    Kind("passport", re.compile(
        r"(?<![A-Z0-9<])[A-Z0-9<]{9}\d[A-Z<]{3}\d{7}[MFX<]\d{7}[A-Z0-9<]{14}[0-9<]\d(?![A-Z0-9<])"),
         checks.is_machine_line, words=("<",), may=re.compile(r"\d[A-Z<]{3}\d{7}")),
    Kind("passport", re.compile(r"(?<![A-Za-z0-9-])[MSRODG]\d{3}[A-Z]\d{4}(?![A-Za-z0-9-])"),
         may=re.compile(r"\d{3}[A-Z]\d{4}"), may_be_numbered=True),
    Kind("IP address", _IP6, checks.is_address, may=re.compile(":[0-9a-fA-F]{0,4}:")),
    Kind("IP address", _IP4, checks.is_address, may=re.compile(r"\d\.\d{1,3}\.\d")),
    Kind("IP address", _APART_IP4, checks.is_address, may=re.compile(r"\d(?:[\[(](?:\.|dot)[\])]| \. )\d")),
)  # fmt: skip
