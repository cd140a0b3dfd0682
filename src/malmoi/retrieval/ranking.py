"""Which passages of an index fit a question, the best first.

Candidates come from the index by BM25 over the question's words, their synonyms and, for Korean questions, their
English; they are ordered by how much of the question each passage and its heading hold.
"""

from collections.abc import Mapping, Sequence
from heapq import nlargest
from math import log
from typing import Any, Protocol

from malmoi.retrieval.findings import is_note, title_of
from malmoi.retrieval.match import Fit, fit, likely
from malmoi.retrieval.names import name_of
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import Concept, Question
from malmoi.retrieval.tasks import Asked, asked_tasks
from malmoi.retrieval.terms import terms

_KINDS = terms("module class function")
N_CANDIDATES = 100
N_READ = 30
"""Candidates with a name in their heading, and as many without, that are read: the likeliest by heading and BM25."""
CONTEXT = 0.3
"""Weight of what an earlier question was about, in one that leans on it."""
N_NAMED = 30
N_TASKS = 8
TASK = 0.25
"""Names whose tasks are most likely asked for, and how likely at least, that are read whatever their words."""
HEADING = 3.0
"""Weight of BM25 over headings, added to that over heading and text, where a name is looked for."""


Candidate = tuple[Passage, float, int]
"""A passage, its BM25 score and its number."""
Ranked = tuple[Passage, Fit, int]
"""A passage, how well it fits, and its number."""


class Searchable(Protocol):
    """What look-up needs of an index; see `malmoi.retrieval.index.Index`."""

    n_passages: int
    facts: Mapping[str, Any]

    def candidates(
        self, wanted: Sequence[str] | Mapping[str, float], n: int, heading: float = 0.0, *, others: bool = False
    ) -> list[Candidate]: ...

    def passage(self, number: int) -> Passage | None: ...

    def document_frequency(self, term: str) -> int: ...

    def similar(self, term: str, distance: int, n: int) -> list[str]: ...


