"""The parts of a question: the names in it, the concepts it is about, and what is wanted of them."""

import re
from dataclasses import dataclass, replace
from functools import cache

from malmoi.retrieval.counted import in_digits
from malmoi.retrieval.glossary import (
    LONGEST_PHRASE,
    everyday_synonyms,
    korean_synonyms,
    other_spelling,
    synonyms,
    translations,
)
from malmoi.retrieval.korean import PARTICLES, without_ending, without_particle
from malmoi.retrieval.names import typed_names
from malmoi.retrieval.sentences import asks_of_life
from malmoi.retrieval.stem import stem
from malmoi.retrieval.terms import TOKEN, token_terms
from malmoi.retrieval.words import is_listed, patterns, word_list
from malmoi.text import nfc

SYNONYMS = (0.85, 0.75, 0.6)
"""How well the first, the second and further synonyms fit, compared with the word itself."""
TRANSLATION = 0.9
COMPARISON = "comparison"
"""What is wanted where two names are compared."""
GENERIC = 0.2
"""Weight of a word for what is looked for ("function", "module") compared with words for what it is about."""


@dataclass(frozen=True)
class Concept:
    """One thing that a question is about.

    word: as asked
    forms: what it may be called in a passage, as terms that must all be there, and how well that fits, from 0 to 1
    weight: how much it counts compared with the others
    korean: what of a Korean word is looked for inside of words: with its particle, without, without an ending
    is_corrected: whether it was taken for a misspelt word
    also: Korean synonyms, as they begin
    everyday: forms that notes may have in its place
    """

    word: str
    forms: tuple[tuple[tuple[str, ...], float], ...]
    weight: float = 1.0
    korean: tuple[str, ...] = ()
    is_corrected: bool = False
    also: tuple[str, ...] = ()
    everyday: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Question:
    """names: identifiers in lower case, as asked; wanted: "module", "parameters", "example", …, or "" for an answer;
    strict_names: those of them that can be nothing else: with a dot, with parentheses or in backquotes;
    all_concepts: with the words that say what is wanted, for a question that has no others;
    context: what an earlier question was about, that this one leans on"""

    text: str
    language: str
    names: tuple[str, ...]
    concepts: tuple[Concept, ...]
    wanted: str = ""
    all_concepts: tuple[Concept, ...] = ()
    strict_names: tuple[str, ...] = ()
    context: tuple[Concept, ...] = ()
    context_names: tuple[str, ...] = ()

    @property
    def is_of_life(self) -> bool:
        """Whether it asks for what notes tell and documentation of programs does not."""
        return asks_of_life(self.text) and not self.strict_names


def language_of(text: str) -> str:
    """ "ko" if there is any Hangul, else "en"."""
    return "ko" if re.search("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]", text) else "en"


MOST_CHARS, LONGEST_WORD, LONGEST_SPACE = 4000, 100, 20
_LONG_WORD = re.compile(rf"(\S{{{LONGEST_WORD}}})\S+")
_LONG_SPACE = re.compile(rf"(\s{{{LONGEST_SPACE}}})\s+")


def what_is_read(text: str) -> str:
    """So much of a message as look-up reads: its beginning and its end, and the beginnings of words that are none.

    No question is longer; and what it is read by takes, of a word or a text, the square of its length.
    """
    text = _LONG_SPACE.sub(r"\1", _LONG_WORD.sub(r"\1", nfc(text)))
    half = MOST_CHARS // 2 - 1
    return text if len(text) <= MOST_CHARS else f"{text[:half]}\n{text[-half:]}"


@cache
def unasked() -> frozenset[str]:
    words = word_list("unasked.en.txt") + word_list("unasked.ko.txt")
    return frozenset(words) | frozenset(map(stem, words))


@cache
def _generic() -> frozenset[str]:
    return frozenset(map(stem, word_list("generic.txt")))


def understand(text: str) -> Question:
    """Split a question into its parts. If every word only asks ("what is it?"), there are no concepts."""
    asked = text = what_is_read(text)
    wanted = next((kind for kind, form in patterns("wanted.tsv").items() if form.search(text)), "")
    names = tuple(name.lower() for name in typed_names(text))
    text = _CONTRACTED.sub(" ", text)
    text = patterns("asking.tsv")["words"].sub(" ", text) or text
    concepts = concepts_of(in_digits(text))
    is_of_life = asks_of_life(asked)
    if is_of_life:  # there a class is a lesson, and a library has books
        concepts = tuple(replace(concept, weight=1.0) for concept in concepts)
    if all(map(only_asks, concepts)) and (about := _asked_about(asked)):
        names, concepts = (about.lower(),), (_english(about, ()),)
    concepts = _without_moments(_without_examples(asked, focused(asked, concepts)))
    asks_of_a_name = wanted not in ("", "module", "kind", COMPARISON)
    asked_for = concepts_of(patterns("wanted_words.tsv")["words"].sub(" ", text)) if asks_of_a_name else concepts
    if not is_of_life and all(stem(concept.word.lower()) in _generic() for concept in asked_for):
        asked_for = ()
    marked = re.sub(r"`([^`\s]+)`", r"\1(", text.lower())
    strict = tuple(name for name in names if "." in name or f"{name}(" in marked)
    return Question(asked, language_of(asked), names, asked_for, wanted, concepts, strict)


