"""Answers that people taught: found again for the question that they were written for, and for its rewordings.

A taught question is the same as another one if each holds what the other asks for. Both ways count: "When does the
library open?" holds all of "When does it open?", but not of "When does the museum open?". Words may differ where
everyday words stand for one another (`words/same.tsv`), and words that only shape a question do not count.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from math import exp
from typing import Any

from malmoi.retrieval import apart
from malmoi.retrieval.answering import STRICT, emphasis
from malmoi.retrieval.apart import are_initials, common, is_misspelt, is_short_for
from malmoi.retrieval.check import denies
from malmoi.retrieval.findings import Source
from malmoi.retrieval.follow_up import in_context, questions_of
from malmoi.retrieval.match import Bag
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import COMPARISON, Concept, Question, understand
from malmoi.retrieval.sentences import asked_in_notes, asked_kinds, counts, tells
from malmoi.retrieval.words import word_table
from malmoi.text import nfc

SAME = 0.63
"""From this probability on two questions are taken to be the same."""
SIMILAR = 0.2
"""From this one on, a taught answer is offered where nothing answers for sure: on the development sets of
`benchmarks.rewordings` the right one for half of the rewordings that are not answered, and one for a sixth of the other
questions."""
EVIDENCE = {
    "here": 5.62, "there": 4.25, "heaviest": 3.32, "lacks": -0.87, "left_out": -1.09, "shared": 0.94,
    "otherwise": -0.02, "against": -2.74, "unanswered": -1.54, "added": -1.04, "sibling": -2.21, "denied": -1.43,
    "asked": -2.09, "wanted": -2.5, "verbatim": -3.58,
}  # fmt: skip
"""Weights of what the probability is made of, fitted by `python -m benchmarks.rewordings --fit`; see `evidence`."""
BIAS = -7.22
SLIGHT = 0.3
"""A missing word of this weight or less ("today") makes no other question."""
FOUND = 0.45
"""A concept that fits less is missing."""
STEM = 0.8
"""How well a Korean word is found that begins with a word of the other question."""
IN_ANSWER = 0.6
"""How well a concept is found that only the taught answer holds."""
MEANS_THE_SAME = 0.9
"""How well a word is found that everyday questions use for another one."""
THING = "thing"
"""Kind of what is asked for with only "what"."""
FRAMING = "framing"
KIN = 5
"""Letters that two English words begin with alike, from which on they are kin: member, membership."""
EXCLUDES = {"reason": ("manner", "time"), "manner": ("reason", "time", "number", "money"), "person": ("manner",)}
"""Kinds of answers that are not each other's: how to do it is no reason."""


class TaughtSource(Source):
    """A taught answer as what an answer comes from: its file is the person, its heading the question."""

    def to_row(self) -> dict[str, Any]:
        return super().to_row() | {"person": self.passage.file, "time": self.passage.place}


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

    def source(self, score: float) -> TaughtSource:
        passage = Passage(self.answer, self.person, self.question, 0, self.time, self.id)
        return TaughtSource(passage, self.answer, 0, score)


