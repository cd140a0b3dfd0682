"""Questions that a text answers, in its language: what a heading says, when, where, who, how many, how much, what.

They are made by rules from headings, simple sentences, lists and lines "key: value", in English and Korean. What
cannot be asked naturally is not asked. Each answer is a sentence of the text, as it is written there.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from malmoi.corpus.documents import Document, Reopenable, opener
from malmoi.synthetic import english_questions as english
from malmoi.synthetic import korean_patterns
from malmoi.synthetic import korean_questions as korean
from malmoi.synthetic.questions import Answerable, Question
from malmoi.synthetic.sections import Section, is_english, is_korean, is_prose, sections
from malmoi.text import canonical_question

UNSEEN_SHARE = 0.2
ITEMS_PER_DOCUMENT = 24
DOCUMENT_CHARS = 50_000
ANSWER_CHARS = 200
LIST_ITEMS = range(2, 13)
MIN_ITEMS = 2
"""One to train on and one to hold out."""
TOO_LITTLE = (
    "no questions can be made of this text: it needs headings, or whole sentences with names, dates, times, places or "
    "numbers, in English or Korean"
)
_MONEY = re.compile(rf"{korean_patterns.WON}|[$€£₩]\s?\d|\d[\d,.]*\s?(euros?|dollars?|pounds?|won|EUR|USD)\b")


@dataclass(frozen=True)
class _Candidate:
    """One thing to ask. place: of its sentence in the document; name: the heading inside a sentence"""

    kind: str
    document: str
    place: str
    prompts: tuple[str, ...]
    answer: str
    short: str
    title: str
    heading: str
    name: str
    is_korean: bool


def text_questions(documents: Reopenable, n: int, seed: int) -> list[Question]:
    """Questions about at most `n` things: each in training phrasings, and in a phrasing that is held out.

    Fewer things than `n` are asked about in more phrasings. A fifth of the sentences is unseen: no training question is
    about them. Questions that different sentences answer are left out. All depends only on the documents, `n`, `seed`.
    documents: a list, or a function that opens the stream again
    """
    rng = random.Random(seed)
    drawn = _sample(_all_candidates(opener(documents)()), 2 * n, rng)
    chosen = _unambiguous(drawn)
    rng.shuffle(chosen)
    chosen = chosen[:n]
    places = list(dict.fromkeys((one.document, one.place) for one in chosen))
    unseen = set(places[: round(UNSEEN_SHARE * len(places))])
    n_phrasings = max(1, n // max(1, len(chosen)))
    questions = []
    for one in chosen:
        last = len(one.prompts) - 1
        for number in (*rng.sample(range(last), min(n_phrasings, last)), last):
            item, is_unseen = f"{one.document}:{one.place}", (one.document, one.place) in unseen
            asked = Question(one.kind, item, one.prompts[number], (one.answer,), number, number == last, is_unseen,
                             one.document, one.heading, one.short)  # fmt: skip
            questions.append(asked)
    return questions


def can_be_asked_about(documents: Reopenable) -> bool:
    """Whether enough questions can be made of these documents."""
    found = islice(_all_candidates(opener(documents)()), 50)
    return len({(one.document, one.place) for one in found}) >= MIN_ITEMS


def _all_candidates(documents: Iterable[Document]) -> Iterator[_Candidate]:
    for document in documents:
        yield from islice(_candidates(document), ITEMS_PER_DOCUMENT)


def _sample(candidates: Iterable[_Candidate], n: int, rng: random.Random) -> list[_Candidate]:
    """A random sample of n candidates of a stream, by reservoir sampling (Vitter 1985, algorithm R)."""
    chosen: list[_Candidate] = []
    for number, one in enumerate(candidates):
        if number < n:
            chosen.append(one)
        elif (place := rng.randrange(number + 1)) < n:
            chosen[place] = one
    return chosen


def _unambiguous(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Candidates whose questions have one answer; headings that several documents have are named with their title."""
    n_sections = Counter(one.heading for one in candidates if one.kind in _OF_SECTIONS)
    named = [_named(one, n_sections[one.heading] > 1) if one.kind in _OF_SECTIONS else one for one in candidates]
    answers: dict[str, set[str]] = defaultdict(set)
    for one in named:
        for prompt in one.prompts:
            answers[canonical_question(prompt)].add(one.answer)
    kept: list[_Candidate] = []
    asked: set[str] = set()
    for one in named:
        keys = {canonical_question(prompt) for prompt in one.prompts}
        if all(_is_one_answer(answers[key]) for key in keys) and not keys & asked:
            asked |= keys
            kept.append(one)
    return kept