BESIDE, MEANT = 0.35, 0.7
"""Weight of what is told around the part of a message that asks, and where that part points back to it."""
_CLAUSE = re.compile(
    r"(?i)(?<=[.!?…])\s+|\n+|(?<=(?:[은인는]데|거든|니까|라서))(?:요|,|\s)+|(?<=그러는데)(?:요|,|\s)+"
    r"|[,;]\s+(?:and|so|but)\s+(?=(?:i|we|my|our|how|what|which|now)\b)"
)


def focused(text: str, concepts: tuple[Concept, ...]) -> tuple[Concept, ...]:
    """The concepts of a message, those only told around what it asks with less weight.

    "I have three lists. How do I sort them?" asks for sorting; that they are three is extra.
    """
    parts = [part for part in _CLAUSE.split(text) if part.strip()]
    asking = [part for part in parts if patterns("asks.tsv")["asks"].search(part)]
    if len(parts) < 2 or len(asking) in (0, len(parts)):
        return concepts
    said = "\n".join(asking).lower()
    inside = [concept for concept in concepts if concept.word.lower() in said]
    if not any(concept.weight == 1 for concept in inside):
        return concepts
    weight = MEANT if patterns("asks.tsv")["points"].search(said) else BESIDE
    return tuple(c if c in inside else replace(c, weight=weight * c.weight) for c in concepts)


_EXAMPLE = re.compile(
    r"(?i)\b(?:like|such as|e\.g\.|for example|for instance) (?=[\"'“‘]?\S*\d)[^,?!]*"
    r"|(?<!\S)[\"'“‘]?\d\S*(?= ?(?:처럼|같은|같이))"
)


def _without_examples(text: str, concepts: tuple[Concept, ...]) -> tuple[Concept, ...]:
    """The concepts of a message, values that it gives as an example with less weight: "a date like 24/12/2025"."""
    shown = " ".join(match.group().lower() for match in _EXAMPLE.finditer(text))
    others = [concept for concept in concepts if concept.word.lower() not in shown]
    if not shown or not any(concept.weight == 1 for concept in others):
        return concepts
    return tuple(c if c in others else replace(c, weight=GENERIC * c.weight) for c in concepts)


def _without_moments(concepts: tuple[Concept, ...]) -> tuple[Concept, ...]:
    """The concepts of a question, words such as "today" with less weight: "오늘 날씨 어때?" asks for the weather."""
    moments = [concept for concept in concepts if is_listed("moments.txt", concept.word.lower())]
    if not any(concept.weight == 1 for concept in concepts if concept not in moments):
        return concepts
    return tuple(replace(c, weight=GENERIC * c.weight) if c in moments else c for c in concepts)


_CONTRACTED = re.compile(r"(?i)(?<=\w)(?:(?:(?<!ca)n)?['’]t|['’](?:s|m|re|ve|ll|d))\b")
"""What is no word of its own: "we're" says nothing of the module re."""
_ABOUT = re.compile(
    r"(?i)\bwhat(?:'s| is| are| does) (\w+)(?: (?:do|for|used for|mean|about))?\W*$|\b(?:explain|describe) (\w+)\W*$"
    r"|\bwhat (\w+) (?:does|is|means)\W*$|\b(?:use|need) (\w+)\W*$"
)
_POINTING = frozenset(
    "it this that these those you they he she we i one there up new more again further please to for something "
    "anything everything".split()
)


def _asked_about(text: str) -> str:
    """The word that a question of nothing but asking words is about: "What does any do?" asks for any."""
    found = _ABOUT.search(text)
    word = next(filter(None, found.groups()), "") if found else ""
    return "" if word.lower() in _POINTING else word


def concepts_of(text: str) -> tuple[Concept, ...]:
    words = [(match.group(), match.lastgroup or "") for match in TOKEN.finditer(text)]
    is_english = language_of(text) == "en"
    found: list[Concept] = []
    at = 0
    while at < len(words):
        word, kind = words[at]
        phrase = _phrase([word for word, _ in words[at : at + LONGEST_PHRASE]])
        if kind == "paired":
            found += _korean(word)
        elif kind != "name" or word.lower() not in unasked() or (not is_english and len(word) > 1):
            found.append(_english(word, phrase))
            at += max(0, len(phrase) - 1)
        at += 1
    unique = {concept.word.lower(): concept for concept in reversed(found)}
    found = [concept for concept in found if unique.get(concept.word.lower()) is concept]
    specific = [concept for concept in found if stem(concept.word.lower()) not in _generic()]
    return tuple(c if c in specific or not specific else replace(c, weight=GENERIC) for c in found)


