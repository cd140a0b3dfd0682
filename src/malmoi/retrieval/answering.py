"""Which sentence of notes answers a question, and how probably.

Notes and letters have no names that a question could be compared with: what counts is the sentence. It has to hold what
is asked for, or follow what does; what the question is about may be in its heading, the name of its file or a sentence
next to it; and it has to be of the kind that the question word asks for, such as a date for "when".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import exp, log
from pathlib import PurePosixPath

from malmoi.retrieval.counted import in_digits
from malmoi.retrieval.match import Bag
from malmoi.retrieval.others import is_of_another, is_of_other_person, modifies_otherwise
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.question import Concept, Question
from malmoi.retrieval.roles import is_untimely, tells_of_another_deed
from malmoi.retrieval.sentences import WEAK, Sentence, asked_in_notes, counts, sentences, tells
from malmoi.retrieval.words import patterns, word_list

LIGHT = 0.45
"""Weight of a verb that says little, such as "need", compared with what is asked for."""
ASKED_VERB = 0.8
"""The same for the verb of a Korean question for a thing: 뭐 가져가야 해?"""
ABOUT = 0.6
"""Weight of words that say what the question is about ("for the fair", "부산에서"), compared with what is asked for."""
TOPIC = 1.25
"""Weight of the topic of a Korean question ("선인장은"), compared with other nouns."""
FEW = 200
"""Passages that an index is taken to have more than it has: in a few notes no word is rare or common yet."""
TITLED = 0.9
"""How well the title holds a word that is no longer asked for, where a question word asks for something."""
IN_HEADING, BEFORE, AFTER, IN_PASSAGE = 0.9, 0.6, 0.2, 0.1
"""How well a concept is found that is not in the sentence, but near it."""
EXPLAINED = 0.85
"""The same of the sentence before one that gives the reason of it."""
NOWHERE = IN_PASSAGE / 2
"""Below it a concept is not even in the passage."""
EVIDENCE = {
    "own": 3.5, "near": 5.5, "missing": -1.2, "told": 2.4, "lacks": -5.0, "against": -4.5, "begins": 0.4,
}  # fmt: skip
"""Weights of what the probability is made of; see `Answer`."""
BIAS = -7.04
EVERYDAY = 0.8
"""How well a word fits that stands for the one asked in everyday speech: "sick" for "ill"."""
PART, SHORTEST_PART = 0.6, 5
"""How well an English word fits of which only a part is there, and the letters of the shortest such part."""
_SUFFIX = re.compile("(?:ments?|ations?|itions?|ships?|ness|ances?|ences?|ables?|ibles?|ingly?|fully?|ional|ities)")
NAMES = frozenset({"place", "person"})
"""Kinds of answers that are told by a name, which is not one that the question has."""
_ON_THE_WAY = frozenset({"time", "clock", "day", "place", "money", "amount", "number"})
"""Kinds of answers that the way back has otherwise than the way there."""
STRICT = {
    "counted": 0.5,
    "time": 0.45,
    "clock": 0.45,
    "number": 0.45,
    "measure": 0.8,
    "day": 0.5,
    "person": 0.2,
    "reason": 0.4,
    "money": 1.0,
    "amount": 0.5,
    "duration": 0.6,
    "place": 0.25,
    "phone": 1.0,
    "email": 1.0,
    "age": 1.0,
}
"""Kinds of answers that are known by their form, and how surely."""


@dataclass(frozen=True)
class Answer:
    """A sentence as an answer; everything is from 0 to 1.

    own: share of what is asked for that the sentence itself holds; what the question is about may be in the heading
    near: share of all that the question says, with its heading, its file's name and the sentences next to it
    missing: weight of the weightiest word that is not even near, as a share of the weightiest
    told: share of the kinds of answers asked for that it has; 1/2 if no kind is asked for
    lacks: whether it has no number, time, … where an answer cannot be without
    against: whether it tells the opposite: the way back where the way there is asked for, the end and not the
        beginning; in part, if what is not so is asked for and it denies nothing
    begins: whether it is the first of its passage
    shares: how well it, or what is near it, has one of the words of the question that name something, which no number
        does
    """

    sentence: Sentence
    own: float
    near: float
    missing: float
    told: float
    lacks: float
    against: float
    begins: float
    shares: float = 0.0

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


@cache
def _light_korean() -> tuple[str, ...]:
    return tuple(word for word in _light() if not word.isascii())


def emphasis(question: Question, concept: Concept) -> float:
    """How much a concept counts by its place in the question, whatever its rarity."""
    if concept.korean:
        return _korean_emphasis(question.text, concept)
    word = concept.word.lower()
    if word.split()[0] in _light():
        return LIGHT
    if _DAY.search(word):
        return 1.0
    before = re.split(rf"\b{re.escape(word)}\b", question.text.lower())[0]
    is_about = _PREPOSITION.search(_NAME_OF.sub(" ", before)) and not _YES_OR_NO.search(question.text)
    return ABOUT if is_about else 1.0


_DAY = re.compile(r"\d|(?:mon|tues|wednes|thurs|fri|satur|sun)days?$|[월화수목금토일]요일|평일|주말")
_NAME_OF = re.compile(r"\b(?:name|price|cost|number|date|time|length|size|address|age) of ")
_PREPOSITION = re.compile(r"\b(?:for|of|in|at|to|from|on|with|by|(?<=\w )(?:when|while)) (?:\w+ ){0,2}$")
_YES_OR_NO = re.compile(r"(?i)^\W*(?:can|could|may|might|is|are|am|was|were|do|does|did|will|has|have|should|must) ")
"""There all words are asked for: "Can I put it in the dryer?"."""
_ABOUT = re.compile("(?:에|에서|의|로|으로)$")
_TOPIC = re.compile("[은는]$")
_AUXILIARY = re.compile("^(?:해|돼|되|하|할|될|줘|있|싶)")
_CLAUSE = re.compile("(?:[는은]데|면|으러|다가|지만)$")
_DEED = re.compile("(?:데|법|것|거|걸|건|날|사람|곳|때|방법)[가-힣]?$")
"""After a verb that is no topic, though it ends like one: 빼는 데."""
_ASKED_NOUN = re.compile(r"(?P<noun>(?:날|때|곳|데)[이은는가을를]?) (?:언제|며칠|무슨 ?요일|어디|몇)")
"""A noun that only says what kind of answer is asked for: 쉬는 날이 언제야?"""
_SCENE = re.compile(r"[가-힣]*[을을갈온간올볼할] 때")
_HOW = re.compile("어떻게|어떡")
"""There the clause is what is asked for: 토하면 어떻게 해?"""
_NOODLES = re.compile("(?:라|냉|쫄|짜장|화|표|측|수|장|겉)면$")
"""Nouns that look like the verb of a clause."""
_WHAT = re.compile(r"(?:^|\s)(?:뭐|뭘|무엇|무얼)")
_LINKED = re.compile("[야면도고아어지게수]$")
_PREDICATE = re.compile("(?:[요까죠니]|[아어여해돼와가려야][요?]?|나|지|냐|더라|던가|는가)[?!. ]*$")


def _korean_emphasis(text: str, concept: Concept) -> float:
    if concept.word.startswith(_light_korean()):
        return LIGHT
    words = text.rstrip("?!. ").split()
    place = next((at for at, word in enumerate(words) if concept.word in word), None)
    if place is None:
        return 1.0
    verb = ASKED_VERB if _WHAT.search(text) else LIGHT
    if place == len(words) - 1 and len(words) > 1 and (_PREDICATE.search(words[place]) or _ends_in_verb(words)):
        return verb
    is_clause = _CLAUSE.search(words[place]) and not _NOODLES.search(words[place]) and not _HOW.search(text)
    if words[place + 1 : place + 2] == ["수"] or is_clause or words[place] in _light():
        return LIGHT
    after = "".join(words[place + 1 : place + 2])
    asked = _ASKED_NOUN.search(text)
    if asked and asked["noun"] == words[place]:
        return LIGHT
    if asked and asked["noun"] == after:
        return ASKED_VERB
    is_of_deed = words[place].endswith("는") and _DEED.match(after)
    if after == "같은" or is_of_deed or _SCENE.match(f"{words[place]} {after}"):
        return LIGHT
    if words[place].endswith("기로") and after.startswith(("하", "했", "한")):
        return verb
    if place == len(words) - 2 and _AUXILIARY.search(words[-1]) and _LINKED.search(words[place]):
        return verb
    if _DAY.search(words[place]):
        return 1.0
    return TOPIC if _TOPIC.search(words[place]) else ABOUT if _ABOUT.search(words[place]) else 1.0


def _ends_in_verb(words: Sequence[str]) -> bool:
    """Whether a question word comes before the last word, which then is its verb (누가 쳐), and not a noun (몇 층)."""
    asking = [word for word in words[:-1] if _ASKING.match(word)]
    return bool(asking) and not _OF_NOUN.match(words[-2])


_ASKING = re.compile("누가|누구|언제|어디|왜|뭐|뭘|무엇|무슨|어떻게|얼마|몇|어느|어떤")
_OF_NOUN = re.compile("(?:무슨|몇|어느|어떤)$")


@lru_cache(maxsize=1 << 14)
def _bag(text: str) -> Bag:
    return Bag(in_digits(text))


def _fit(bag: Bag, concept: Concept) -> float:
    """How well a concept is found in notes, also in everyday words that mean it."""
    found = bag.fit(concept)
    if found < EVERYDAY and any(map(bag.terms.issuperset, concept.everyday)):
        return EVERYDAY
    return PART if found < PART and not bag.terms.isdisjoint(_parts(concept.word.lower())) else found


def _parts(word: str) -> set[str]:
    """The words that an English word may be made of: thunderstorm of thunder and storm."""
    places = range(SHORTEST_PART, len(word) - SHORTEST_PART + 1) if word.isascii() else ()
    return {part for at in places if not _SUFFIX.match(word[at:]) for part in (word[:at], word[at:])}


def best_answer(question: Question, passage: Passage, weights: Mapping[Concept, float]) -> Answer:
    """The sentence of a passage that answers best. weights: of what the question is about"""
    parts = sentences(passage.text)
    weights = {c: weight for c, weight in weights.items() if not _NAMES_KIND.fullmatch(c.word)} or weights
    return max(
        (_answer(question, passage, parts, at, weights) for at in range(len(parts))),
        key=lambda answer: (round(answer.score, 6), -answer.sentence.start),
    )


def _answer(
    question: Question, passage: Passage, parts: Sequence[Sentence], at: int, weights: Mapping[Concept, float]
) -> Answer:
    text = parts[at].read
    bag = _bag(text)
    title = _bag(_title(passage))
    is_reason = _REASON.search(text) is not None and "reason" in asked_in_notes(question.text)
    near = [(title, IN_HEADING), (_bag(passage.text), IN_PASSAGE)]
    near += [(_bag(parts[at - 1].text), EXPLAINED if is_reason else BEFORE)] if at else []
    near += [(_bag(parts[at + 1].text), AFTER)] if at + 1 < len(parts) else []
    back = patterns("way_back.tsv")["back"]
    is_back, asks_back = (back.search(words) is not None for words in (text, question.text))
    here = {c: 1.0 if is_back and asks_back and back.search(c.word) else _fit(bag, c) for c in weights}
    place = {c: emphasis(question, c) for c in weights}
    found = {
        c: max([fit, *(share * _fit(other, c) for other, share in near if fit < share)]) for c, fit in here.items()
    }
    found |= {c: max(fit, BEFORE * _fit(_bag(passage.text), c)) for c, fit in found.items() if place[c] == ABOUT}
    asked = {c: weight * (ABOUT if place[c] == ABOUT else 1) for c, weight in weights.items()}
    kinds = asked_in_notes(question.text)
    others = _without_asked(text, tuple(weights))
    told = [tells(kind, others if kind in NAMES else text) for kind in kinds]
    if (counted := counts(question.text, text)) is not None:
        kinds, told = ("counted",), [counted]
    asked = {c: weight for c, weight in asked.items() if not _is_topic(_fit(title, c), place[c], bool(kinds))}
    asked = asked or ({} if kinds else dict(weights))
    explains = "reason" in kinds and at > 0 and all(told)
    explained = EXPLAINED * _share(asked, {c: _fit(_bag(parts[at - 1].text), c) for c in asked}) if explains else 0.0
    away = (weight for c, weight in weights.items() if found[c] < NOWHERE and place[c] != LIGHT)
    missing = max(away, default=0.0)
    return Answer(
        parts[at],
        own=max(_share(asked, here), explained)
        if asked
        else _own_by_kind(sum(told) / len(told), _share(weights, here)),
        near=_share(weights, found),
        missing=missing / max(weights.values(), default=1.0),
        told=sum(told) / len(told) if told else 0.5,
        lacks=max(
            (_lacking(kind, question.text, text, others) for kind, has in zip(kinds, told, strict=True) if not has),
            default=0.0,
        ),
        against=max(
            _against(question.text, text, is_back != asks_back and not _ON_THE_WAY.isdisjoint(kinds)),
            OF_ANOTHER * is_of_another(question.text, f"{text} {_title(passage)}", f"{passage.text} {_title(passage)}"),
            OF_ANOTHER * is_of_other_person(question.text, f"{text} {_title(passage)}"),
            OTHERWISE * modifies_otherwise(question.text, text, f"{passage.text} {_title(passage)}"),
            OTHER_DEED * any(found[c] < NOWHERE for c in weights if tells_of_another_deed(question.text, c.word, text)),
            DENIED * bool(kinds and _DENIES.search(text) and not _ASKS_NOT.search(question.text)),
        ),
        begins=float(at == 0),
        shares=max((fit for c, fit in found.items() if place[c] != LIGHT and not c.word.isdigit()), default=0.0),
    )


_NAMES_KIND = re.compile(
    r"(?i)(?:tele)?phone(?: number)?|number|venue|(?:휴대폰|전화|연락처|전화 ?번호|장소|비용|가격|요금)[이가은는을를]?"
)
"""A word that only names the kind of answer: whether a sentence has one is looked at by its form."""
_REASON = re.compile(
    r"때문(?:이|입|에[.]?$|임|$|[.])|(?:서|니까|거든|느라)(?:요|다|입니다|이다|임)?[.]?$|(?i:^(?:because|as|since|otherwise)\b)"
)
"""A sentence that is the reason of the one before it."""
NOBODY = 0.8
"""How surely a sentence that names nobody does not say who did something, if it only tells what is done."""


def _lacking(kind: str, question: str, sentence: str, others: str) -> float:
    """How surely a sentence that has nothing of a kind cannot answer. others: its words that the question has not"""
    if kind == "reason" and len(_SAYS.findall(others)) < 2:
        return SAME_AGAIN
    return NOBODY if kind == "person" and is_untimely(question, sentence) else STRICT.get(kind, 0.0)


_SAYS = re.compile(r"(?i)\b(?!(?:the|and|must|may|can|not|with|for|was|were|are|has|had)\b)[\w'-]{3,}|[가-힣]{2,}")
SAME_AGAIN = 0.9
"""How surely a sentence does not tell why that hardly says more than the question."""


def _own_by_kind(told: float, held: float) -> float:
    """What a sentence itself holds if nothing but a kind of answer is asked for. held: share of the question in it"""
    return min(1.0, told) * (0.8 + 0.2 * held) if told > WEAK else told * held


def _without_asked(text: str, asked: tuple[Concept, ...]) -> str:
    """A sentence without what the question names: that it says of a bakery is no place where the bakery is."""
    words = {word for concept in asked for word in (*concept.korean[-1:], concept.word.lower()) if len(word) > 1}
    return _WORD.sub(lambda one: "" if any(word in one.group().lower() for word in words) else one.group(), text)


_WORD = re.compile(r"[\w'-]+")


def _against(question: str, sentence: str, is_other_way: bool) -> float:
    if is_other_way or _says_opposite(question, sentence):
        return 1.0
    return UNDENIED if _ASKS_NOT.search(question) and not _NOT.search(sentence) else 0.0


OF_ANOTHER, OTHERWISE, OTHER_DEED = 1.0, 0.6, 0.15
"""What it weighs that a sentence is about another month, room or class than the question, or tells of another deed."""
UNDENIED, DENIED = 0.25, 0.1
"""What it weighs that a sentence does not deny where the question does, and the other way around."""
_DENIES = re.compile(r"(?i)(?<![가-힣])안 [가-힣]|지 (?:않|마|말)|\b(?:not|never)\b|n't")
_ASKS_NOT = re.compile(r"(?i)(?<![가-힣])못 |(?<![가-힣])안 (?![되돼에으쪽])|\b(?:no|not|without)\b")
_NOT = re.compile(
    r"(?i)(?<![가-힣])[못안] |못[하해한할]|[않없말]|말고|대신|아니|금지|빠[지진질]|쉬는|쉽니|쉰다|휴[무관]"
    r"|\b(?:no|not|never|none|without|only|closed|forbidden|absent|except)\b|n't"
)


def _says_opposite(question: str, sentence: str) -> bool:
    """Whether the question has one word of a pair of opposites, such as begin and end, and the sentence the other."""
    forms = patterns("opposites.tsv")
    pairs = [(forms[key], forms[key.removesuffix("_1") + "_2"]) for key in forms if key.endswith("_1")]
    return any(
        one.search(question) and not other.search(question) and other.search(sentence) and not one.search(sentence)
        for pair in pairs
        for one, other in (pair, pair[::-1])
    )


def _is_topic(in_title: float, place: float, asks_for_kind: bool) -> bool:
    """Whether a word says what the question is about, and not what is asked for: the title has it."""
    return in_title >= 0.5 if place == ABOUT else asks_for_kind and place != LIGHT and in_title >= TITLED


def _share(weights: Mapping[Concept, float], fits: Mapping[Concept, float]) -> float:
    return sum(weight * fits[concept] for concept, weight in weights.items()) / (sum(weights.values()) or 1.0)


def _title(passage: Passage) -> str:
    return f"{passage.heading} {PurePosixPath(passage.file).stem} {passage.place}"
