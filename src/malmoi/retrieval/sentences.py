"""Sentences of a passage, and the one that answers a question."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, takewhile, zip_longest

from malmoi.retrieval.words import patterns
from malmoi.synthetic.docstrings import is_signature
from malmoi.text import ends_in_abbreviation

_END = re.compile(
    r"""[.!?…。！？]["'”’)\]]*(?=\s|$)|\n[ \t]*\n+"""
    r"""|\n(?=[ \t]*(?:[-*+•·]|\d+[.)])[ \t])|\n(?=[ \t]*\|)|\n(?=[^\n:：.!?]{1,30}[:：][ \t]*\S)"""
)
_MARK = re.compile(r"^(?:[-*+•·](?: \[[ xX]\])?|\d+[.)]) (?=\S)")
"""Before an item of a list; a quoted sentence is without."""
_PROSE = re.compile(r"(?!Also called|For example|>>>)[^\W\d_]")

_FOR_EXAMPLE = re.compile(r"(?i)\bfor example\b|\be\.g\.|^examples?:")


@dataclass(frozen=True)
class Sentence:
    """text: on one line; start: where it begins in the passage; line: lines of the passage before it
    read: what it tells, in words: of a row of a table each cell after the name of its column; of the names of the
    columns nothing
    """

    text: str
    start: int
    line: int
    read: str = ""


@lru_cache(maxsize=1 << 12)
def sentences(text: str) -> tuple[Sentence, ...]:
    """The sentences of a text, in order. Paragraphs, items of lists, lines such as "Monday: closed", and lines that
    their writer broke end one, too."""
    found = []
    start = 0
    ends = [(match.end(), match.group()[0] == ".") for match in _END.finditer(text)]
    for end, is_stop in sorted({**dict.fromkeys(_own_lines(text), False), **dict(ends)}.items()):
        if is_stop and ends_in_abbreviation(text[start:end]):
            continue
        found.append((start, end))
        start = end
    found.append((start, len(text)))
    return tuple(_with_columns([_sentence(text, start, end) for start, end in found if text[start:end].strip()]))


_RULE = re.compile(r"\|?(?: ?:?-+:? ?\|)+(?: ?:?-+:?)?")
"""The line of a Markdown table below the names of its columns."""


def _with_columns(found: list[Sentence]) -> list[Sentence]:
    for at in (at for at, one in enumerate(found) if at and _RULE.fullmatch(one.text)):
        names = _cells(found[at - 1].text)
        found[at - 1 : at + 1] = (replace(one, read="") for one in found[at - 1 : at + 1])
        for row in takewhile(lambda row: found[row].text.startswith("|"), range(at + 1, len(found))):
            cells = zip_longest(names, _cells(found[row].text), fillvalue="")
            told = ", ".join(f"{name}: {cell}" if name else cell for name, cell in cells if cell)
            found[row] = replace(found[row], read=told)
    return found


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("| ").split("|")]


_PARAGRAPH = re.compile(r"(?:(?!(?:>>>|\.\.\.|[|+`~$#]))\S.*(?:\n|$)){2,}", re.MULTILINE)


def _own_lines(text: str) -> list[int]:
    """Where lines end that their writer broke, one thing on each: the next word had fitted into the line."""
    found = []
    for paragraph in _PARAGRAPH.finditer(text):
        lines = paragraph.group().removesuffix("\n").split("\n")  # Not splitlines: "." takes the other line ends.
        width = max(map(_columns, lines))
        fits = [_columns(f"{line} {after.split()[0]}") <= max(width, NARROW) for line, after in pairwise(lines)]
        # Text that is wrapped fits nowhere; the longest of broken lines is never known to be one.
        if 2 * sum(fits) >= len(fits) and not any(map(_GOES_ON.match, lines[1:])):
            at = paragraph.start()
            for line in lines[:-1]:
                at += len(line) + 1
                found.append(at)
    return found


def _columns(line: str) -> int:
    """How wide a line is: a syllable of Korean is as wide as two letters."""
    return len(line) + sum(letter >= "\u1100" for letter in line)


