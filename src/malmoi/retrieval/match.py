"""How well a passage fits the concepts of a question."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from malmoi.retrieval.korean import open_syllable, without_ending, without_particle
from malmoi.retrieval.names import Name, likeness, name_of, uses
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import Concept, Question
from malmoi.retrieval.sentences import sentences
from malmoi.retrieval.terms import terms

_HANGUL = re.compile("[가-힣]+")


@dataclass(frozen=True)
class Fields:
    """What concepts are held against: the name or title, the first sentence, and all of a passage."""

    heading: "Bag"
    first: "Bag"
    text: "Bag"
    name: Name | None


class Bag:
    """The terms of a text, and its Korean words."""

    def __init__(self, text: str) -> None:
        self.terms = frozenset(terms(text))
        self.korean = _HANGUL.findall(text)
        self.together = "".join(self.korean)

    def fit(self, concept: Concept) -> float:
        """How well the concept is found here, from 0 to 1."""
        english = max((fit for form, fit in concept.forms if self.terms.issuperset(form)), default=0.0)
        return max(english, self._korean_fit(concept.korean)) if self.korean and concept.korean else english

    def _korean_fit(self, bare: Sequence[str]) -> float:
        longest = bare[0]
        for place, word in enumerate(bare):
            if len(word) > 1 and word in self.together:
                return 1.0 if place == 0 else 0.95
        if any(len(word) == 1 for word in bare):
            known = {form for word in self.korean for form in (word, without_particle(word), without_ending(word))}
            if known & set(bare):
                return 0.8
            if {open_syllable(word) for word in known} & {open_syllable(word) for word in bare if len(word) == 1}:
                return 0.6
        pairs = [longest[start : start + 2] for start in range(len(longest) - 1)]
        share = sum(pair in self.together for pair in pairs) / len(pairs) if len(pairs) > 1 else 0.0
        return 0.6 * share if share >= 0.5 else 0.0


@lru_cache(maxsize=1 << 12)
def fields_of(passage: Passage) -> Fields:
    name = name_of(passage.heading)
    heading = f"{name.written} {name.name}" if name else f"{passage.heading} {passage.place}"
    first = next((sentence.text for sentence in sentences(passage.text)), "")
    return Fields(Bag(heading), Bag(first), Bag(passage.text), name)


@dataclass(frozen=True)
class Fit:
    """How well one passage fits a question.

    coverage: share of the question's weight that is found in the passage or its heading
    heading, first: the same for the heading alone, and for the first sentence
    named: how well a name in the question is the one in the heading
    told: share of the heading's last part that the question names
    """

    coverage: float
    heading: float
    first: float
    named: float
    told: float
    used: float
    bm25: float
    is_begin: bool

    @property
    def rank(self) -> float:
        """What passages are ordered by."""
        return (
            2.0 * self.coverage
            + 0.9 * self.heading
            + 0.9 * self.first
            + 4.0 * self.named
            + 0.5 * self.told
            + 0.06 * self.used
            + 0.4 * self.bm25
            + 0.2 * self.is_begin
        )


def fit(question: Question, passage: Passage, weights: Mapping[Concept, float], bm25: float, is_begin: bool) -> Fit:
    """weights: how much each concept counts, as its inverse document frequency; bm25: from 0 to 1 of the best"""
    fields = fields_of(passage)
    total = sum(weights.values()) or 1.0
    heading = first = covered = 0.0
    for concept, weight in weights.items():
        in_heading, in_first = fields.heading.fit(concept), fields.first.fit(concept) if is_begin else 0.0
        heading += weight * in_heading
        first += weight * in_first
        covered += weight * max(in_heading, in_first, fields.text.fit(concept))
    return Fit(
        coverage=covered / total,
        heading=heading / total,
        first=first / total,
        named=_named(question, fields.name),
        told=_told(fields.name, tuple(weights)),
        used=uses(fields.name.name) if fields.name else 0.0,
        bm25=bm25,
        is_begin=is_begin,
    )


def _named(question: Question, name: Name | None) -> float:
    if name is None:
        return 0.0
    typed = max((likeness(asked, name.name) for asked in question.names), default=0.0)
    if not question.names and len(question.concepts) <= 2:
        return max((likeness(concept.word.lower(), name.name) for concept in question.concepts), default=0.0)
    return typed


def _told(name: Name | None, concepts: Sequence[Concept]) -> float:
    """Share of the last part of a name, as words, that the concepts are."""
    if name is None:
        return 0.0
    last = Bag(name.written.rsplit(".", 1)[-1])
    return max((last.fit(concept) for concept in concepts), default=0.0)
