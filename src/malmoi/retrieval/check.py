"""Whether an answer is supported by the passages that it was made from.

A check of words, not of meaning: names, numbers and quoted text must be in the passages or in the question as they are,
most other words by their stem. A sentence may not turn what its source says into its opposite, nor leave out the middle
of what it copies.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from malmoi.retrieval.findings import Findings
from malmoi.retrieval.korean import without_ending, without_particle
from malmoi.retrieval.match import Bag
from malmoi.retrieval.names import typed_names
from malmoi.retrieval.question import unasked
from malmoi.retrieval.sentences import sentences
from malmoi.retrieval.stem import stem
from malmoi.retrieval.terms import TOKEN, terms
from malmoi.text import nfc

MIN_SHARE = 0.85
"""Share of an answer's content words that must be in the passages."""
MIN_COPIED = 5
"""So many words in a row, each pair of neighbours found in the passages, count as copied."""
_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r"[\"“]([^\"“”]{2,})[\"”]|'([^'\s][^']*)'|「([^」]+)」|`([^`]+)`")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NEGATION = re.compile(
    r"(?i)\b(?:not|no|never|none|nothing|cannot|without|neither|nor)\b|n't\b"
    r"|않|없|못|아니|말아|마세요|마십시오|안 [가-힣]"
)
_CAPITAL = re.compile(r"(?<=[a-z,;:] )[A-Z][a-z]+\b")


@dataclass(frozen=True)
class Support:
    """share: of the answer's content words that the passages or the question have, from 0 to 1
    unsupported: what is in neither, in the answer's order; contradicts: a sentence that denies what its source says
    spliced: words that were copied from two places as if they were one"""

    share: float
    unsupported: tuple[str, ...]
    is_supported: bool
    contradicts: str = ""
    spliced: str = ""

    def __bool__(self) -> bool:
        return self.is_supported


def denies(text: str) -> bool:
    """Whether a text has a word such as "not"."""
    return _NEGATION.search(nfc(text)) is not None


def is_supported(answer: str, findings: Findings, question: str) -> Support:
    """Hold an answer against the passages of its findings and the question."""
    answer = nfc(answer)
    given = "\n".join(
        f"{source.passage.heading}\n{source.passage.text}\n{source.passage.file}" for source in findings.sources
    )
    known = nfc(f"{given}\n{question}")
    literal = _missing_literally(answer, known)
    words = content_words(answer)
    bag = Bag(known)
    missing = [word for word in words if not is_known(word, bag)]
    share = 1.0 if not words else 1 - len(missing) / len(words)
    contradicts = _contradiction(answer, given)
    spliced = _spliced(
        answer, [text for source in findings.sources for text in (source.passage.heading, source.passage.text)]
    )
    broken = literal or contradicts or spliced
    supported = bool(findings.sources) and not broken and share >= MIN_SHARE
    return Support(share, tuple(dict.fromkeys([*literal, *missing])), supported, contradicts, spliced)


def _missing_literally(answer: str, known: str) -> list[str]:
    """Names, numbers and quoted text of the answer that are not in what is known."""
    together = " ".join(known.split()).lower()
    quoted = [next(filter(None, match.groups())) for match in _QUOTED.finditer(answer)]
    numbers = set(_NUMBER.findall(known))
    names = set(terms(known))
    missing = [text for text in quoted if " ".join(text.split()).lower() not in together]
    missing += [name for name in typed_names(answer) if name.lower() not in names and name.lower() not in together]
    missing += [number for number in _NUMBER.findall(answer) if number not in numbers]
    return missing + [word for word in _CAPITAL.findall(answer) if word.lower() not in together]


def content_words(answer: str) -> list[str]:
    """The words of an answer that say something, in order."""
    words = [match.group() for match in TOKEN.finditer(answer) if match.lastgroup in ("name", "paired")]
    return [word for word in words if not {word.lower(), stem(word.lower()), without_particle(word)} & unasked()]


def is_known(word: str, bag: Bag) -> bool:
    """Whether a text has a word, by its stem."""
    if "가" <= word[0] <= "힣":
        bare = {word, without_particle(word), without_ending(word)}
        return any(len(form) == 1 or form in bag.together for form in bare)
    parts = terms(word)
    return bag.terms.issuperset(parts) or (len(parts) > 1 and bag.terms.issuperset(parts[1:]))


def _contradiction(answer: str, given: str) -> str:
    """The first sentence of the answer that says the opposite of the sentence of the passages nearest to it."""
    sources = [(set(terms(part.text)), part.text) for part in sentences(given)]
    for sentence in sentences(answer):
        said = set(terms(sentence.text))
        nearest = max(sources, key=lambda source: len(said & source[0]) / (1 + len(source[0] | said)), default=None)
        if nearest is None or len(said & nearest[0]) < 0.5 * len(said):
            continue
        if bool(_NEGATION.search(sentence.text)) != bool(_NEGATION.search(nearest[1])):
            return sentence.text
    return ""


def _spliced(answer: str, given: Sequence[str]) -> str:
    """The first words of the answer that join two places of a text at words that both have: from "a to b, then b to c",
    "a to c".

    So networks err that copy: they go on after another place where the last words occur too.
    """
    texts = [_WORD.findall(nfc(text).lower()) for text in given]
    neighbours = [set(pairwise(words)) for words in texts]
    together = [f" {' '.join(words)} " for words in texts]
    for sentence in sentences(answer):
        said = _WORD.findall(sentence.text.lower())
        for pairs in neighbours:
            for row in _copied(said, pairs):
                copied = " ".join(row)
                if len(row) >= MIN_COPIED and not any(f" {copied} " in text for text in together):
                    return copied
    return ""


def _copied(words: Sequence[str], pairs: set[tuple[str, str]]) -> Iterator[list[str]]:
    """The longest rows of words of which each two neighbours are a pair."""
    row: list[str] = []
    for word in words:
        if row and (row[-1], word) not in pairs:
            yield row
            row = []
        row.append(word)
    yield row
