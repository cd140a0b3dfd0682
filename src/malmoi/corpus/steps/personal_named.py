"""Numbers that a word before them calls personal: "Tel", "계좌번호", "passport no.", a key of JSON, a cell of a table.

What has no form of its own (a telephone number of any country, an account, a passport) is found so. The words are those
of forms, signatures and contact lists in the languages that most pages are written in.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from malmoi.corpus.steps import personal_checks as checks

LOOK_BACK = 44
"""Letters before a number in which its word is looked for."""
LONGEST = 80
"""Letters of a number, at most."""
MOST_IN_A_ROW = 4
"""Numbers of one kind after one word: "Tel 02-123-4567, 010-1234-5678"."""


@dataclass(frozen=True)
class Named:
    """label: words, in lower case; value: what may come after them; is_one: whether it is really one; loose: other
    words may come between them; gap: the only thing that may come between them
    """

    name: str
    label: str
    value: re.Pattern[str]
    is_one: Callable[[str], bool]
    loose: bool = False
    gap: str = ""


_END = r"(?![A-Za-z0-9_]|[-.,]\d|\s?(?:원|won|개|명|년|건|%|usd|krw|달러|eur|px|kg|km|mb|gb)(?![a-z]))"
_NUMBER = (
    r"(?:[\s_.-]*(?:nos?|nums?|numbers?|nr|id|#|№|번호|号码|號碼|番号|номер|num[eé]ro|número|nummer)(?![a-z])\.?)?"
)
_WORD = (
    r"(?:은|는|이|가|로|번|와|및|is|was|are|at|on|to|us|me|via|by|as|we|have|the|my|of|and|son|es|sont|est|ist|sind|sono|são"
    r"|[a-z]{1,9}[:.])"
)
STRICT = (
    rf"{_NUMBER}(?:[\s_]*[(\[（][^()\d]{{1,16}}[)\]）])?"
    rf"[^\w\d]{{0,10}}(?:{_WORD}[^\w\d]{{1,4}}|</?[a-z]{{1,5}}>\s*){{0,3}}$"
)
LOOSE = rf"(?:{STRICT}|[^\d\n.!?]{{0,24}}$)"
_AND = re.compile(
    r"\s*(?:[,;/|·&、]|(?:and|or|y|e|o|et|ou|und|oder|og|och|и)\b|및|또는|혹은|과|와)\s*(?:[^\W\d]{1,12}(?:[:.)]\s*|\s+)){0,2}"
)

_PHONE_WORDS = (
    r"(?:(?:answer(?:ing|s)?|reach|reached|ping|available|messages?) (?:[a-z]{1,5} )?(?:at|on|to|from|by)(?![a-z])"
    r"|(?<![a-z])(?:my|your|his|her|our|their) (?:[a-z]{1,12} )?(?:number|no\.|line|registered)"
    r"|(?<![a-z])(?:llam(?:e|é|ar|ada|adas|ame|en)|marque|appele[rz]|joindre|anruf|ruf|chiam(?:a|are|ate)|ligue|ligar)"
    r"(?: (?:al?|au|unter|il|lo|para|el|le))?(?: n[uú]mero)?(?![a-z])"
    r"|(?<![a-z])(?:desk|pager|callback|call back|backup|emergency|switchboard|reception)(?![a-z])"
    r"|[a-z_]*(?:phone|mobile|telefon|telefoon|cellulare?)|(?<![a-z./])(?:tel|tel[ée]fono|telefone|t[ée]l[ée]phone|tél|tele|tf|tfn"
    r"|telf|tfno|tlf|tlfn|mob|mobil|m[óo]vil|celular|cell?|cel|portable|handy|gsm|fax|faks|hotline|helpline|whatsapp|viber"
    r"|signal|sms|call|calls|dial|text|ring|contact|landline|telp|telepon|puh|puhelin|s[íi]mi|telefón|telefonas"
    r"|t[āa]lrunis|đt|sđt|h\.?p|ph|toll[- ]free)s?(?![a-z])"
    r"|전화|연락처|연락|휴대폰|핸드폰|휴대 ?전화|팩스|(?<![가-힣])폰(?= ?(?:번호|:))|wa\.me|문의처?|상담"
    r"|콜센터|고객센터|대표번호|카톡|電話|电话|手机|手機|携帯|傳真|传真|тел(?:ефон)?|факс|моб(?:ильный)?|τηλ(?:έφωνο)?"
    r"|κιν(?:ητό)?|điện thoại|โทร(?:ศัพท์)?|هاتف|جوال|تلفن|موبایل|फ़?ोन|फोन|मोबाइल|ফোন|মোবাইল|טלפון|נייד)"
)
_LETTER = r"(?<![\w.])[tmpfo]"
_BANKS = (
    r"(?:[가-힣a-z]{0,6}(?:은행|뱅크|저축은행)|농협|수협|신협|새마을금고|우체국|kb|nh|ibk|sc제일|kdb|im뱅크|국민|신한|우리|하나|기업|카카오|토스"
    r"|케이|제일|씨티|부산|대구|광주|전북|경남|제주|산업|(?<![가-힣])[가-힣]{2,6}증권"
    r"|bank(?: (?:of )?[a-z]{4,8})?|nonghyup|suhyup|shinhyup|shinhan|woori|kookmin|(?:credit )?(?:union|cooperatives?))"
)
_TELEPHONE = re.compile(
    r"[+(]{0,2}\d{1,9}\)?(?:[ \u00a0]{0,2}[-–‐‑—−./·]?[ \u00a0]{0,2}\(?\d{1,9}\)?){0,6}"
    rf"(?:,? ?(?:x|ext\.?|#|내선|\(내선) ?\d{{1,5}}\)?|~\d{{1,4}})?{_END}",
    re.I,
)
_ACCOUNT = re.compile(
    rf"[A-Z]{{2}}\d{{2}}(?:[ -]?[A-Z0-9]{{4}}){{3,7}}(?:[ -]?[A-Z0-9]{{1,3}})?{_END}"
    rf"|\d{{2,6}}(?P<j> ?[-–./·_] ?|[\u00a0\t])\d{{1,8}}(?:(?P=j)\d{{1,8}}){{1,3}}{_END}"
    rf"|[A-Z]{{0,4}}\d[A-Z0-9]*(?:[ -][A-Z0-9]*\d[A-Z0-9]*){{0,8}}{_END}"
)
_DOCUMENT = (
    r"(?:(?=(?:[A-Za-z]*\d){4})[A-Za-z0-9]{6,10}|(?=(?:[A-Z]*\d){3})[A-Z0-9]{8,9}|[A-Za-z]{1,2}[ -]\d{6,8}"
    rf"|\d{{1,2}} ?\d{{2}} \d{{6}}|\d{{2}} \d{{7}}|[A-Z][ –-]?\d{{3}}[A-Z0-9]\d{{4}}){_END}"
)


_FIRM = re.compile(rf"\d{{3}}(?: ?[-–./·_] ?|[ \u00a0])?\d{{2}}(?: ?[-–./·_] ?|[ \u00a0])?\d{{5}}{_END}")


def _is_account(text: str) -> bool:
    digits = checks.digits_of(text)
    return 7 <= len(digits) <= 30 and not checks.is_dated(text)


NAMED = (
    Named("Korean resident number",
          r"(?:주민(?:등록)?(?: ?번호)?|외국인(?:등록)?(?: ?번호)?|(?<![a-z])rrn|(?:resident|alien) registration)",
          re.compile(rf"\d{{6}} ?[-–—~_/·.]? ?\d(?:\d{{6}}|\*{{6}}|x{{6}}){_END}", re.I), lambda found: True),
    Named("business number",
          r"(?:사업자|(?<![a-z])(?:brn|business (?:registration|reg\.?|licen[cs]e)|biz\.?(?: reg\.?)?))(?: ?등록)?",
          _FIRM, lambda found: True),
    Named("business number",
          r"(?:(?<![가-힣])등록 ?번호|공급(?:자|받는 ?자)|세금 ?계산서"
          r"|(?<![a-z])(?:seller|buyer|company reg(?:istration|\.)?|business (?:number|no\.?|id)|tax (?:id|no\.?)))",
          _FIRM, checks.is_business, True),
    Named("corporate number", r"(?:법인(?: ?등록)?|corporat(?:e|ion) (?:registration|reg\.?))",
          re.compile(rf"\d{{6}}[- ]?\d{{7}}{_END}"), lambda found: True),
    Named("driving licence",
          r"(?:운전 ?면허(?:증)?|면허(?:증)?(?= ?번호)|driv(?:er'?s?|ing) licen[cs]e"
          r"|(?<![a-z])licen[cs]e(?= ?(?:no|num|#)))",
          re.compile(rf"(?:(?:[가-힣]{{2}} ?|\d{{2}}[- ]?)\d{{2}}[- ]?\d{{6}}[- ]?\d{{2}}"
                     rf"|[A-Z9]{{5}}\d{{6}}[A-Z9]{{2}}\d[A-Z]{{2}}|[A-Z]{{1,2}}\d{{5,12}}){_END}"), lambda found: True),
    Named("passport",
          r"(?:여권|passports?|(?<![a-z])pass(?=[- ]?(?:nr|no|nummer))|passeport|reisepass|pasaporte|passaport[oe]"
          r"|паспорта?|护照|護照|旅券|パスポート|travel document)",
          re.compile(_DOCUMENT), lambda found: not checks.is_dated(found), True),
    Named("payment card", r"(?:cards?|카드|(?<![a-z])(?:visa|mastercard|amex|kreditkarte|carte|tarjeta))",
          re.compile(rf"\d(?:[ .–-]?\d){{11,18}}{_END}"), lambda found: not checks.is_dated(found)),
    Named("bank account",
          r"(?:계좌|입금|송금|이체|예금|account|(?<![a-z])(?:acct|a/c|iban|bban|konto|compte|cuenta|conto|rib|clabe|bsb|aba|routing"
          r"|sort code)|口座|账号|帐号|账户|сч[её]т)",
          _ACCOUNT, _is_account, True),
    Named("bank account", r"(?<![a-z])sort[ -]?code", re.compile(rf"\d\d[- ]?\d\d[- ]?\d\d{_END}"), lambda found: True),
    Named("bank account", rf"{_BANKS}\)?",
          re.compile(rf"(?:\d{{2,6}}(?P<j> ?[-–./·_] ?|[ \u00a0\t])\d{{1,8}}(?:(?P=j)\d{{1,8}}){{1,3}}"
                     rf"|\d{{3}}-\d{{8,11}}|\d{{10,16}}){_END}"),
          lambda found: checks.is_account(found) and not checks.is_dated(found)),
    Named("telephone", _LETTER, _TELEPHONE,
          lambda found: checks.is_telephone(found, 9 if found.isdigit() else 7), gap=r"[*\s]*[:.)\]：][*\s\"]{0,4}$"),
    Named("telephone", _PHONE_WORDS, _TELEPHONE, lambda found: checks.is_telephone(found, 7), True),
)  # fmt: skip
_ANY_TELEPHONE = NAMED[-1]
_AFTER = re.compile(
    r"[ \t]{0,2}[-–,(/:]?[ ]?(?:office|fax|mobile|cell|home|work|phone|tel|direct|main"
    r"|전화|휴대폰|팩스|사무실|자택|직통|휴대전화)(?![a-z])"
)
"""What may come after a telephone number instead of before it."""
_BEFORE = tuple((one, re.compile(one.label + (one.gap or STRICT)), re.compile(one.label + LOOSE)) for one in NAMED)
_LABEL = re.compile("|".join(one.label for one in NAMED))
_DOCUMENTS = re.compile(r"\d(?:(?<=[A-Za-z]\d)|(?<=[A-Z][ -]\d))(?=(?:[ -]?[A-Za-z0-9]){4})")
_OLD_LICENCE = re.compile(r"[가-힣]{2} ?\d\d-\d{6}")
_LETTERS = re.compile(r"(?<![A-Za-z0-9_])\d{0,3}[A-Za-z]{1,5}[ -]?$")
_OF_DOCUMENTS = (
    "여권", "pass", "pasaporte", "паспорт", "护照", "護照", "旅券", "パスポート", "travel doc", "계좌", "account",
    "acct", "a/c", "iban", "bban", "konto", "compte", "cuenta", "conto", "면허", "licen",
)  # fmt: skip
"""Numbers that begin with letters come after one of these."""
_NUMBERED = re.compile(
    r"(?:isbn|issn|(?<![a-z])(?:doi|ean|upc|gtin|cas|sku|lot|rev|serial|version|patent|part|tracking|invoice|order|barcode|parcel"
    r"|waybill|model|item|stock|p/n)|주문|운?송장|바코드|사건|특허|우편|일련|모델명?|제품|상품(?:코드)?|부품|문서|접수|당첨"
    r"|품번|관리)" + STRICT + r"|[$€£¥₩₽] ?$|arxiv:$|(?<![a-z])pp\. ?$"
)
"""Words before numbers that look like personal ones, and are none."""


_SECTION = re.compile(
    r"(?:(?<![a-z])(?:section|sec\.|table|eq\.?|equation|fig(?:ure)?\.?|chapter|chrome|safari|firefox|edge|version|ver\.?"
    r"|build|release)|그림|표|크롬|사파리|파이어폭스|엣지|버전)[^\w\n]{0,3}$"
    r"|(?:(?<![a-z])(?:version|upgrade|update|downgrade)[a-z]*|버전)[^\n]{4,36}(?:(?<![a-z])to|에서|→|->) $"
)
"""Words before four numbers that are no IP address."""


def is_section(lower: str, start: int) -> bool:
    """Whether a word before numbers with dots says that they are a section or a version. lower: in lower case"""
    return _SECTION.search(lower[max(0, start - LOOK_BACK) : start]) is not None


_PASSPORT = re.compile(r"[A-Za-z](?:\d{8}|\d{3}[A-Za-z]\d{4})")
_LISTED = (
    ("passport", re.compile(r"여권|passport"),
     re.compile(r"(?<![A-Za-z0-9-])[MSRODGmsrodg](?:[ \u00a0–-]?[A-Za-z0-9]){8}(?![A-Za-z0-9]|-\d)"),
     lambda found: _PASSPORT.fullmatch(re.sub(r"[^A-Za-z0-9]", "", found)) is not None),
    ("telephone", re.compile(r"연락처|전화|휴대폰|(?<![a-z])(?:phone|mobile|tel)(?![a-z])"),
     re.compile(r"(?<![A-Za-z0-9_.\-/])0(?:2|[3-6][1-5]|70|80|50\d)\d{7,8}(?![A-Za-z0-9_]|-\d|\.\d)"),
     checks.is_telephone),
)  # fmt: skip
"""(kind, word, form, whether it is one) of what is in a list or a table under a word."""
LISTED_WITHIN = 240
"""Letters from such a word on."""


def find_listed(text: str, lower: str, taken: "Taken") -> None:
    """Add what a heading names, and has a form of its own."""
    for name, word, form, is_one in _LISTED:
        end = -1
        for match in word.finditer(lower):
            for found in form.finditer(text, max(match.end(), end), match.end() + LISTED_WITHIN):
                if taken.is_free(*found.span()) and is_one(found[0]) and not is_numbered(lower, found.start()):
                    taken.add(*found.span(), name)
            end = match.end() + LISTED_WITHIN - LONGEST


def is_numbered(lower: str, start: int) -> bool:
    """Whether a word before a number says that it is that of a ware, a paper or the like. lower: in lower case"""
    return _NUMBERED.search(lower[max(0, start - LOOK_BACK) : start]) is not None


class Taken:
    """What was found so far in a text of n letters; no two overlap."""

    def __init__(self, n: int) -> None:
        self.found: list[tuple[int, int, str]] = []
        self._is_taken = bytearray(n)

    def add(self, start: int, end: int, kind: str) -> None:
        self.found.append((start, end, kind))
        self._is_taken[start:end] = b"\1" * (end - start)

    def is_free(self, start: int, end: int) -> bool:
        return self._is_taken.find(1, start, end) < 0

    def next(self, start: int) -> int:
        """Where the next one begins after a place, or a place that no number reaches."""
        at = self._is_taken.find(1, start, start + LONGEST)
        return at if at >= 0 else min(start + LONGEST, len(self._is_taken))


def find_named(text: str, lower: str, starts: list[int], taken: Taken) -> None:
    """Add what a word before it names. lower: the text in lower case, of the same length; starts: of its numbers"""
    end = 0
    ends = sorted(b for _, b, kind in taken.found if kind == _ANY_TELEPHONE.name)
    if any(word in lower for word in _OF_DOCUMENTS):
        starts = sorted({*starts, *_documents(text)})
    for start in starts:
        if start < end or not taken.is_free(start, start + 1) or is_numbered(lower, start):
            continue
        one = _name_before(text, lower, start, taken)
        last = ends[at - 1] if one is None and (at := bisect_left(ends, start)) else -LOOK_BACK
        if start <= last + LOOK_BACK and _AND.fullmatch(text, last, start):
            one = _value(_ANY_TELEPHONE, text, start, taken, strict=False)
        one = one or _name_after(text, lower, start, taken)
        for _ in range(MOST_IN_A_ROW):
            if one is None:
                break
            kind, start, end = one
            taken.add(start, end, kind.name)
            more = _AND.match(text, end)
            if not more or not taken.is_free(more.end(), more.end() + 1):
                break
            one = _value(kind, text, more.end(), taken, strict=False)


def _documents(text: str) -> Iterator[int]:
    """Where numbers begin that have letters before their digits."""
    for match in _DOCUMENTS.finditer(text):
        at = match.start()
        before = _LETTERS.search(text, max(0, at - 9), at)
        if before:
            yield before.start()
    if "면허" in text:
        yield from (match.start() for match in _OLD_LICENCE.finditer(text))


def _name_before(text: str, lower: str, start: int, taken: Taken) -> tuple[Named, int, int] | None:
    before = lower[max(0, start - LOOK_BACK) : start]
    if not _LABEL.search(before):
        return None
    for kind, strict, loose in _BEFORE:
        is_strict = strict.search(before) is not None
        if is_strict or (kind.loose and loose.search(before)):
            found = _value(kind, text, start, taken, is_strict)
            if found:
                return found
    return None


def _name_after(text: str, lower: str, start: int, taken: Taken) -> tuple[Named, int, int] | None:
    if text[start - 1 : start] in ("/", ".", "-"):
        return None
    one = _value(_ANY_TELEPHONE, text, start, taken, strict=True)
    return one if one and _AFTER.match(lower, one[2]) and not checks.is_years(text[start : one[2]]) else None


def _value(kind: Named, text: str, start: int, taken: Taken, strict: bool) -> tuple[Named, int, int] | None:
    if kind.name != "telephone":
        start += len(text[start : start + 2]) - len(text[start : start + 2].lstrip("(+"))
    found = kind.value.match(text, start, taken.next(start))
    if not found or not kind.is_one(found[0]):
        return None
    if not strict and checks.is_years(found[0]):
        return None
    n = len(checks.digits_of(found[0]))
    # With other words between, what has no joints is too often an amount.
    if not strict and kind.name != "passport" and (n < 8 or (found[0].isdigit() and not 9 <= n <= 16)):
        return None
    return kind, start, found.end()