NARROW = 56
"""Columns to which nobody wraps text."""
_GOES_ON = re.compile(r"[a-z,;)\]]")
"""A line that goes on with what the line before began."""


def _sentence(text: str, start: int, end: int) -> Sentence:
    begin = start + _indent(text[start:end])
    told = _MARK.sub("", " ".join(text[begin:end].split()))
    return Sentence(told, begin, text.count("\n", 0, begin), told)


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def telling_of(word: str, text: str) -> Sentence | None:
    """The first sentence of a text about a word, such as a parameter, that is no signature; None if there is none."""
    form = re.compile(rf"(?<![\w.]){re.escape(word)}(?!\w|\()")
    return next((one for one in sentences(text) if form.search(one.text) and not is_signature(one.text)), None)


def first_telling(text: str) -> Sentence:
    """The first sentence of a text, or the next one after signatures such as `dumps(obj) -> str` if that is prose."""
    found = sentences(text)
    rest = (sentence for sentence in found if not is_signature(sentence.text))
    told = next(rest, found[0])
    return told if _PROSE.match(told.text) else found[0]


def says_what_it_does(sentence: str) -> bool:
    """Whether a sentence about a name is neither a signature, nor an example, nor another name of it."""
    return not is_signature(sentence) and _PROSE.match(sentence) is not None


@lru_cache(maxsize=1 << 10)
def asked_kinds(question: str) -> tuple[str, ...]:
    """What kinds of answers the question words ask for: time, number, place, person, reason."""
    return tuple(kind for kind in asked_in_notes(question) if kind not in OF_NOTES)


OF_NOTES = frozenset({"amount", "day", "duration"})
"""Kinds of answers that only notes are asked for."""


@lru_cache(maxsize=1 << 10)
def asked_in_notes(question: str) -> tuple[str, ...]:
    """The same with the kinds that only notes have: an amount of something, a day."""
    kinds = (kind for kind, form in patterns("asked.tsv").items() if form.search(question))
    is_about_money = _ASKS_OTHERWISE.search(question) is not None and not _HOW_MUCH.search(question)
    return tuple(kind for kind in kinds if kind != "money" or not is_about_money)


_ASKS_OTHERWISE = re.compile(r"(?i)언제|며칠|몇 ?[시월]|무슨 ?요일|어디|누구|누가|왜|\b(?:when|who|where|why)\b")
_HOW_MUCH = re.compile(r"(?i)얼마|\bhow much\b")
"""'When is the fee due?' asks for no amount of money."""


OF_LIFE = frozenset({"time", "clock", "place", "person", "money", "phone", "email", "age", "measure"})
"""Kinds of answers that people's notes have and documentation of programs has not."""


def asks_of_life(question: str) -> bool:
    """Whether a question asks for what documentation of programs does not tell: "When does the library open?" is not
    about `open`."""
    return not OF_LIFE.isdisjoint(asked_kinds(question)) and not _ASKS_HOW.search(question)


_ASKS_HOW = re.compile(
    r"(?i)\bhow (?:do|can|to|would|could|should)\b|\b(?:module|function|method|class|library for|python)\b"
    r"|방법|(?:하는|는) ?법|려면|함수|모듈|메서드|클래스|파이썬"
)


