"""Words and names that no document has, corrected to ones that the index does have."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from malmoi.retrieval.korean import without_particle
from malmoi.retrieval.names import distance
from malmoi.retrieval.question import Concept, Question, concepts_of, unasked
from malmoi.retrieval.tasks import words_of_tasks
from malmoi.retrieval.terms import terms

CORRECTED = 0.9
"""How well a corrected word fits, compared with one that was spelt right."""
_MIN_LETTERS = 4


class Vocabulary(Protocol):
    """What spelling needs of an index."""

    def document_frequency(self, term: str) -> int: ...

    def similar(self, term: str, distance: int, n: int) -> list[str]: ...


def corrected(question: Question, index: Vocabulary) -> Question:
    """The question with misspelt words as the index has them. What resembles nothing in it stays as it is."""
    asked = tuple(concept for concept in question.concepts if not _only_asks(concept, index))
    return replace(
        question,
        names=tuple(_name(name, index) for name in question.names),
        strict_names=tuple(_name(name, index) for name in question.strict_names),
        concepts=tuple(_concept(concept, index) for concept in asked or question.concepts),
    )


def cut(question: Question, index: Vocabulary) -> Question:
    """The question, with Korean words cut in two if the index has only the parts: 승강기공사비 of 승강기 and 공사비."""
    found: list[Concept] = []
    for concept in question.concepts:
        apart = concepts_of(" ".join(_parts(concept, index)))
        found += [replace(part, weight=concept.weight) for part in apart] if len(apart) == 2 else [concept]
    return replace(question, concepts=tuple(dict.fromkeys(found)))


def _parts(concept: Concept, index: Vocabulary) -> Sequence[str]:
    """The two parts of a word whose pairs of syllables are all in the index, but for the one where they meet."""
    noun = without_particle(concept.word) if concept.korean else ""
    away = [at for at in range(len(noun) - 1) if not index.document_frequency(noun[at : at + 2])]
    if len(away) != 1 or not 1 <= away[0] <= len(noun) - 3:
        return ()
    return noun[: away[0] + 1], concept.word[away[0] + 1 :]


def _only_asks(concept: Concept, index: Vocabulary) -> bool:
    """Whether a word that the index has not is a misspelt question word: "waht", "abuot"."""
    word = concept.word.lower()
    if not (word.isascii() and word.isalpha() and len(word) > 2) or _is_known(concept, index):
        return False
    swapped = (word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1))
    is_near = len(word) > 4 and any(len(asked) > 4 and distance(word, asked, 1) == 1 for asked in unasked())
    return is_near or not unasked().isdisjoint(swapped)


def nearest(word: str, index: Vocabulary) -> str:
    """The term of the index that the word is a misspelling of, or "".

    Up to one letter is wrong in short words and two in long ones; digits are never a misspelling.
    """
    if len(word) < _MIN_LETTERS or not word.isalpha() or not word.isascii():
        return ""
    limit = 1 if len(word) < 9 else 2
    near = [
        (_cost(word, term, limit), -index.document_frequency(term), term) for term in index.similar(word, limit, 50)
    ]
    best = min((each for each in near if each[0] <= limit), default=None)
    return best[2] if best else ""


def _cost(word: str, term: str, limit: int) -> int:
    """Wrong letters; a wrong first letter, or two that are added or missing, is another word."""
    wrong = distance(word, term, limit)
    if not term.isalpha() or (wrong == 2 and (word[0] != term[0] or abs(len(word) - len(term)) == 2)):
        return limit + 1
    return wrong


def _name(name: str, index: Vocabulary) -> str:
    """A name with its unknown parts corrected, or the dotted name of the index that is nearest to it as a whole."""
    if index.document_frequency(name):
        return name
    parts = [part if index.document_frequency(part) else nearest(part, index) for part in name.split(".")]
    fixed = ".".join(parts)
    if all(parts) and index.document_frequency(fixed):
        return fixed
    whole = [term for term in index.similar(name, 1, 50) if "." in term and distance(name, term, 1) == 1]
    return min(whole, key=lambda term: (-index.document_frequency(term), term)) if whole else name


def _is_known(concept: Concept, index: Vocabulary) -> bool:
    if concept.word.lower() in words_of_tasks():  # a word of everyday life, though documentation does not say it
        return True
    return any(all(map(index.document_frequency, form)) for form, _ in concept.forms)


def _concept(concept: Concept, index: Vocabulary) -> Concept:
    word = concept.word.lower()
    if concept.korean or _is_known(concept, index):
        return concept
    if "." in word:
        fixed = _name(word, index)
        return concept if fixed == word else _respelt(concept, fixed)
    near = nearest(word, index)
    return _respelt(concept, near) if near else concept


def _respelt(concept: Concept, word: str) -> Concept:
    forms = {(form,): CORRECTED for form in (word, terms(word)[0])}
    return replace(concept, word=word, forms=tuple(forms.items()), is_corrected=True)