def find_taught(
    taught: Sequence[Taught], messages: Sequence[Mapping[str, Any]], weight: Callable[[Concept], float] = lambda _: 1.0,
    least: float = SAME,
) -> tuple[Taught, float] | None:  # fmt: skip
    """The taught answer to the last question, the latest of the best, with its likeness; None if there is none.

    weight: how rare a concept is; least: how like it at least; from `SAME` on it answers
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
        if score >= least and (best is None or score >= best[1]):
            best = one, score
    return best


def likeness(asked: Question, taught: Taught, weight: Callable[[Concept], float] = lambda _: 1.0) -> float:
    """The probability that two questions ask for the same."""
    found = evidence(asked, taught, weight)
    return 0.0 if found is None else 1 / (1 + exp(-BIAS - sum(EVIDENCE[name] * value for name, value in found.items())))


def evidence(
    asked: Question, taught: Taught, weight: Callable[[Concept], float] = lambda _: 1.0
) -> dict[str, float] | None:
    """What speaks for and against two questions asking for the same, each from 0 to 1; None if they cannot.

    here, there: share of the weight of the question, and of the taught one, that the other one holds
    heaviest: weight of the weightiest word of the question that is missing, as a share of its weightiest. It speaks for
        the same: a thing has many names, and who asks for something else about it calls it as before
    lacks, left_out: whether a word of the question, of the taught one, is missing
    shared, otherwise, against: whether both ask for one kind of answer, for kinds that may be the same, for others
    unanswered: how surely the taught answer has nothing of the kind that is asked for
    added: the same as heaviest, where the question has all of the taught one and more: it asks for a part, or beside it
    sibling: whether they name different things of one kind: Sundays and Wednesdays, a cat and a dog
    denied: whether they have the same words and one of them denies
    asked, wanted: whether what the question, the taught one asks for by name is missing in the other one, and they ask
        for no common kind of answer
    verbatim: how surely they are said in the same words, but for those that only one of them has, or a denial
    """
    other = taught.understood
    if {*asked.names, *asked.context_names} != {*other.names} and (asked.strict_names or other.strict_names):
        return None
    if asked.wanted != other.wanted and (asked.names or other.names or COMPARISON in (asked.wanted, other.wanted)):
        return None
    text = " ".join((asked.text, *(concept.word for concept in asked.context)))
    here = _Side(asked, text, (*asked.concepts, *asked.context), weight)
    there = _Side(other, other.text, other.concepts, weight)
    kinds, other_kinds = _kinds(asked.text), _kinds(other.text)
    shared = kinds & other_kinds
    if (apart.BY_WORD & kinds) ^ (apart.BY_WORD & other_kinds) and not apart.BY_WORD & shared:
        shared = set()  # "Who changes the number?" is not "What is the number?"
    said = here.found_in(there, taught.bag, shared)
    found = {concept: max(fit, IN_ANSWER * taught.answer_bag.fit(concept)) for concept, fit in said.items()}
    known = there.found_in(here, Bag(text), shared)
    if max(found.values(), default=0.0) < FOUND or max(known.values(), default=0.0) < FOUND:
        return None
    differ = bool(kinds and other_kinds and not shared)
    may_be = (
        differ and _may_be(kinds, other_kinds) and not _asks_for_a_thing(asked.text, kinds, other.text, other_kinds)
    )
    return {
        "here": here.share(found),
        "there": there.share(known),
        "heaviest": here.heaviest_missing(found),
        "lacks": float(here.missing(found)),
        "left_out": float(there.missing(known)),
        "shared": float(bool(shared)),
        "otherwise": float(may_be),
        "against": float(differ and not may_be),
        "unanswered": _unanswered(asked.text, taught.answer),
        "added": 0.0 if there.missing(known) or not here.missing(found) else here.heaviest_missing(found),
    } | _apart(here, there, said, known, bool(shared))


def _apart(
    here: "_Side", there: "_Side", said: Mapping[Concept, float], known: Mapping[Concept, float], shares_kind: bool
) -> dict[str, float]:
    """What says that two questions ask for different things; see `malmoi.retrieval.apart`."""
    lacking = [concept for concept, fit in said.items() if fit < FOUND]
    unknown = [concept for concept, fit in known.items() if fit < FOUND]
    weighty = any(here.weights[c] > SLIGHT for c in lacking) or any(there.weights[c] > SLIGHT for c in unknown)
    denied = not lacking and not unknown and denies(here.text) != denies(there.text)
    ours, theirs = ([concept.word for concept in concepts] for concepts in (lacking, unknown))
    return {
        "sibling": float(apart.are_siblings(here.text, there.text)),
        "denied": float(denied),
        "asked": float(not shares_kind and apart.asks_for(here.text, ours)),
        "wanted": float(not shares_kind and apart.asks_for(there.text, theirs)),
        "verbatim": apart.verbatim(here.text, there.text, ours, theirs) if weighty or denied else 0.0,
    }


def _unanswered(question: str, answer: str) -> float:
    """How surely an answer lacks what a question asks for: no time is in it, no number, no amount of money."""
    if not any(c.isalnum() for c in answer):
        return 0.0
    counted = counts(question, answer)
    if counted is not None:
        return 0.0 if counted else STRICT["counted"]
    return max((STRICT.get(kind, 0.0) for kind in asked_in_notes(question) if not tells(kind, answer)), default=0.0)


def _kinds(text: str) -> set[str]:
    """The kinds of answers that are asked for; "manner": how something is done."""
    kinds = {*asked_kinds(text)} | ({"manner"} if _MANNER.search(text) else set())
    if _SPAN.search(text):
        kinds.add("time")
    if kinds & {"time", "money"}:  # "how long" and "how much" ask for different numbers
        kinds.discard("number")
    if {"person", "place", "manner"} & kinds and _CALLING.search(text):  # where to call is whom to call
        kinds |= {"person", "place"}
    if {"person", "place"} & kinds and _HOLDING.search(text):  # where to get something is who has it
        kinds.add("holder")
    if _MUCH.search(text):
        kinds.add("number")
    if _CAUSE.search(text):
        kinds.add("reason")
    if _SPOT.search(text):
        kinds.add("place")
    return kinds or ({THING} if _THING.search(text) else set())


_MANNER = re.compile(
    r"(?i)\bhow (?:do|can|could|should|to|is|are|does)\b"
    r"|\bwhat (?:do|should|must|can) (?:i|we|you|one) (?:have to )?do\b|\bprocedure\b|\b(?:what|which) command\b"
    r"|어떻게(?! ?[되돼됩된])|방법|하려면|하는 ?법|어떡|절차|명령어|[을는] ?법(?:이|은|을|$| )|뭘 ?(?:실행|눌러|입력)"
)
"""거리가 어떻게 돼요 asks for the distance, not how something is done."""


_SPAN = re.compile(
    r"(?i)\bhow many (?:minutes|hours|days|weeks|months|years)\b|몇 ?(?:시간|분|주|달|개월|년)(?![가-힣])"
    r"|\bhow many times (?:a|an|per|each|every) |\bhow frequent"
    r"|\b(?:which|what) (?:days?|dates?|months?|years?|hours)\b"
    r"|\b(?:interval|period|until what)\b|몇 ?(?:달|주|일|년|시간)에 ?한|며칠에 ?한|얼마 ?만에|주기"
    r"|얼마나 ?(?:됐|되었|지났|오래)|\bhours\b|\bwhat was the date\b|날짜"
)
_CAUSE = re.compile(r"(?i)\bhow come\b|까닭|원인")
_SPOT = re.compile(r"(?i)\bin which\b|[는둔] ?(?:곳|데)(?:[이은을 ]|$)|정류장|정거장")
_HOLDING = re.compile(
    r"(?i)\bwho (?:has|have|had|keeps?|holds?)\b|\bwhere (?:can|do|could) \w+ get\b"
    r"|누구?가? ?(?:갖|가지|보관)|받아|빌려"
)
_THING = re.compile(r"(?i)\b(?:what|which)\b|뭐|뭘|무엇|무슨|어떤|어느|어떻게 ?[되돼됩된]")
_CALLING = re.compile(
    r"(?i)\b(?:call|phone|contact|ring|ask|turn to|tell|report|notify|inform)\b"
    r"|전화|연락|문의|물어|신고|알려야|알리"
)
_MUCH = re.compile(
    r"(?i)\b(?:number of|amount|maximum|minimum|capacity|quantity|distance)\b"
    r"|얼마(?:나|씩|만큼)|거리|인원|[가-힣] 수[가는]"
)


def _may_be(kinds: Collection[str], others: Collection[str]) -> bool:
    """Whether kinds of two questions may be the same although they are called otherwise."""
    if THING in kinds or THING in others:  # "What is the capacity?" asks for a number
        return True
    return not any(
        b in EXCLUDES.get(a, ()) or a in EXCLUDES.get(b, ()) or "manner" not in (a, b) for a in kinds for b in others
    )


def _asks_for_a_thing(one: str, kinds: Collection[str], other: str, others: Collection[str]) -> bool:
    """Whether one of two questions asks for a thing that can be no answer to the other: what to bring, when to come."""
    for text, own, theirs in ((one, kinds, others), (other, others, kinds)):
        if THING in own and not {"manner", THING} & {*theirs}:
            if _DEED_OF_THING.search(text) and not _PRICED.search(text):
                return True
            if "person" in theirs and not {"place", "number"} & {*theirs} and not _NAMED.search(text):
                return True
    return False


_DEED_OF_THING = re.compile(
    r"(?i)\bwhat (?:do|does|did|can|could|may|should|must|will|would)\b"
    r"|뭘|무엇을|(?<![가-힣])뭐 ?(?![예에인죠야임지였더래]|$)[가-힣]"
)
_PRICED = re.compile(r"(?i)\b(?:cost|pay|charge)|내야|내나|드[나는]")
_NAMED = re.compile(r"(?i)\b(?:name|call)|이름|성함")


class _Side:
    """One of two questions, with what its words may be called."""

    def __init__(
        self, question: Question, text: str, concepts: Sequence[Concept], weight: Callable[[Concept], float]
    ) -> None:
        self.text = text
        self.squeezed = "".join(c for c in text.lower() if c.isalnum())
        self.groups = _groups(text)
        self.words = {word for word in re.findall("[a-z]+", text.lower()) if len(word) >= KIN}
        said = {concept: self._groups_of(concept) for concept in concepts}
        self.concepts = [concept for concept in concepts if FRAMING not in said[concept]] or [*concepts]
        self.called = said
        self.weights = {c: weight(c) * c.weight * emphasis(question, c) for c in self.concepts}

    def _groups_of(self, concept: Concept) -> set[str]:
        word = concept.word.lower()
        return {name for name, spans in self.groups.items() if any(word in span for span in spans)}

    def found_in(self, other: "_Side", bag: Bag, kinds: Collection[str]) -> dict[Concept, float]:
        """How well each concept is found in the other question."""
        fits = {}
        for place, concept in enumerate(self.concepts):
            fit = _fit(concept, bag, other.concepts, kinds)
            if self.called[concept] & other.groups.keys() - {FRAMING}:
                fit = max(fit, MEANS_THE_SAME)
            word = concept.word.lower()
            if len(word) >= KIN and any(word.startswith(one) or one.startswith(word) for one in other.words):
                fit = max(fit, STEM)
            for pair in (self.concepts[max(0, place - 1) : place + 1], self.concepts[place : place + 2]):
                joined = "".join(one.word.lower() for one in pair)
                if len(pair) == 2 and len(joined) >= (3 if concept.korean else 4) and joined in other.squeezed:
                    fit = 1.0
            if len(word) >= (3 if concept.korean else 4) and word in other.squeezed:
                fit = 1.0
            if fit < FOUND and self._is_written_otherwise(place, concept, other):
                fit = MEANS_THE_SAME
            fits[concept] = fit
        return fits

    def _is_written_otherwise(self, place: int, concept: Concept, other: "_Side") -> bool:
        """Whether the other question has the concept misspelt, shortened, or as another name of one thing."""
        own, theirs = (
            [(c.korean[-1] if c.korean else c.word).lower() for c in side.concepts] for side in (self, other)
        )
        word = own[place]
        if any(form.search(concept.word.lower()) for form in common(self.text, other.text)):
            return True
        if any(is_misspelt(word, one) or is_short_for(word, one) or is_short_for(one, word) for one in theirs):
            return True
        ours = [pair for pair in pairwise(own) if word in pair]
        return any(are_initials(word, *pair) for pair in pairwise(theirs)) or any(
            are_initials(one, *pair) for one in theirs for pair in ours
        )

    def missing(self, fits: Mapping[Concept, float]) -> bool:
        return any(fit < FOUND for fit in fits.values())

    def heaviest_missing(self, fits: Mapping[Concept, float]) -> float:
        heaviest = max(self.weights.values()) or 1.0
        return max(self.weights[c] * (1 - fit) for c, fit in fits.items()) / heaviest

    def share(self, fits: Mapping[Concept, float]) -> float:
        """Share of the question's weight that is found."""
        total = sum(self.weights.values()) or 1.0
        return sum(value * fits[c] for c, value in self.weights.items()) / total