class Ranking:
    """Finds and orders the passages of an index."""

    def __init__(self, index: Searchable) -> None:
        self.index = index
        self._begins: dict[str, Candidate | None] = {}

    def ranked(self, question: Question) -> list[Ranked]:
        """The passages that are worth reading, the one that fits best first; of a name only its best."""
        weights = {c: c.weight * self.idf(c) for c in question.concepts}
        context = {c: CONTEXT * c.weight * self.idf(c) for c in question.context if c not in weights}
        weights |= context
        tasks = asked_tasks(question.text, weights)
        if question.context:  # "how do I open a file?", "and close it?" no longer asks how to open it
            own = question.concepts
            tasks = {name: asked for name, asked in tasks.items() if not own or any(map(asked.found.get, own))}
        candidates = self._candidates(question, self._wanted_terms(weights, question), tasks)
        best = max((score for _, score, _ in candidates), default=0.0) or 1.0
        fits: dict[tuple[str, str] | int, Ranked] = {}
        for passage, bm25, number in _likeliest(question, candidates, weights, best, tasks):
            is_begin = not number & 0xFFFFFFFF or not self.is_same(passage, number - 1)
            found = fit(question, passage, weights, bm25 / best, is_begin, tasks)
            key = number if is_note(passage) else (passage.document, passage.heading)
            if key not in fits or fits[key][1].rank < found.rank:
                fits[key] = (passage, found, number)
        # A question that is nothing but a name asks for that name, before what people do with others.
        is_name = len(question.concepts) == 1
        return sorted(fits.values(), key=lambda one: (not (is_name and one[1].named == 1), -one[1].rank))

    def _candidates(
        self, question: Question, wanted: Mapping[str, float], tasks: Mapping[str, Asked]
    ) -> list[Candidate]:
        """Passages for all words; for names, and for a question of one word, also those with it in their heading; and
        the names whose tasks are likely to be asked for."""
        if not wanted:
            return []
        # Of few passages all are read: a verb may be there in a form that shares no term with the question.
        is_few = self.index.n_passages <= N_CANDIDATES
        best = self.index.candidates(wanted, N_CANDIDATES, others=is_few)
        found = {number: (passage, score) for passage, score, number in best if score or is_note(passage)}
        words = [*question.names, *(question.concepts[0].word.lower() for _ in question.concepts[:1])]
        if question.names or len(question.concepts) == 1:
            for passage, _, number in self.by_heading(words):
                found.setdefault(number, (passage, 0.0))
        for name in nlargest(N_TASKS, (name for name in tasks if tasks[name].value >= TASK), lambda n: tasks[n].value):
            if (begin := self._begin_of(name)) is not None:
                found.setdefault(begin[2], (begin[0], 0.0))
        return [(passage, score, number) for number, (passage, score) in found.items()]

    def _begin_of(self, name: str) -> Candidate | None:
        """The first passage about a name, as programs write it; remembered, as few names are asked for so."""
        if name not in self._begins:
            called = [one for one in self.by_heading([name]) if title_of(one[0]) == name]
            self._begins[name] = min(called, key=lambda one: one[2], default=None)
        return self._begins[name]

    def by_heading(self, words: Sequence[str]) -> list[Candidate]:
        """Passages with the words in their heading, modules, classes and functions before what is in them."""
        wanted = [term for word in words for term in terms(word)]
        is_known = any(map(self.index.document_frequency, wanted))
        return self.index.candidates([*wanted, *_KINDS], N_NAMED, HEADING) if is_known else []

    def is_same(self, passage: Passage, number: int) -> bool:
        """Whether the passage with the number is of the same section of the same document."""
        other = self.index.passage(number)
        return other is not None and (other.document, other.heading) == (passage.document, passage.heading)

    def idf(self, concept: Concept) -> float:
        """The inverse document frequency of a concept by its most common full form; high if it is nowhere."""
        n = max(1, self.index.n_passages)
        counts = [min(map(self.index.document_frequency, form)) for form, fit in concept.forms if fit >= 0.8 and form]
        counts += [min(map(self.index.document_frequency, terms(word))) for word in concept.korean[:1] if terms(word)]
        n_with = max(counts, default=0)
        return log(1 + (n - n_with + 0.5) / (n_with + 0.5))

    def _wanted_terms(self, weights: Mapping[Concept, float], question: Question) -> dict[str, float]:
        wanted: dict[str, float] = {}
        total = sum(weights.values()) or 1.0
        for concept, weight in weights.items():
            parts = [(term, fit / len(form)) for form, fit in concept.forms for term in form]
            pairs = terms(concept.korean[0]) if concept.korean else []
            parts += [(term, 1.0 / len(pairs)) for term in pairs]
            parts += [(term, 0.8 / len(pairs)) for word in concept.also for pairs in [terms(word)] for term in pairs]
            parts += [(term, 0.5 / len(form)) for form in concept.everyday for term in form]
            for term, share in parts:
                wanted[term] = max(wanted.get(term, 0.0), share * (0.2 + weight / total))
        for name in (*question.names, *question.context_names):
            for term in terms(name):
                wanted[term] = max(wanted.get(term, 0.0), 1.0)
        return {term: weight for term, weight in wanted.items() if weight > 0}


def _likeliest(
    question: Question,
    candidates: Sequence[Candidate],
    weights: Mapping[Concept, float],
    best: float,
    tasks: Mapping[str, Asked],
) -> list[Candidate]:
    """The candidates to be read, in the order of the candidates. best: the BM25 score of the best"""
    chosen: list[int] = []
    for has_name in (True, False):
        places = [
            i for i, (passage, _, _) in enumerate(candidates) if (name_of(passage.heading) is not None) == has_name
        ]
        if len(places) > N_READ:
            guesses = {i: likely(question, candidates[i][0], weights, candidates[i][1] / best, tasks) for i in places}
            places = sorted(places, key=lambda i: -guesses[i])[:N_READ]
        chosen += places
    return [candidates[i] for i in sorted(chosen)]
