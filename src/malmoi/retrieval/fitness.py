"""How probably the passage that fits a question best answers it.

The weights are fitted: `python -m benchmarks.fitness` prints them, with what each threshold declines. A name that the
index does not have is declined whatever else fits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import exp, log

from malmoi.retrieval.match import Fit
from malmoi.retrieval.names import name_of
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import Concept, Question
from malmoi.retrieval.sentences import asked_kinds, sentences, tells

THRESHOLD = 0.2
WEIGHTS = {
    "coverage": 0.03, "rank": 1.38, "rarest": -0.55, "concepts": 3.03, "untold": -0.45, "corrected": -1.17,
    "prose": 0.15, "task": 0.14, "of_life": -1.61,
}  # fmt: skip
BIAS = -10.67
MANY = 4
"""Concepts from which a question does not become more certain by another."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against a passage.

    coverage: share of the question's weight that is found in the passage or its heading
    rank: what passages are ordered by
    rarest: inverse document frequency of the question's rarest concept, as a share of that of a word that is nowhere
    concepts: how many concepts the question has, as a share of `MANY`: one that fits may fit by chance
    untold: share of the kinds of answers asked for (when, who, how many) that no sentence of the passage has
    corrected: share of the question's weight that was taken for misspelt
    prose: whether the heading is not the name of a program, which much of the rank comes from
    task: how well what people do with the name is what is asked for
    of_life: whether the question asks for what notes tell and documentation does not, such as who or where
    """

    coverage: float
    rank: float
    rarest: float
    concepts: float
    untold: float
    corrected: float
    prose: float
    task: float
    of_life: float

    def values(self) -> list[float]:
        return [getattr(self, field.name) for field in fields(self)]

    @property
    def score(self) -> float:
        """The fitted probability, from 0 to 1."""
        return 1 / (1 + exp(-BIAS - sum(weight * getattr(self, name) for name, weight in WEIGHTS.items())))


def evidence(
    question: Question, passage: Passage, fit: Fit, weights: Mapping[Concept, float], n_passages: int
) -> Evidence:
    """weights: of the question's concepts, as their inverse document frequency"""
    total = sum(weights.values()) or 1.0
    return Evidence(
        coverage=fit.coverage,
        rank=fit.rank,
        rarest=max(weights.values(), default=0.0) / log(2 + 2 * n_passages),
        concepts=min(len(weights), MANY) / MANY,
        untold=_untold(question.text, passage.text),
        corrected=sum(weight for concept, weight in weights.items() if concept.is_corrected) / total,
        prose=float(name_of(passage.heading) is None),
        task=fit.task,
        of_life=float(question.is_of_life),
    )


def _untold(question: str, text: str) -> float:
    kinds = asked_kinds(question)
    if not kinds:
        return 0.0
    return sum(not any(tells(kind, sentence.text) for sentence in sentences(text)) for kind in kinds) / len(kinds)
