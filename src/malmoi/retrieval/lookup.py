"""Look-up: from a conversation to the passages that answer its last question.

Candidates come from the index by BM25 over the question's words, their synonyms and, for Korean questions, their
English; they are ordered by how much of the question each passage and its heading hold. A source is given only if its
score, the fitted probability that it answers, reaches `THRESHOLD`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge, nlargest
from itertools import count, islice, takewhile
from math import log
from typing import Any, Protocol

from malmoi.retrieval.answering import IN_PASSAGE, best_answer, emphasis, rarity
from malmoi.retrieval.fitness import THRESHOLD, Evidence, evidence
from malmoi.retrieval.follow_up import in_context, nothing_but_text, questions_of
from malmoi.retrieval.match import Bag, Fit, fit, likely
from malmoi.retrieval.names import Name, asked_parameter, likeness, name_of, uses
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import COMPARISON, Concept, Question, are_joined, language_of, only_asks
from malmoi.retrieval.sentences import Sentence, best_sentence, example, first_telling, says_what_it_does, telling_of
from malmoi.retrieval.small_talk import small_talk, without_greeting
from malmoi.retrieval.spelling import corrected, cut
from malmoi.retrieval.stem import stem
from malmoi.retrieval.tasks import Asked, asked_tasks
from malmoi.retrieval.terms import terms
from malmoi.retrieval.words import patterns

_KINDS = terms("module class function")
_PYTHON = re.compile(r"python(?:-[\d.]+)?:")
N_CANDIDATES = 100
N_READ = 30
"""Candidates with a name in their heading, and as many without, that are read: the likeliest by heading and BM25."""
N_NEAREST = 3
CLEARLY = 0.6
"""Share of a question that a sentence must hold to be shown for a name in place of the first one."""
NEAR = 0.02
"""Score from which a sentence of notes that does not answer for sure is shown as the nearest one. On the development
sets of `benchmarks.notes` it is the right one for nine of ten declined questions that the notes do answer. Passages
about names have none: what scores below `THRESHOLD` there is ten times as often off the topic as right."""
CONTEXT = 0.3
"""Weight of what an earlier question was about, in one that leans on it."""
N_COMPARED = 4
"""Concepts of a comparison among which the two names are looked for."""
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


@dataclass(frozen=True)
class Source:
    """A passage that answers. sentence: the one of it that does; line: where that begins in the file, or 0;
    score: fitted probability that the passage answers, from 0 to 1"""

    passage: Passage
    sentence: str
    line: int
    score: float

    def to_row(self) -> dict[str, Any]:
        passage = self.passage
        return {
            "file": passage.file,
            "heading": passage.heading,
            "line": self.line,
            "place": passage.place,
            "sentence": self.sentence,
            "score": round(self.score, 4),
            "document": passage.document,
        }


@dataclass(frozen=True)
class Findings:
    """What look-up found for a conversation.

    sources: that answer, best first; none if nothing does; of a comparison, the two names in its order
    nearest: titles to offer then
    small_talk: its kind, such as greeting, or "" for a question
    language: of the question, "en" or "ko"
    wanted: what is asked of a name: "parameters", "module", "example", …, of two a "comparison", or ""
    facts: of the index
    closest: what may answer, but not for sure, to offer in place of the titles
    """

    sources: tuple[Source, ...] = ()
    nearest: tuple[str, ...] = ()
    small_talk: str = ""
    language: str = "en"
    wanted: str = ""
    question: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    closest: tuple[Source, ...] = ()


class Lookup:
    """Finds what answers a conversation in an index."""

    def __init__(self, index: Searchable) -> None:
        self.index = index
        self._begins: dict[str, Candidate | None] = {}

    def find(self, messages: Sequence[Mapping[str, Any]], n: int = 3) -> Findings:
        """The n passages at most that answer the last message, which is the user's.

        messages: {"role", "content"} each; earlier questions are what a follow-up is about
        """
        text = nothing_but_text(messages[-1])
        language = language_of(text)
        if kind := small_talk(text) or small_talk(without_greeting(text)):
            return Findings(small_talk=kind, language=language, question=text, facts=self.index.facts)
        question = self._understood(messages)
        if question.wanted == COMPARISON:
            if compared := self._compared(question):
                return Findings(compared, (), "", language, COMPARISON, question.text, self.index.facts)
            question = replace(question, wanted="")
        fits = self._sources(question, max(n, N_NEAREST))
        sources = tuple(source for source in fits[:n] if source.score >= THRESHOLD)
        nearest = tuple(dict.fromkeys(title_of(source.passage) for source in fits))[:N_NEAREST]
        return Findings(
            sources=sources,
            nearest=() if sources else nearest,
            closest=() if sources else self._closest(question, fits),
            language=language,
            wanted=question.wanted,
            question=question.text,
            facts=self.index.facts,
        )

    def evidence(self, messages: Sequence[Mapping[str, Any]]) -> tuple[Evidence | None, float]:
        """What the score of the best passage about a name is made of, None if none fits or a name is unknown; and the
        score of the best note."""
        question = self._understood(messages)
        ranked = self._ranked(question)
        note = next((source.score for source in self._notes(question, ranked, 1)), 0.0)
        best = next((one for one in ranked if not is_note(one[0])), None)
        if best is None or self._asks_for_unknown(question, best[1]):
            return None, note
        return self._evidence(question, best[0], best[1]), note

    def _understood(self, messages: Sequence[Mapping[str, Any]]) -> Question:
        question = cut(corrected(in_context(questions_of(messages))[0], self.index), self.index)
        if question.wanted == COMPARISON or len(question.concepts) < 2 or question.is_of_life:
            return question
        # "What was sorted good for again?" asks for sorted alone.
        told = [concept for concept in question.concepts if not only_asks(concept)]
        names = [concept for concept in told or question.concepts if self._names_something(concept)]
        is_alone = len(names) == 1 and len(told) < 2
        return replace(question, concepts=(replace(names[0], weight=1.0),)) if is_alone else question

    def _names_something(self, concept: Concept) -> bool:
        """Whether a heading of the index is the name that a word is."""
        word = concept.word.lower()
        found = self._by_heading([word]) if word.isascii() else []
        names = (name_of(passage.heading) for passage, _, _ in found)
        return any(name is not None and likeness(word, name.name) == 1 for name in names)

    def _compared(self, question: Question) -> tuple[Source, ...]:
        """The passages about the two names that a question compares, in its order; () if it does not compare names."""
        sides: dict[str, tuple[Concept, Source]] = {}
        asks = patterns("wanted.tsv")[COMPARISON]
        compared = [concept for concept in (*question.context, *question.concepts) if not asks.search(concept.word)]
        for concept in compared[:N_COMPARED] + compared[N_COMPARED:][-1:]:
            alone = Question(concept.word, question.language, (), (replace(concept, weight=1.0),))
            ranked = self._ranked(alone)[:N_NEAREST]
            for passage, found, _ in ranked:
                name = name_of(passage.heading)
                if name is not None and _is_called(name, concept):
                    source = self._source(alone, passage, self._score(alone, passage, found))
                    sides.setdefault(name.written, (concept, source))
                    break
        if len(sides) < 2:
            return ()
        # "And json.load?" after a comparison of two others is compared with the first of them.
        own = [side for side in sides.values() if side[0] in question.concepts]
        before = [side for side in sides.values() if side not in own]
        (first, one), (second, other) = [*before[: max(0, 2 - len(own))], *own][:2]
        is_joined = first in question.context or are_joined(question.text, first.word, second.word)
        return (one, other) if is_joined else ()

    def _sources(self, question: Question, n: int) -> list[Source]:
        """The n passages that fit best: of names and of notes, each in their order, merged by score; notes first where
        one tells what only notes tell."""
        ranked = self._ranked(question)
        named = [
            self._source(question, self._shown(question, passage, number), self._score(question, passage, fit))
            for passage, fit, number in [one for one in ranked if not is_note(one[0])][:n]
        ]
        notes = self._notes(question, ranked, n)
        if question.is_of_life and notes and notes[0].score >= THRESHOLD:
            return [*notes, *named][:n]
        return list(islice(merge(named, notes, key=lambda source: -source.score), n))

    def _closest(self, question: Question, fits: Sequence[Source]) -> tuple[Source, ...]:
        """The best of what fits if it is of notes, may answer, and shares more with the question than a common verb."""
        if not fits or fits[0].score < NEAR or not is_note(fits[0].passage):
            return ()
        shared = best_answer(question, fits[0].passage, self._weights_in_notes(question)).shares
        return tuple(fits[:1]) if shared >= IN_PASSAGE else ()

    def _shown(self, question: Question, passage: Passage, number: int) -> Passage:
        """The passage to show for one that fits: where an example is wanted, or what a parameter is, the first of its
        section with one, or with a sentence about it."""
        if question.wanted not in ("example", "parameters"):
            return passage
        while number & 0xFFFFFFFF and self._is_same(passage, number - 1):
            number -= 1
        section = takewhile(lambda n: self._is_same(passage, n), count(number))
        shown = (other for other in map(self.index.passage, section) if other and _wanted_in(question, other))
        return next(shown, passage)

    def _notes(self, question: Question, ranked: Sequence[Ranked], n: int) -> list[Source]:
        """Passages of notes, ordered by the sentence that answers best."""
        weights = self._weights_in_notes(question)
        found = []
        for passage, found_fit, _ in ranked:
            if is_note(passage):
                answer = best_answer(question, passage, weights)
                if not answer.near:
                    continue
                is_unknown = self._asks_for_unknown(question, found_fit)
                line = passage.line + answer.sentence.line if passage.line else 0
                found.append(Source(passage, answer.sentence.text, line, 0.0 if is_unknown else answer.score))
        return sorted(found, key=lambda source: -source.score)[:n]

    def _weights_in_notes(self, question: Question) -> dict[Concept, float]:
        weights = {c: self._weight(question, c) for c in question.concepts}
        return weights | {c: CONTEXT * self._weight(question, c) for c in question.context if c not in weights}

    def _weight(self, question: Question, concept: Concept) -> float:
        """How much a concept counts in notes: by its place in the question, its kind and its rarity."""
        forms = [form for form, fit in concept.forms if fit >= 0.8 and form]
        forms += [form for word in concept.korean if (form := tuple(terms(word)))]
        n_with = max((min(map(self.index.document_frequency, form)) for form in forms), default=0)
        return concept.weight * emphasis(question, concept) * rarity(self.index.n_passages, n_with)

    def _ranked(self, question: Question) -> list[Ranked]:
        weights = {c: c.weight * self._idf(c) for c in question.concepts}
        context = {c: CONTEXT * c.weight * self._idf(c) for c in question.context if c not in weights}
        weights |= context
        tasks = asked_tasks(question.text, weights)
        if question.context:  # "how do I open a file?", "and close it?" no longer asks how to open it
            own = question.concepts
            tasks = {name: asked for name, asked in tasks.items() if not own or any(map(asked.found.get, own))}
        candidates = self._candidates(question, self._wanted_terms(weights, question), tasks)
        best = max((score for _, score, _ in candidates), default=0.0) or 1.0
        fits: dict[tuple[str, str] | int, Ranked] = {}
        for passage, bm25, number in _likeliest(question, candidates, weights, best, tasks):
            is_begin = not number & 0xFFFFFFFF or not self._is_same(passage, number - 1)
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
            for passage, _, number in self._by_heading(words):
                found.setdefault(number, (passage, 0.0))
        for name in nlargest(N_TASKS, (name for name in tasks if tasks[name].value >= TASK), lambda n: tasks[n].value):
            if (begin := self._begin_of(name)) is not None:
                found.setdefault(begin[2], (begin[0], 0.0))
        return [(passage, score, number) for number, (passage, score) in found.items()]

    def _begin_of(self, name: str) -> Candidate | None:
        """The first passage about a name, as programs write it; remembered, as few names are asked for so."""
        if name not in self._begins:
            called = [one for one in self._by_heading([name]) if title_of(one[0]) == name]
            self._begins[name] = min(called, key=lambda one: one[2], default=None)
        return self._begins[name]

    def _by_heading(self, words: Sequence[str]) -> list[Candidate]:
        """Passages with the words in their heading, modules, classes and functions before what is in them."""
        wanted = [term for word in words for term in terms(word)]
        is_known = any(map(self.index.document_frequency, wanted))
        return self.index.candidates([*wanted, *_KINDS], N_NAMED, HEADING) if is_known else []

    def _is_same(self, passage: Passage, number: int) -> bool:
        """Whether the passage with the number is of the same section of the same document."""
        other = self.index.passage(number)
        return other is not None and (other.document, other.heading) == (passage.document, passage.heading)

    def _idf(self, concept: Concept) -> float:
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

    def _score(self, question: Question, passage: Passage, fit: Fit) -> float:
        """The fitted probability that a passage answers; 0 if the question has a name that the index has not."""
        return 0.0 if self._asks_for_unknown(question, fit) else self._evidence(question, passage, fit).score

    def _evidence(self, question: Question, passage: Passage, fit: Fit) -> Evidence:
        return evidence(question, passage, fit, self._weights(question), self.index.n_passages)

    def _weights(self, question: Question) -> dict[Concept, float]:
        """How much each concept counts: those of an earlier question as much as its own."""
        return {c: c.weight * self._idf(c) for c in (*question.concepts, *question.context)}

    def _asks_for_unknown(self, question: Question, fit: Fit) -> bool:
        """Whether the question has a name of a program of which the index has nothing."""
        return fit.named == 0 and not all(map(self.index.document_frequency, question.strict_names))

    def _held(self, question: Question) -> Callable[[str], float]:
        """A function that says which share of the question's weight a sentence holds."""
        concepts = self._weights(question)
        total = sum(concepts.values()) or 1.0

        def held(sentence: str) -> float:
            bag = Bag(sentence)
            return sum(weight * bag.fit(concept) for concept, weight in concepts.items()) / total

        return held

    def _source(self, question: Question, passage: Passage, score: float) -> Source:
        chosen = answering_sentence(passage, question, self._held(question))
        return Source(passage, chosen.text, passage.line + chosen.line if passage.line else 0, score)


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


