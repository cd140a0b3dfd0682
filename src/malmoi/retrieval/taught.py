"""Answers that people taught: found again for the question that they were written for, and for its rewordings.

A taught question is the same as another one if each holds what the other asks for. Both ways count: "When does the
library open?" holds all of "When does it open?", but not of "When does the museum open?".
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from malmoi.retrieval.answering import LIGHT, emphasis
from malmoi.retrieval.follow_up import in_context, questions_of
from malmoi.retrieval.lookup import Source
from malmoi.retrieval.match import Bag
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import Concept, Question, understand
from malmoi.retrieval.sentences import asked_kinds
from malmoi.text import nfc

SAME = 0.52
"""From here on two questions are taken to be the same."""
FOUND = 0.45
"""A concept that fits less is missing."""
STEM = 0.8
"""How well a Korean word is found that begins with a word of the other question."""
IN_ANSWER = 0.6
"""How well a concept is found that only the taught answer holds."""


@dataclass(frozen=True)
class Taught:
    """An answer that a person wrote to a question. person: the name; time: when, in ISO 8601"""

    id: str
    question: str
    answer: str
    person: str = ""
    time: str = ""

    @cached_property
    def understood(self) -> Question:
        return understand(self.question)

    @cached_property
    def bag(self) -> Bag:
        return Bag(self.question)

    @cached_property
    def answer_bag(self) -> Bag:
        return Bag(self.answer)

    def source(self, score: float) -> Source:
        """As what an answer comes from: its file is the person."""
        passage = Passage(self.answer, self.person, self.question, 0, self.time, self.id)
        return Source(passage, self.answer, 0, score)


def find_taught(
    taught: Sequence[Taught], messages: Sequence[Mapping[str, Any]], weight: Callable[[Concept], float] = lambda _: 1.0
) -> tuple[Taught, float] | None:
    """The taught answer to the last question, the latest of the best, with its likeness; None if there is none.

    weight: how rare a concept is
    """
    asked_texts = questions_of(messages)
    if not asked_texts or not taught:
        return None
    asked, leans_on = in_context(asked_texts)
    plain = _plain(asked_texts[-1])
    best: tuple[Taught, float] | None = None
    for one in taught:
        # A question that leans on the one before it means something else there.
        is_said = not leans_on and plain == _plain(one.question)
        score = 1.0 if is_said else likeness(asked, one, weight)
        if score >= SAME and (best is None or score >= best[1]):
            best = one, score
    return best


def likeness(asked: Question, taught: Taught, weight: Callable[[Concept], float] = lambda _: 1.0) -> float:
    """How much two questions ask for the same, from 0 to 1."""
    other = taught.understood
    kinds, other_kinds = {*asked_kinds(asked.text)}, {*asked_kinds(other.text)}
    if kinds and other_kinds and not kinds & other_kinds:
        return 0.0
    if {*asked.names, *asked.context_names} != {*other.names} and (asked.strict_names or other.strict_names):
        return 0.0
    if asked.wanted != other.wanted:
        return 0.0
    concepts = (*asked.concepts, *asked.context)
    if not concepts or not other.concepts:
        return 0.0
    asked_bag = Bag(" ".join((asked.text, *(concept.word for concept in asked.context))))
    shared = kinds & other_kinds

    def in_taught(concept: Concept) -> float:
        return max(_fit(concept, taught.bag, other.concepts, shared), IN_ANSWER * taught.answer_bag.fit(concept))

    there = _share(asked, concepts, in_taught, weight)
    back = _share(other, other.concepts, lambda concept: _fit(concept, asked_bag, concepts, shared), weight)
    return 2 * there * back / (there + back) if there and back else 0.0


def _fit(concept: Concept, there: Bag, others: Sequence[Concept], kinds: Collection[str]) -> float:
    """How well a concept is found in the other question: also as its stem ("급식비" and "급식"), or as the kind of
    answer that both ask for ("price" and "how much"). kinds: those"""
    if kinds and {*asked_kinds(concept.word)} & {*kinds}:
        return 1.0
    stems = (form for other in others for form in other.korean if len(form) > 1)
    begins = any(form.startswith(stem) for stem in stems for form in concept.korean)
    return max(there.fit(concept), STEM * begins)


def _share(
    question: Question, concepts: Sequence[Concept], fit: Callable[[Concept], float], weight: Callable[[Concept], float]
) -> float:
    """Share of a question's weight that is found; if anything but a light word is missing, half of it."""
    weights = {c: weight(c) * c.weight * emphasis(question, c) for c in concepts}
    heaviest = max(weights.values()) or 1.0
    fits = {c: fit(c) for c in concepts}
    total = sum(weights.values()) or 1.0
    found = sum(value * fits[c] for c, value in weights.items()) / total
    is_missing = any(fits[c] < FOUND and value > 1.01 * LIGHT * heaviest for c, value in weights.items())
    return found * (0.5 if is_missing else 1.0)


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in nfc(text).lower()).split())
