"""How well a passage fits the concepts of a question."""

import builtins
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from malmoi.retrieval.days import days_of
from malmoi.retrieval.korean import sounds, verb_stems, without_particle
from malmoi.retrieval.names import Name, likeness, name_of, uses
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import Concept, Question, unasked
from malmoi.retrieval.sentences import sentences
from malmoi.retrieval.tasks import Asked
from malmoi.retrieval.terms import terms

_HANGUL = re.compile("[가-힣]+")
_WORD = re.compile(r"(?<![\d가-힣])[가-힣]+")
_COUNTER = re.compile(r"(?<=\d)[가-힣]+")
OTHER_CASE = 0.9
"""How well a name fits that is written in another case than asked: `typing.Final` is not `typing.final`."""
OTHER_CASE_OF_PART = 0.2
"""What a name loses that is asked for in part and written in another case: Path.exists is not os.path.exists."""
SAME_DAY = 0.9
"""How well a day of the week fits that is in a span: Tuesday in "Monday to Friday"."""
HEARD = 0.9
"""How well a Korean word fits that only sounds like the one asked for: 케익 and 케이크."""
NO_TASK = Asked(0.0, {})
KOREAN_SYNONYM = 0.85
"""How well a Korean synonym fits, compared with the word itself."""


class Fields:
    """What concepts are held against: the name or title, the first sentence, and all of a passage.

    Each is taken apart when it is first needed: of most candidates no more than the heading is.
    """

    def __init__(self, passage: Passage) -> None:
        self.name: Name | None = name_of(passage.heading)
        self._passage = passage

    @cached_property
    def heading(self) -> "Bag":
        name = self.name
        return Bag(f"{name.written} {name.name}" if name else f"{self._passage.heading} {self._passage.place}")

    @cached_property
    def last(self) -> "Bag":
        """The last part of the name."""
        return Bag(self.name.written.rsplit(".", 1)[-1].lower() if self.name else "")

    @cached_property
    def first(self) -> "Bag":
        return Bag(next((sentence.text for sentence in sentences(self._passage.text)), ""))

    @cached_property
    def text(self) -> "Bag":
        return Bag(self._passage.text)