def answering_sentence(passage: Passage, question: Question, held: Callable[[str], float]) -> Sentence:
    """The sentence that answers; of a name that is asked for as such, the first, or the example."""
    if (shown := _wanted_in(question, passage)) is not None:
        return shown
    name = name_of(passage.heading)
    is_about = name is not None and not question.wanted and len(question.concepts) <= 1
    if is_about or (name is not None and question.wanted in ("kind", "module")):
        return first_telling(passage.text)
    best = best_sentence(passage.text, question.text, held)
    asked = {*question.names, *(concept.word.lower() for concept in question.concepts)}
    is_asked = name is not None and name.written.lower() in asked and held(best.text) < CLEARLY
    is_bare = name is not None and not question.wanted and not says_what_it_does(best.text)
    return first_telling(passage.text) if is_asked or is_bare else best


def _wanted_in(question: Question, passage: Passage) -> Sentence | None:
    """The example in a passage, or its sentence about the parameter that is asked about; None if that is not wanted."""
    if question.wanted == "example":
        return example(passage.text)
    name = name_of(passage.heading)
    if question.wanted != "parameters" or name is None or not (asked := asked_parameter(question.text, name)):
        return None
    return telling_of(asked, passage.text)


def _is_called(name: Name, concept: Concept) -> bool:
    """Whether a concept of a comparison is the name, or the last part of a common one; in Korean, by its English."""
    if concept.word.isascii():
        found = likeness(concept.word.lower(), name.name)
        return found == 1 or (found > 0 and ("." in concept.word or uses(name.name) > 0))
    return any(form == (stem(name.written.lower()),) for form, _ in concept.forms)


def is_note(passage: Passage) -> bool:
    """Whether a passage is of a text without names of programs, and not of Python's documentation."""
    return name_of(passage.heading) is None and _PYTHON.match(passage.file) is None


def title_of(passage: Passage) -> str:
    """What a passage is offered as: its name as programs write it, its heading, or its file."""
    name = name_of(passage.heading)
    return name.written if name else passage.heading or passage.file
