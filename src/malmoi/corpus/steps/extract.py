"""The main text of a page, with its title, date, author, licence, and whether its owner allows training on it.

trafilatura reads the page; where it keeps less than half of what resiliparse keeps, readability does (measured: the
rule rescues the few pages on which it fails). resiliparse is also the quick look that throws empty pages away.
"""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from malmoi.corpus.steps.archive import Record
from malmoi.text import normalise

MIN_CHARS = 200
"""A page with less visible text is not worth the slow readers."""
MAX_HTML_BYTES = 4 << 20
MAX_LINKS = 20_000
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w:.-]+)", re.I)
_META = re.compile(r"<meta\s[^>]{0,500}>", re.I)
_ATTRIBUTE = re.compile(r"([\w-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>]+))")
_LICENSE_LINK = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z0-9-]+)(?:/(\d\.\d))?", re.I)
_NO_AI = re.compile(r"\bnoai\b", re.I)
WINDOWS = {"euc-kr": "cp949", "ks_c_5601-1987": "cp949", "ksc5601": "cp949", "x-windows-949": "cp949",
           "iso-8859-1": "cp1252", "latin-1": "cp1252", "us-ascii": "cp1252", "ascii": "cp1252",
           "shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030"}  # fmt: skip
"""As browsers do: the encodings that pages mean by these names."""
SAYS_NOTHING = ("", "utf8", "cp1252", "cp949")
"""Encodings that servers and templates declare for pages that are in others; UTF-8 was tried before."""
LEAST_SYLLABLES = 20
USUAL = "이다는의에가을하고지사은로기를한도서인어"
"""A third of all syllables of Korean texts."""
_OF_OTHERS = re.compile("[\u3041-\u30ff\u3131-\u318e\u4e00-\u9fff\uf900-\ufaff\ufffd]")


@dataclass(frozen=True)
class Extracted:
    """The main text of a page and what it says about itself. reader: whose text it is; charset: how it was decoded"""

    text: str
    title: str = ""
    date: str = ""
    author: str = ""
    license: str = "unknown"
    language: str = ""
    reader: str = ""
    charset: str = ""


def reserved_by(headers: Mapping[str, str], html: str = "") -> str:
    """How the owner of a page forbids to train on it; "" if nothing says so.

    headers: of HTTP, names in lower case. Known are noai in robots directives (of a header or a page) and reservations
    by the TDM protocol of the W3C's community group (tdm-reservation: 1).
    """
    if _NO_AI.search(headers.get("x-robots-tag", "")):
        return "noai in its HTTP header"
    if headers.get("tdm-reservation", "").strip() == "1":
        return "tdm-reservation in its HTTP header"
    for tag in _META.findall(html[:200_000]):
        found = {name.lower(): a or b or c for name, a, b, c in _ATTRIBUTE.findall(tag)}
        name, content = found.get("name", "").lower(), found.get("content", "")
        if name in ("robots", "googlebot", "ai") and _NO_AI.search(content):
            return "noai in the page"
        if name == "tdm-reservation" and content.strip() == "1":
            return "tdm-reservation in the page"
    return ""


def decode(body: bytes, declared: str = "") -> tuple[str, str]:
    """(text, encoding) of a page's bytes. Valid UTF-8 is read as UTF-8, even if something else is declared.

    declared: the charset of the HTTP header. Then comes what the page declares, then what the bytes look like.
    """
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if body.startswith(mark):
            return body.decode(name, "replace"), name
    try:
        return body.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    said = _META_CHARSET.search(body[:4096])
    given = [name.lower().strip() for name in (declared, said[1].decode("ascii", "replace") if said else "")]
    given = [WINDOWS.get(name, name) for name in given]
    if all(name.replace("-", "") in SAYS_NOTHING for name in given) and _is_korean(body):
        damaged = " with damage" if "\ufffd" in (text := body.decode("cp949", "replace")) else ""
        return text, f"cp949{damaged}"
    for name in (*given, _looks_like(body)):
        try:
            name = WINDOWS.get(name.lower(), name.lower())
            if name and name.replace("-", "") != "utf8":
                return body.decode(name), name
        except (LookupError, UnicodeError, ValueError):
            continue
    return body.decode("utf-8", "replace"), "utf-8 with damage"