class Bag:
    """The terms of a text, and its Korean words."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.terms = frozenset(terms(text))
        self.korean = _HANGUL.findall(text)
        self.together = "".join(self.korean)
        self.spaced = " ".join(self.korean)

    @cached_property
    def days(self) -> frozenset[int]:
        return days_of(self.text)

    @cached_property
    def stems(self) -> frozenset[str]:
        """Of the Korean words, as of verbs; what counts something, as 분 in 40분에, is no verb."""
        found = frozenset().union(*map(verb_stems, _WORD.findall(self.text)))
        return found.union(form for word in _COUNTER.findall(self.text) for form in (word, without_particle(word)))

    @cached_property
    def heard(self) -> str:
        return sounds(self.together)

    def fit(self, concept: Concept) -> float:
        """How well the concept is found here, from 0 to 1."""
        english = max((fit for form, fit in concept.forms if self.terms.issuperset(form)), default=0.0)
        if (days := days_of(concept.word)) and not days.isdisjoint(self.days):
            english = max(english, SAME_DAY)
        if not self.korean or not concept.korean:
            return english
        is_also = any(word in self.spaced or word in self.stems for word in concept.also)
        also = KOREAN_SYNONYM if is_also else 0.0
        return max(english, also, self._korean_fit(concept.korean))

    def _korean_fit(self, bare: Sequence[str]) -> float:
        longest = bare[0]
        for place, word in enumerate(bare):
            if len(word) > 1 and word in self.together:
                return 1.0 if place == 0 else 0.95
        if any(len(word) > 1 and sounds(word) in self.heard for word in bare):
            return HEARD
        if shared := self.stems & verb_stems(longest):
            return 0.9 if any(len(stem) > 1 for stem in shared) else 0.8
        pairs = [longest[start : start + 2] for start in range(len(longest) - 1)]
        share = sum(pair in self.together for pair in pairs) / len(pairs) if len(pairs) > 1 else 0.0
        return 0.6 * share if share >= 0.5 else 0.0


@lru_cache(maxsize=1 << 13)
def fields_of(passage: Passage) -> Fields:
    return Fields(passage)


@dataclass(frozen=True)
class Fit:
    """How well one passage fits a question; everything is from 0 to 1.

    coverage: share of the question's weight that is found in the passage or its heading
    complete: its fourth power: near 0 unless almost everything is found
    heading, first: the same for only the heading, and for the first sentence of a section
    precise: share of that sentence's words that the question asks for
    named: how well a name in the question is the one in the heading
    told: how well the last part of the heading's name is one of the question's concepts
    used: how common the name is in real code
    bm25: as a share of the best candidate's
    begins: whether the passage is the first of its section
    kind: whether the heading is of the kind that is asked for
    common: how common the name's module is; that of a builtin is
    thing: whether it is a class, a module or an error where something to do is looked for, and is not named itself
    task: how well what people do with the name is what is asked for
    """

    coverage: float
    complete: float
    heading: float
    first: float
    precise: float
    named: float
    told: float
    used: float
    bm25: float
    begins: float
    kind: float
    common: float
    thing: float
    task: float

    @property
    def rank(self) -> float:
        """What passages are ordered by."""
        return float(sum(RANK[name] * getattr(self, name) for name in RANK))


RANK = {
    "coverage": 2.6, "complete": 1.5, "heading": 0.6, "first": 0.4, "precise": 1.1, "named": 3.3, "told": 0.15,
    "used": 1.0, "bm25": 1.15, "begins": 0.95, "kind": 2.8, "common": 0.25, "thing": -0.1, "task": 4.7,
}  # fmt: skip


def fit(
    question: Question,
    passage: Passage,
    weights: Mapping[Concept, float],
    bm25: float,
    begins: bool,
    tasks: Mapping[str, Asked],
) -> Fit:
    """weights: how much each concept counts, as its inverse document frequency; bm25: from 0 to 1 of the best;
    tasks: names whose tasks the question may ask for"""
    fields = fields_of(passage)
    task = tasks.get(fields.name.written, NO_TASK) if fields.name and begins else NO_TASK
    total = sum(weights.values()) or 1.0
    heading = first = covered = 0.0
    for concept, weight in weights.items():
        in_heading = max(fields.heading.fit(concept), _as_part_of(fields.name, concept))
        in_first = fields.first.fit(concept) if begins else 0.0
        heading += weight * in_heading
        first += weight * in_first
        covered += weight * max(in_heading, in_first, fields.text.fit(concept), task.found.get(concept, 0.0))
    return Fit(
        coverage=covered / total,
        complete=(covered / total) ** 4,
        heading=heading / total,
        first=first / total,
        precise=_precise(fields.first, tuple(weights)) if begins else 0.0,
        bm25=bm25,
        begins=float(begins),
        task=task.value,
        **_of_name(question, fields, weights),
    )


def _as_part_of(name: Name | None, concept: Concept) -> float:
    """How well a concept is the name without what comes before: datetime.now, Counter.most_common."""
    return likeness(concept.word.lower(), name.name) if name is not None and "." in concept.word else 0.0


def likely(
    question: Question, passage: Passage, weights: Mapping[Concept, float], bm25: float, tasks: Mapping[str, Asked]
) -> float:
    """A guess at the rank of a passage from only its heading and BM25, to choose which are read."""
    fields = fields_of(passage)
    total = sum(weights.values()) or 1.0
    heading = sum(weight * fields.heading.fit(concept) for concept, weight in weights.items()) / total
    of_name = sum(RANK[name] * value for name, value in _of_name(question, fields, weights).items())
    task = tasks.get(fields.name.written, NO_TASK).value if fields.name else 0.0
    return LIKELY["bm25"] * bm25 + LIKELY["heading"] * heading + of_name + RANK["task"] * task


LIKELY = {"bm25": 3.0, "heading": 1.5}
"""Weights of what is known before a passage is read; higher than in RANK, as they also speak for what is not known."""


def _of_name(question: Question, fields: Fields, weights: Mapping[Concept, float]) -> dict[str, float]:
    """The parts of `Fit` that are about the name in the heading."""
    name = fields.name
    if name is None:
        return dict.fromkeys(("named", "told", "used", "kind", "common", "thing"), 0.0)
    named = _named(question, name)
    return {
        "named": named,
        "told": _told(fields.last, question.concepts),
        "used": uses(name.name),
        "kind": float(name.kind in KINDS_WANTED.get(question.wanted, ())),
        "common": _common(name),
        "thing": float(
            named < OTHER_CASE and not question.wanted and name.kind in ("class", "module", "topic", "property")
        ),
    }


def _common(name: Name) -> float:
    root = name.written.partition(".")[0]
    return 1.0 if name.kind != "module" and root in BUILTINS else uses(root)


BUILTINS = frozenset(dir(builtins))
KINDS_WANTED = {"module": ("module",), "others": ("module", "class")}


def _precise(first: Bag, concepts: Sequence[Concept]) -> float:
    wanted = {term for concept in concepts for form, _ in concept.forms for term in form}
    content = first.terms - unasked()
    return len(content & wanted) / len(content) if content else 0.0


def _named(question: Question, name: Name) -> float:
    asked = question.names
    specific = [concept for concept in question.concepts if concept.weight == 1]
    if not asked and len(specific) == 1 and not question.is_of_life:
        asked = (specific[0].word.lower(),)
    found = max((likeness(each, name.name) for each in asked), default=0.0)
    if found == 1 and name.written not in question.text:
        found = OTHER_CASE
    elif found >= OTHER_CASE and ".".join(name.written.split(".")[-2:]) not in question.text:
        found -= OTHER_CASE_OF_PART
    is_beside = any(_group(name.written.lower()) == _group(before) != "" for before in question.context_names)
    return max(found, 0.9) if found and is_beside else found


def _group(name: str) -> str:
    """The module or class that a name is in."""
    return name.rpartition(".")[0]


def _told(last: Bag, concepts: Sequence[Concept]) -> float:
    fits = (max(last.fit(c), _inside(c, last.text)) * (1 if c.weight == 1 else 0.5) for c in concepts)
    return max(fits, default=0.0)


def _inside(concept: Concept, last: str) -> float:
    """Whether a name without capitals or underscores begins or ends with the concept: getsize, endswith, listdir."""
    words = [form[0] for form, fit in concept.forms if fit > 0.5 and len(form) == 1 and 3 <= len(form[0]) < len(last)]
    return 0.5 if any(last.startswith(word) or last.endswith(word) for word in words) else 0.0