@lru_cache(maxsize=1 << 14)
def _groups(text: str) -> Mapping[str, list[str]]:
    """The groups of everyday words that a text has words of, with these words."""
    text = nfc(text).lower()
    found = ((name, [match.group() for match in form.finditer(text)]) for name, form in _forms().items())
    return {name: spans for name, spans in found if spans}


@cache
def _forms() -> dict[str, re.Pattern[str]]:
    return {
        name: re.compile("|".join(_form(word) for word in sorted(words, key=len, reverse=True)))
        for name, words in word_table("same.tsv").items()
    }


def _form(word: str) -> str:
    if word.isascii():
        return rf"(?<![a-z]){re.escape(word)}[a-z]{{0,3}}(?![a-z])"
    return rf"(?<![가-힣]){re.escape(word)}[가-힣]*"


def _fit(concept: Concept, there: Bag, others: Sequence[Concept], kinds: Collection[str]) -> float:
    """How well a concept is found in the other question: also as its stem ("급식비" and "급식"), or as the kind of
    answer that both ask for ("price" and "how much"). kinds: those"""
    if kinds and {*asked_kinds(concept.word)} & {*kinds}:
        return 1.0
    stems = (form for other in others for form in other.korean if len(form) > 1)
    begins = any(form.startswith(stem) for stem in stems for form in concept.korean)
    return max(there.fit(concept), STEM * begins)


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in nfc(text).lower()).split())
