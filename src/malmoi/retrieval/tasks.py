"""What people do with the names of a library, in everyday words, and which of it a question asks for.

Documentation says what a function is ("Recursively delete a directory tree"), people say what they want to do ("get rid
of a folder"). `words/tasks.tsv` says it as they do, for the names that are used most.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import log

from malmoi.retrieval.question import Concept, concepts_of
from malmoi.retrieval.words import word_table

SURE = 0.9
"""How well one of two words has to mean a form for both to mean the same by it: no synonyms of synonyms."""
ALIKE = 0.5
MIN_SHARE = 0.5
"""Share of a task's words that a question has to have."""
OTHER_WAY = 0.4
"""How well a task fits that turns into another thing than is asked: text to number is not number to text."""
NO_TARGET = 0.75
"""The same for one that says nothing of what is asked to be turned into."""
_NO_VERB = "".join(rf"(?<!\b{word} )" for word in ("how", "want", "need", "like", "have", "trying", "way", "able"))
_TARGET = re.compile(
    rf"(?i){_NO_VERB}\b(?:in)?to (?:an? |the |its |(?:python )?)?([a-z0-9-]+)|\bas (?:an? )?([a-z0-9-]+)$"
    r"|\b(?:make|create|build|form) (?:an? |the )?([a-z0-9-]+) (?:from|out of) "
)
"""What follows "to", unless that begins a verb ("how to turn"); and what is made from something else."""
_TARGET_KO = re.compile(r"([가-힣a-zA-Z0-9]+?)(?:으로|로)(?=\s|$)")

Form = tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One phrase of a name. target: what something is turned into, or None"""

    name: str
    concepts: tuple[Concept, ...]
    target: Concept | None


@dataclass(frozen=True)
class Asked:
    """How well a name's task is the one that a question asks for.

    value: from 0 to 1; found: how well each concept of the question is in it
    """

    value: float
    found: Mapping[Concept, float]


@cache
def tasks() -> tuple[Task, ...]:
    found = []
    for name, phrases in word_table("tasks.tsv", ";").items():
        for phrase in phrases:
            concepts = concepts_of(phrase)
            found.append(Task(name, concepts, target_of(phrase, concepts)))
    return tuple(found)


@cache
def words_of_tasks() -> frozenset[str]:
    """The English words of all tasks, in lower case."""
    return frozenset(word.lower() for task in tasks() for c in task.concepts for word in c.word.split())


def target_of(text: str, concepts: Sequence[Concept]) -> Concept | None:
    """The concept that something is turned into: of "string to number", 숫자를 문자열로."""
    words = [next(filter(None, match.groups()), "") for form in (_TARGET, _TARGET_KO) for match in form.finditer(text)]
    for word in words:
        for concept in concepts:
            if word.lower().startswith(concept.word.lower()) and word:
                return concept
    return None


@cache
def _places() -> dict[Form, list[tuple[int, int, float]]]:
    """Form -> where it is: (task, concept of it, how well that means the form)."""
    places = defaultdict(list)
    for number, task in enumerate(tasks()):
        for place, concept in enumerate(task.concepts):
            for form, fit in _forms(concept).items():
                places[form].append((number, place, fit))
    return dict(places)


@cache
def _weights() -> tuple[tuple[float, ...], ...]:
    """Of each concept of each task: how much it counts, by how few names have it."""
    names: defaultdict[Form, set[str]] = defaultdict(set)
    for task in tasks():
        for concept in task.concepts:
            names[next(iter(_forms(concept)))].add(task.name)
    n = len({task.name for task in tasks()})
    return tuple(
        tuple(c.weight * log(1 + n / len(names[next(iter(_forms(c)))])) for c in task.concepts) for task in tasks()
    )


def _forms(concept: Concept) -> dict[Form, float]:
    """What a concept means: English forms, and a Korean word as it begins."""
    korean = {(word,): 1.0 for word in concept.korean[:1]}
    return korean | dict(concept.forms)


def asked_tasks(text: str, weights: Mapping[Concept, float]) -> dict[str, Asked]:
    """Name -> how well a task of it is asked for, for all names of which one shares a word with the question.

    weights: of the question's concepts
    """
    alike: defaultdict[int, dict[int, dict[Concept, float]]] = defaultdict(dict)
    for concept in weights:
        for form, fit in _forms(concept).items():
            for number, place, other in _places().get(form, ()):
                if max(fit, other) >= SURE:
                    pairs = alike[number].setdefault(place, {})
                    pairs[concept] = max(pairs.get(concept, 0.0), fit * other)
    target = target_of(text, tuple(weights))
    best: dict[str, Asked] = {}
    for number, said in alike.items():
        task, own = tasks()[number], _weights()[number]
        share = sum(own[place] * max(pairs.values()) for place, pairs in said.items()) / sum(own)
        if share >= MIN_SHARE:
            asked = _asked(task, share, said, weights, target)
            if task.name not in best or best[task.name].value < asked.value:
                best[task.name] = asked
    return best


def _asked(
    task: Task,
    share: float,
    said: Mapping[int, Mapping[Concept, float]],
    weights: Mapping[Concept, float],
    target: Concept | None,
) -> Asked:
    """share: of the task's words that the question has; said: for each of them, what of the question means it"""
    found: dict[Concept, float] = {}
    for pairs in said.values():
        for concept, fit in pairs.items():
            found[concept] = max(fit, found.get(concept, 0.0))
    of_question = sum(weights[c] * fit for c, fit in found.items()) / (sum(weights.values()) or 1.0)
    value = share**2 * of_question**0.5
    if target is not None and (task.target is None or found.get(target, 0.0) < ALIKE):
        value *= NO_TARGET
    elif target is not None and task.target is not None:
        is_same = said.get(task.concepts.index(task.target), {}).get(target, 0.0) >= ALIKE
        value *= 1.0 if is_same else OTHER_WAY
    return Asked(value, found)