_UNIT = re.compile(
    r"(?:몇|얼마나 많은) ?(번째|[가-힣]|[a-z%]+)|(며칠)"
    r"(?= ?(?:동안|이나|까지|밤|걸|간|치|씩|전|만에|[가-힣]*[?!. ]*$))(?!에|이[야에었예]|날|인[가지데]|로)"
    r"|\bhow many (?:\w+ )??(\w{3,})"
    r"(?= (?:do|does|did|are|is|was|were|can|could|will|have|has|had|should|came|come|go|in|at|of|per|for)\b|\W*$)"
)
_DAYS = "(?:하루|이틀|사흘|나흘|닷새|엿새|이레|여드레|아흐레|열흘|보름)"
_ALIKE = {
    form: "|".join(forms)
    for forms in (
        ("번", "회", "차례"),
        ("명", "인", "사람", "분"),
        ("살", "세"),
        ("달", "개월"),
        ("장", "매"),
        ("년", "해"),
        ("쪽", "페이지"),
        ("시", ":"),
        ("cm", "센티", "센치"),
        ("kg", "킬로", "키로"),
        ("밤", "박"),
    )
    for form in forms
} | {
    "분": "분|명|인",
    "센": "센|cm",
    "프": "프로|퍼|%",
    "퍼": "프로|퍼|%",
    "킬": "킬|kg|km",
    "키": "키로|킬|kg",
    "미": "미|m",
    "그": "그램|g",
    "리": "리터|l",
}
"""Korean counters that count the same."""
_COUNT = (
    r"(?:\d[\d,.]*|(?<![가-힣])[일이삼사오육칠팔구십백천만]+"
    r"|한|두|세|네|다섯|여섯|일곱|여덟|아홉|열|스무|서른|석|넉|반|몇십|수십)"
)
_COUNT_EN = r"(?:\d[\d,.]*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty|a dozen|no)"


@lru_cache(maxsize=1 << 10)
def _counted(question: str) -> re.Pattern[str] | None:
    """How a number of what a question counts looks: 몇 층 asks for "4층", "how many plots" for "38 plots"."""
    found = _UNIT.search(question.lower())
    if found is None:
        return None
    if found[2]:
        return re.compile(rf"\d+ ?[일박]|{_DAYS}|{_COUNT} ?(?:주|달|개월)")
    if found[1] == "번째":
        return re.compile(rf"{_COUNT} ?번(?:째| )|(?:첫|둘|셋|넷|다섯|여섯|일곱)째")
    if found[1]:
        return re.compile(rf"{_COUNT} ?(?:{_ALIKE.get(found[1], found[1])})")
    return re.compile(rf"(?i)\b{_COUNT_EN} (?:[\w-]+ )?{re.escape(found[3].rstrip('s'))}")


def counts(question: str, sentence: str) -> float | None:
    """How well a sentence has a number of what a question counts; None if it counts nothing."""
    form = _counted(question)
    return None if form is None else NAMED if form.search(sentence) else 0.0


WEAK = 0.6
"""How well a sentence tells what it perhaps tells."""
NAMED = 1.4
"""The same, if it also has the word for it: "the place is …"."""


def tells(kind: str, sentence: str) -> float:
    """How well a sentence has what such a question asks for, such as a date for a time, 0 not at all."""
    forms = patterns("told.tsv")
    named = forms.get(f"{kind}_named")
    if forms[kind].search(sentence):
        return NAMED if named is not None and named.search(sentence) else 1.0
    weak = forms.get(f"{kind}_weak")
    return WEAK if weak is not None and weak.search(sentence) else 0.0


def best_sentence(text: str, question: str, fit: Callable[[str], float]) -> Sentence:
    """The sentence that answers: fit says, from 0 to 1, how much of the question is in it.

    Among those that fit alike, the one that has what the question word asks for, then the first.
    """
    kinds = asked_kinds(question)

    def worth(sentence: Sentence) -> float:
        told = sum(tells(kind, sentence.text) for kind in kinds) / len(kinds) if kinds else 0.0
        return fit(sentence.text) + 0.3 * told

    return max(sentences(text), key=lambda sentence: (round(worth(sentence), 6), -sentence.start))


def example(text: str) -> Sentence | None:
    """The first example: of a session with Python, up to the next blank line, or a sentence that says it is one."""
    match = re.search(r"^[ \t]*>>> .*(?:\n[ \t]*\S.*)*", text, re.MULTILINE)
    if match is None:
        return next((one for one in sentences(text) if _FOR_EXAMPLE.search(one.text)), None)
    lines = [line.strip() for line in match.group().split("\n")]
    return Sentence("\n".join(lines), match.start(), text.count("\n", 0, match.start()))
