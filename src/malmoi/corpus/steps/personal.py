"""Personal data: found by patterns with checks and by the words before it, and masked or counted.

Known: e-mail, also as people hide it from machines; telephone numbers (Korean, American, with a country's code or the 0
of a country, others next to a word that says so); payment cards; IP addresses; Korean resident and foreigner
registration numbers; business and corporate registration numbers; bank accounts (IBAN by its check digits, others next
to a bank or a word that says so); passports and driving licences next to such a word or by their form. Names and postal
addresses are not found.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from malmoi.corpus.steps.personal_forms import HIDDEN, KINDS, MASKS, ONE_DIGIT, STARTS, WIDE, Kind
from malmoi.corpus.steps.personal_named import Taken, find_listed, find_named, is_numbered, is_section

_MAY_HAVE = re.compile(r"\d[^\w\n]{0,2}\d|@|<<|\+\d|[A-Z]\d|:[0-9a-fA-F]{0,4}:")


def find_personal(text: str) -> list[tuple[int, int, str]]:
    """(start, end, kind) of what is personal, in order; of two that overlap the first kind counts."""
    if not text.isascii() and WIDE.search(text):
        text = text.translate(ONE_DIGIT)
    lower = text.lower()
    if len(lower) != len(text):  # a few letters become two
        lower = "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)
    if not _MAY_HAVE.search(text) and not HIDDEN.search(text):
        return []
    taken = Taken(len(text))
    starts = [match.start() for match in STARTS.finditer(text)]
    missing = {id(may) for may in {kind.may for kind in KINDS if kind.may} if not may.search(text)}
    for kind in KINDS:
        if id(kind.may) in missing or (kind.words and not any(word in lower for word in kind.words)):
            continue
        if starts or not kind.at_start:
            _take(kind, text, lower, starts, taken)
    find_listed(text, lower, taken)
    find_named(text, lower, starts, taken)
    return sorted(taken.found)


def _take(kind: Kind, text: str, lower: str, starts: list[int], taken: Taken) -> None:
    """Add what there is of one kind, but where something was found already."""
    matches: Iterable[re.Match[str]]
    if kind.anchor:
        matches = _at(kind.pattern, text, [match.start() - 2 for match in kind.anchor.finditer(text)])
    else:
        matches = _at(kind.pattern, text, starts) if kind.at_start else kind.pattern.finditer(text)
    group = "it" if "it" in kind.pattern.groupindex else 0
    for match in matches:
        start, end = match.span(group)
        is_free = taken.is_free(start, end) and kind.is_one(match[group])
        is_other = is_section if kind.name == "IP address" else is_numbered
        if is_free and not ((kind.may_be_numbered or is_other is is_section) and is_other(lower, start)):
            taken.add(start, end, kind.name)


def _at(pattern: re.Pattern[str], text: str, starts: list[int]) -> Iterator[re.Match[str]]:
    for start in starts:
        match = pattern.match(text, start)
        if match:
            yield match


def masked(text: str) -> tuple[str, Counter[str]]:
    """The text with masks in place of personal data, and how many of each kind there were."""
    parts, at, counts = [], 0, Counter[str]()
    for start, end, kind in find_personal(text):
        parts += [text[at:start], MASKS[kind]]
        counts[kind] += 1
        at = end
    return "".join([*parts, text[at:]]), counts