def _is_one_answer(answers: set[str]) -> bool:
    """Whether the answers are one, or the same with a sentence more."""
    longest = max(answers, key=len)
    return all(longest.startswith(answer) for answer in answers)


def _candidates(document: Document) -> Iterator[_Candidate]:
    for number, section in enumerate(sections(document, DOCUMENT_CHARS)):
        text = " ".join([section.title, section.heading, *section.sentences, *section.items])
        is_ko = is_korean(text)
        if is_ko or is_english(text):
            yield from _of_section(document, number, section, is_ko)
            yield from _of_pairs(document, number, section, is_ko)
        for place, sentence in enumerate(section.sentences):
            for kind, prompts, short in _of_sentence(section, place):
                yield _Candidate(
                    kind, document.id, f"{number}.{place}", prompts, sentence, short, section.title, section.heading,
                    section.heading, is_korean(sentence),
                )  # fmt: skip


def _of_sentence(section: Section, place: int) -> Iterator[Answerable]:
    sentence = section.sentences[place]
    if is_korean(sentence):
        if is_prose(sentence, korean.LONGEST_SENTENCE):
            yield from korean.korean_questions(sentence, section.title)
    elif is_english(sentence) and is_prose(sentence, english.LONGEST_SENTENCE):
        before = section.sentences[place - 1] if place else ""
        yield from english.english_questions(sentence, section.title, before)


_OF_SECTIONS = ("section", "list")


def _of_section(document: Document, number: int, section: Section, is_ko: bool) -> Iterator[_Candidate]:
    """What a section says: its first sentences, or its list."""
    heading = section.heading or section.title
    if len(heading) > 50 or not any(map(str.isalpha, heading)):
        return
    answer = ""
    for sentence in section.sentences[:2]:
        longer = f"{answer} {sentence}".strip()
        if len(longer) > ANSWER_CHARS or not is_prose(sentence, ANSWER_CHARS):
            break
        answer = longer
    name = _inside(heading, section)
    made = partial(
        _Candidate, document=document.id, prompts=(), short="", title=section.title, heading=heading, name=name,
        is_korean=is_ko,
    )  # fmt: skip
    if answer and section.heading:
        yield made(kind="section", place=f"{number}.0", answer=answer)
    listed = f"{heading}: {', '.join(section.items)}"
    if len(section.items) in LIST_ITEMS and len(listed) <= ANSWER_CHARS:
        yield made(kind="list", place=f"{number}.list", answer=listed)


def _named(one: _Candidate, with_title: bool) -> _Candidate:
    """The candidate with the phrasings of its kind about its heading."""
    if one.is_korean:
        name = f"{one.title}의 {one.heading}" if with_title and one.title != one.heading else one.heading
        return replace(one, prompts=korean.filled(korean.SECTION if one.kind == "section" else korean.LIST, name))
    name = one.name
    name = f'{name} of "{one.title}"' if with_title and one.title != one.heading else name
    phrasings = english.SECTION if one.kind == "section" else english.LIST
    return replace(one, prompts=tuple(phrasing.format(name=name) for phrasing in phrasings))


def _inside(heading: str, section: Section) -> str:
    """A heading inside an English sentence: its first letter is small if the text or `_PLAIN` has its first word so."""
    first = heading.split()[0].lower()
    is_small = first in _PLAIN or re.search(rf"\b{re.escape(first)}\b", " ".join(section.sentences))
    return heading[0].lower() + heading[1:] if is_small and heading[1:2].islower() else heading


_PLAIN = frozenset(
    """opening closing rules prices price fees costs how what where when why ingredients method methods contents
    members equipment directions instructions plans plan travel arrival departure notes minutes tasks agenda
    decisions to the a about our my summary introduction background overview history results conclusion contact
    address hours menu schedule timetable tournaments membership payment payments delivery returns shipping
    installation usage setup""".split()
)
"""Words that begin headings and are no names."""


def _of_pairs(document: Document, number: int, section: Section, is_ko: bool) -> Iterator[_Candidate]:
    """Lines "key: value"."""
    for place, (key, value) in enumerate(section.pairs):
        heading = section.heading or section.title
        is_price = bool(_MONEY.search(value))
        if is_ko:
            prompts = korean.filled(korean.PRICE if is_price else korean.PAIR, key)
        else:
            forms = english.PRICE if is_price else english.PAIR
            prompts = tuple(form.format(key=key, name=_inside(heading, section)) for form in forms)
        yield _Candidate(
            "price" if is_price else "entry", document.id, f"{number}.pair{place}", prompts, f"{key}: {value}", value,
            section.title, heading, heading, is_ko,
        )  # fmt: skip