def only_asks(concept: Concept) -> bool:
    """Whether a word next to a name may only ask what that is ("what was sorted good for again?")."""
    word = concept.word.lower()
    return any(is_listed("framing.txt", form) for form in (word, without_particle(word), without_ending(word)))


_JOINS = re.compile(
    r"(?i)\b(?:and|or|vs|versus|with|to|from|than|over|of|instead|rather|against)\b|[,/&]|이?랑|[와과나]\b|하고|보다|대\b|중"
)


def are_joined(text: str, one: str, other: str) -> bool:
    """Whether a text names two things together ("copy and deepcopy"), not one thing in two words ("text files")."""
    lowered = text.lower()
    places = sorted((at, at + len(word)) for word in (one, other) if (at := _place(lowered, word.lower())) >= 0)
    return len(places) < 2 or _JOINS.search(lowered[places[0][1] : places[1][0]]) is not None


def _place(text: str, word: str) -> int:
    """Where a word begins, as a whole if it is there so: json.load is not the beginning of json.loads. -1: nowhere"""
    whole = re.search(rf"(?<![a-z0-9_.]){re.escape(word)}(?![a-z0-9_])", text)
    return whole.start() if whole else text.find(word)


def _phrase(words: list[str]) -> tuple[str, ...]:
    """The stems of the longest beginning of the words that the synonyms know as a phrase, or ()."""
    found = tuple(stem(word.lower()) for word in words)
    return next((found[:n] for n in range(len(found), 1, -1) if found[:n] in synonyms()), ())


def _english(word: str, phrase: tuple[str, ...]) -> Concept:
    """A word with its synonyms; a phrase is one concept, found as such or by its synonyms."""
    lowered = word.lower()
    own = token_terms(word)
    forms: dict[tuple[str, ...], float] = {}
    if phrase:
        forms = {phrase: 1.0} | dict.fromkeys(synonyms()[phrase], 0.9)
        return Concept(" ".join(phrase), tuple(forms.items()), everyday=everyday_synonyms(" ".join(phrase)))
    forms[(lowered,)] = 1.0
    if "." in lowered or len(own) == 1:
        forms.setdefault((own[-1] if len(own) == 1 else own[0],), 1.0)
    else:
        forms[tuple(own[1:])] = 0.8
    if other := other_spelling(lowered):
        forms.setdefault(tuple(token_terms(other)), 1.0)
    for place, form in enumerate(synonyms().get((own[0],), ())):
        forms.setdefault(form, SYNONYMS[min(place, len(SYNONYMS) - 1)])
    return Concept(word, tuple(forms.items()), everyday=everyday_synonyms(lowered))


_ASKING_WORD = re.compile("(?:어디|언제|누구|얼마|며칠|뭐|무엇|뭘)(?:[가-힣]{0,3})$")
"""A question word with its particles and endings: 어디다, 언제쯤, 뭐였죠."""


_IS_NOUN = re.compile("[이그저제내네안못다데예응수](?:자|기|지|고|사|니|게|도록)")
"""What only looks like a word that asks with the ending of a verb: 이자, 수자."""


def _korean(word: str) -> list[Concept]:
    """A Korean word without particles and endings: found as it is, or as the English of its parts."""
    if word in unasked() or word in PARTICLES or _ASKING_WORD.match(word):
        return []
    if without_particle(word) in unasked() or (without_ending(word) in unasked() and not _IS_NOUN.fullmatch(word)):
        return []
    known = translations(word)
    if not known:
        return [Concept(word, (), korean=_bare(word), also=(*korean_synonyms(word), *_beside(word)))]
    return [
        Concept(
            key,
            tuple((form, TRANSLATION - 0.1 * (place > 0)) for place, form in enumerate(forms)),
            korean=tuple(dict.fromkeys((*_bare(without_particle(word)), *_bare(key))))
            if len(known) == 1
            else _bare(key),
            also=(*korean_synonyms(key), *(korean_synonyms(word) if len(known) == 1 else ())),
        )
        for key, forms in known
    ]


def _bare(word: str) -> tuple[str, ...]:
    found = (word, without_particle(word), without_ending(word), _plainly(word))
    return tuple(dict.fromkeys(found))


def _beside(word: str) -> tuple[str, ...]:
    """What a charge or a place is for, and what notes may leave off: 전기세, 캠핑장, 재택근무."""
    noun = without_particle(word)
    if len(noun) == 4 and without_ending(noun) == noun:
        return (noun[:2],)
    return (noun[:-1],) if len(noun) > 2 and noun[-1] in "비세료값집점장기본" else ()


def _plainly(word: str) -> str:
    """A person without the polite 님: 원장님이 is of 원장."""
    noun = without_particle(word)
    return noun[:-1] if noun.endswith("님") and len(noun) > 2 else noun