def _is_korean(body: bytes) -> bool:
    """Whether bytes are Korean text as CP949: most that is not ASCII are syllables, and many of them the usual ones.

    Chinese and Japanese bytes give Chinese characters and syllables that nobody uses, European ones give damage.
    """
    letters = Counter(letter for letter in body[: 1 << 16].decode("cp949", "replace") if letter > "\xff")
    syllables = sum(n for letter, n in letters.items() if "가" <= letter <= "힣")
    others = sum(n for letter, n in letters.items() if _OF_OTHERS.match(letter))
    usual = sum(letters[letter] for letter in USUAL)
    return syllables >= LEAST_SYLLABLES and others <= 0.3 * syllables and usual >= 0.15 * syllables


def _looks_like(body: bytes) -> str:
    from resiliparse.parse.encoding import detect_encoding

    return str(detect_encoding(body[: 1 << 16]) or "")


def extract(record: Record, *, honour: bool = True, main: bool = True) -> Extracted | str:
    """The main text of a record, or why there is none: a reason that is counted.

    honour: see `reserved_by`; main: False gives all that is seen of a page, without what its readers know of it
    """
    if len(record.body) > MAX_HTML_BYTES:
        return f"a page larger than {MAX_HTML_BYTES >> 20} MB"
    html, charset = decode(record.body, record.charset)
    if record.is_text:
        return Extracted(normalise(html), reader="as it is", charset=charset)
    if honour and (said := reserved_by(dict(record.headers), html)):
        return f"reserved by its owner: {said}"
    if html.count("<a ") > MAX_LINKS:
        return f"more than {MAX_LINKS:,} links"
    quick = _quick(html, main)
    if len(quick) < MIN_CHARS:
        return "too little text"
    link = _LICENSE_LINK.search(html)
    license_ = _license(link) if link else "unknown"
    if not main:
        return Extracted(normalise(quick), license=license_, reader="resiliparse", charset=charset)
    found = _trafilatura(html, record.url)
    text, reader = found.get("text") or "", "trafilatura"
    if len(text) < len(quick) / 2:
        other = _readability(html)
        if len(other) > len(text):
            text, reader = other, "readability"
    text = normalise(text)
    if not text:
        return "no main text"
    title, date, author, language = (found.get(name) or "" for name in ("title", "date", "author", "language"))
    return Extracted(text, title, date, author, license_, language, reader, charset)


def _license(link: "re.Match[str]") -> str:
    """An SPDX name, such as CC-BY-SA-4.0."""
    name, version = link[2].lower(), link[3] or ""
    if link[1].lower() == "publicdomain":
        return "CC0-1.0" if name == "zero" else "public domain"
    return f"CC-{name.upper()}-{version}" if version else f"CC-{name.upper()}"


def _quick(html: str, main: bool = True) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(html, main_content=main, alt_texts=False))


def _trafilatura(html: str, url: str) -> dict[str, Any]:
    trafilatura = _quiet_trafilatura()
    found = trafilatura.bare_extraction(
        html, url=url or None, favor_precision=True, include_comments=False, with_metadata=True
    )
    if found is None:
        return {}
    return {name: getattr(found, name, None) for name in ("text", "title", "date", "author", "language")}


@cache
def _quiet_trafilatura() -> Any:
    import trafilatura

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    logging.getLogger("htmldate").setLevel(logging.CRITICAL)
    return trafilatura


def _readability(html: str) -> str:
    from readability import Document
    from resiliparse.extract.html2text import extract_plain_text

    logging.getLogger("readability").setLevel(logging.CRITICAL)
    try:
        return str(extract_plain_text(Document(html).summary(), main_content=False, alt_texts=False))
    except Exception:  # its parser raises whatever a page makes it raise
        return ""
