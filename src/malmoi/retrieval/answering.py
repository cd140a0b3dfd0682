"""Which sentence of notes answers a question, and how probably.

Notes and letters have no names that a question could be held against: what counts is the sentence. It has to hold what
is asked for, or follow what does; what the question is about may be in its heading, the name of its file or a sentence
beside it; and it has to be of the kind that the question word asks for, such as a date for "when".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import exp, log
from pathlib import PurePosixPath

from malmoi.retrieval.match import Bag
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import Concept, Question
from malmoi.retrieval.sentences import Sentence, asked_kinds, sentences, tells
from malmoi.retrieval.words import patterns, word_list

LIGHT = 0.45
"""Weight of a verb that says little, such as "need", beside what is asked for."""
ABOUT = 0.6
"""Weight of words that say what the question is about ("for the fair", "부산에서"), beside what is asked for."""
FEW = 200
"""Passages that an index is taken to have more than it has: in a few notes no word is rare or common yet."""
IN_HEADING, BEFORE, AFTER, IN_PASSAGE = 0.9, 0.75, 0.5, 0.45
"""How well a concept is found that is not in the sentence, but near it."""
EVIDENCE = {"own": 2.0, "near": 7.0, "told": 2.0, "against": -1.5, "precise": 0.6}
"""Weights of what the probability is made of; see `Answer`."""
BIAS = -6.0


@dataclass(frozen=True)
class Answer:
    """A sentence as an answer; everything is from 0 to 1.

    own: share of the question's weight that the sentence itself holds
    near: the same with its heading, its file's name and the sentences beside it
    told: share of the kinds of answers asked for that it has; 1/2 if no kind is asked for
    against: whether it tells the way back where the way there is asked for
    precise: share of its words that the question asks for
    """

    sentence: Sentence
    own: float
    near: float
    told: float
    against: float
    precise: float

    @property
    def score(self) -> float:
        """The probability that it answers."""
        return 1 / (1 + exp(-BIAS - sum(weight * getattr(self, name) for name, weight in EVIDENCE.items())))


def rarity(n_passages: int, count: int) -> float:
    """The inverse document frequency of a word, in an index of a few passages nearly the same for all words."""
    return log(1 + (n_passages + FEW - count + 0.5) / (count + 2.5))


@cache
def _light() -> frozenset[str]:
    return frozenset(word_list("light.txt"))


def emphasis(question: Question, concept: Concept) -> float:
    """How much a concept counts by its place in the question, whatever its rarity."""
    if concept.korean:
        return _korean_emphasis(question.text, concept)
    word = concept.word.lower()
    if word in _light():
        return LIGHT
    before = re.split(rf"\b{re.escape(word)}\b", question.text.lower())[0]
    return ABOUT if re.search(r"\b(?:for|of|in|at|to|from|on|with|by) (?:the |a |an |our |my |your |\w+ )?$", before) else 1.0


_TOPICAL = re.compile("(?:에|에서|에는|에도|에서는|의|로|으로|까지|부터)$")
_PREDICATE = re.compile("(?:[요까죠니]|[아어여해돼와가려야][요?]?|나|지|냐)[?!. ]*$")


def _korean_emphasis(text: str, concept: Concept) -> float:
    words = text.rstrip("?!. ").split()
    place = next((at for at, word in enumerate(words) if concept.word in word), None)
    if place is None:
        return 1.0
    if place == len(words) - 1 and len(words) > 1 and _PREDICATE.search(words[place]):
        return LIGHT
    return ABOUT if _TOPICAL.search(words[place]) else 1.0


@lru_cache(maxsize=1 << 14)
def _bag(text: str) -> Bag:
    return Bag(text)


def best_answer(question: Question, passage: Passage, weights: Mapping[Concept, float]) -> Answer:
    """The sentence of a passage that answers best. weights: of what the question is about"""
    parts = sentences(passage.text)
    return max(
        (_answer(question, passage, parts, at, weights) for at in range(len(parts))),
        key=lambda answer: (round(answer.score, 6), -answer.sentence.start),
    )


def _answer(
    question: Question, passage: Passage, parts: Sequence[Sentence], at: int, weights: Mapping[Concept, float]
) -> Answer:
    text = parts[at].text
    bag = _bag(text)
    near = [(_bag(_title(passage)), IN_HEADING), (_bag(passage.text), IN_PASSAGE)]
    near += [(_bag(parts[at - 1].text), BEFORE)] if at else []
    near += [(_bag(parts[at + 1].text), AFTER)] if at + 1 < len(parts) else []
    total = sum(weights.values()) or 1.0
    own = found = 0.0
    for concept, weight in weights.items():
        here = bag.fit(concept)
        own += weight * here
        found += weight * max([here, *(share * other.fit(concept) for other, share in near if here < share)])
    kinds = asked_kinds(question.text)
    told = sum(tells(kind, text) for kind in kinds) / len(kinds) if kinds else 0.5
    back = patterns("way_back.tsv")["back"]
    against = float(back.search(text) is not None and back.search(question.text) is None)
    n_words = len(text.split())
    return Answer(parts[at], own / total, found / total, told, against, min(1.0, 3 / max(1, n_words)))


def _title(passage: Passage) -> str:
    return f"{passage.heading} {PurePosixPath(passage.file).stem} {passage.place}"
