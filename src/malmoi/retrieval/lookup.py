"""Look-up: from a conversation to the passages that answer its last question.

A passage that fits (`ranking.py`) is given as a source only if its score, the fitted probability that it answers,
reaches `THRESHOLD`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from itertools import count, islice, takewhile
from typing import Any

from malmoi.retrieval.answering import IN_PASSAGE, best_answer, emphasis, rarity
from malmoi.retrieval.findings import Findings, Source, is_note, title_of
from malmoi.retrieval.fitness import THRESHOLD, Evidence, evidence
from malmoi.retrieval.follow_up import in_context, nothing_but_text, questions_of
from malmoi.retrieval.match import Bag, Fit
from malmoi.retrieval.names import Name, asked_parameter, likeness, name_of, uses
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import COMPARISON, Concept, Question, are_joined, language_of, only_asks
from malmoi.retrieval.ranking import CONTEXT, Ranked, Ranking, Searchable
from malmoi.retrieval.sentences import Sentence, best_sentence, example, first_telling, says_what_it_does, telling_of
from malmoi.retrieval.small_talk import small_talk, without_greeting
from malmoi.retrieval.spelling import corrected, cut
from malmoi.retrieval.stem import stem
from malmoi.retrieval.terms import terms
from malmoi.retrieval.words import patterns

N_NEAREST = 3
CLEARLY = 0.6
"""Share of a question that a sentence must hold to be shown for a name in place of the first one."""
NEAR = 0.02
"""Score from which a sentence of notes that does not answer for sure is shown as the nearest one. On the development
sets of `benchmarks.notes` it is the right one for nine of ten declined questions that the notes do answer. Passages
about names have none: what scores below `THRESHOLD` there is ten times as often off the topic as right."""
N_COMPARED = 4
"""Concepts of a comparison among which the two names are looked for."""


class Lookup:
    """Finds what answers a conversation in an index."""

    def __init__(self, index: Searchable) -> None:
        self.index, self._ranking = index, Ranking(index)

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
        ranked = self._ranking.ranked(question)
        note = next((source.score for source in self._notes(question, ranked, 1)), 0.0)
        best = next((one for one in ranked if not is_note(one[0])), None)
        if best is None or self._asks_for_unknown(question, best[1]):
            return None, note
        return self._evidence(question, best[0], best[1]), note

    def _understood(self, messages: Sequence[Mapping[str, Any]]) -> Question:
        question = cut(corrected(in_context(questions_of(messages))[0], self.index), self.index)
        if question.wanted == COMPARISON or len(question.concepts) < 2 or question.is_of_life:
            return question
        # "What was sorted good for again?" asks only for sorted.
        told = [concept for concept in question.concepts if not only_asks(concept)]
        names = [concept for concept in told or question.concepts if self._names_something(concept)]
        is_alone = len(names) == 1 and len(told) < 2
        return replace(question, concepts=(replace(names[0], weight=1.0),)) if is_alone else question

    def _names_something(self, concept: Concept) -> bool:
        """Whether a heading of the index is the name that a word is."""
        word = concept.word.lower()
        found = self._ranking.by_heading([word]) if word.isascii() else []
        names = (name_of(passage.heading) for passage, _, _ in found)
        return any(name is not None and likeness(word, name.name) == 1 for name in names)

    def _compared(self, question: Question) -> tuple[Source, ...]:
        """The passages about the two names that a question compares, in its order; () if it does not compare names."""
        sides: dict[str, tuple[Concept, Source]] = {}
        asks = patterns("wanted.tsv")[COMPARISON]
        compared = [concept for concept in (*question.context, *question.concepts) if not asks.search(concept.word)]
        for concept in compared[:N_COMPARED] + compared[N_COMPARED:][-1:]:
            alone = Question(concept.word, question.language, (), (replace(concept, weight=1.0),))
            ranked = self._ranking.ranked(alone)[:N_NEAREST]
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
        ranked = self._ranking.ranked(question)
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
        while number & 0xFFFFFFFF and self._ranking.is_same(passage, number - 1):
            number -= 1
        section = takewhile(lambda n: self._ranking.is_same(passage, n), count(number))
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

    def _score(self, question: Question, passage: Passage, fit: Fit) -> float:
        """The fitted probability that a passage answers; 0 if the question has a name that the index has not."""
        return 0.0 if self._asks_for_unknown(question, fit) else self._evidence(question, passage, fit).score

    def _evidence(self, question: Question, passage: Passage, fit: Fit) -> Evidence:
        return evidence(question, passage, fit, self._weights(question), self.index.n_passages)

    def _weights(self, question: Question) -> dict[Concept, float]:
        """How much each concept counts: those of an earlier question as much as its own."""
        return {c: c.weight * self._ranking.idf(c) for c in (*question.concepts, *question.context)}

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
