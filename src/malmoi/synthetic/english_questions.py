"""English sentences -> what they answer: when, where, who, how many, how much, how long, what.

A question is built from a simple clause: the answer's words are taken out, and the verb's auxiliary goes first. The
same question in an indirect form ("Can you tell me when …") keeps the order of the statement.
"""

import re
from collections.abc import Callable, Iterator

from malmoi.synthetic import english_patterns as P
from malmoi.synthetic.english import FORMS, Clause, is_person_verb, is_plural, parse
from malmoi.synthetic.questions import Answerable

LONGEST_SENTENCE = 160
LONGEST_QUESTION = 100

SECTION = (
    "What does it say about {name}?",
    "Tell me about {name}.",
    "What is written about {name}?",
    "What do the documents say about {name}?",
    "Can you tell me what it says about {name}?",
)
LIST = (
    "What is on the list of {name}?",
    "What does the list of {name} contain?",
    "List everything under {name}.",
    "Show me the {name}.",
    "Can you list what is under {name}?",
)
PAIR = (
    'What does it say for "{key}" under {name}?',
    "{name}: what about {key}?",
    'What is given for "{key}" under {name}?',
    "Tell me about {key} under {name}.",
    'Can you tell me what it says for "{key}" under {name}?',
)
PRICE = (
    'How much does "{key}" cost?',
    "What is the price of {key}?",
    "How much is {key}?",
    "Tell me the price of {key}.",
    "Can you tell me the price of {key}?",
)


def english_questions(sentence: str, topic: str, before: str = "") -> Iterator[Answerable]:
    """The questions that a sentence answers.

    topic: what the text is about, for instructions without a subject; before: the sentence before this, whose subject
    is meant by "It" and "They"
    """
    body = P.PARENTHESES.sub("", sentence).rstrip(". ")
    if len(sentence) > LONGEST_SENTENCE or P.ODD.search(body):
        return
    body = _with_subject(body, before)
    if leading := P.LEADING_TIME.match(body):
        clause = parse(leading["rest"].split())
        if clause is not None and "," not in body[leading.start("rest") :] and _is_simple(clause):
            yield from _asked("when", _time_word(leading["time"]), clause, clause.rest, leading["time"])
        return
    clause = parse(body.split())
    if clause is None or ("," in clause.rest and not clause.is_copula):
        yield from _instruction(body, topic)
        return
    seen = set()
    looks = _LOOKS if _is_simple(clause) else (_what,)
    for kind, found in (pair for look in looks for pair in look(clause)):
        if kind not in seen:
            seen.add(kind)
            yield found
    if not seen and _is_simple(clause):
        yield from _whether(clause)


def _is_simple(clause: Clause) -> bool:
    """Whether no other clause follows: "… and a street was named after him", "… who is"."""
    words = set(clause.rest.split())
    return not words & P.SECOND and not (clause.is_copula and re.match(r"(?:a|an|the|one) ", clause.rest))


def _with_subject(body: str, before: str) -> str:
    """The sentence with the subject that "It" or "They" at its beginning stands for."""
    word, _, rest = body.partition(" ")
    if word not in ("It", "They") or not before:
        return body
    clause = parse(before.rstrip(". ").split())
    if clause is None or is_plural(clause.subject.split()) != (word == "They"):
        return body
    return f"{clause.subject[0].upper()}{clause.subject[1:]} {rest}"


_Pairs = Iterator[tuple[str, Answerable]]


def _asked(kind: str, asks: str, clause: Clause, rest: str, short: str) -> Iterator[Answerable]:
    """The question in all phrasings; rest: the clause's rest without the answer."""
    rest = P.ADVERBS.sub("", f" {rest}").strip()
    direct = " ".join(f"{asks} {clause.auxiliary} {clause.subject} {clause.after} {rest}".split())
    indirect = " ".join(f"{_lower(asks)} {clause.written} {rest}".split())
    if clause.is_copula and not rest:
        indirect = f"{_lower(asks)} {clause.written}"
    if len(direct) <= LONGEST_QUESTION and _is_closed(direct):
        yield Answerable(kind, _phrased(direct, indirect), short)


def _phrased(direct: str, indirect: str) -> tuple[str, ...]:
    return (
        f"{direct}?",
        f"Can you tell me {indirect}?",
        _lower(direct),
        f"Do you know {indirect}?",
        f"Tell me {indirect}.",
        f"I would like to know {indirect}.",
    )


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _is_closed(question: str) -> bool:
    """Whether no preposition or conjunction was left at the end without its words."""
    return not re.search(r"\b(?:and|or|of|the|a|an|with|for|to|but|than|per|that|which|about|around)$", question)


def _time_word(time: str) -> str:
    first = time.split()[0].lower()
    return {"by": "By when", "until": "Until when", "since": "Since when"}.get(first, "When")


def _without(text: str, span: tuple[int, int]) -> str:
    return " ".join((text[: span[0]] + text[span[1] :]).split())


def _pairs(kind: str, found: Iterator[Answerable]) -> _Pairs:
    return ((kind, one) for one in found)


def _when(clause: Clause) -> _Pairs:
    times = list(P.WHEN.finditer(clause.rest))
    if len(times) == 1:
        rest = _bare(clause, _without(clause.rest, times[0].span()), P.PLACE)
        yield from _pairs("when", _asked("when", _time_word(times[0]["time"]), clause, rest, times[0]["time"]))


def _how_long(clause: Clause) -> _Pairs:
    found = P.HOW_LONG.search(clause.rest)
    if found is None:
        return
    is_for = found["span"].startswith("for ")
    is_lasting = clause.verb in ("take", "last", "have") and found.start() == 0
    if is_for or is_lasting:
        short = found["bare"]
        yield from _pairs(
            "how long", _asked("how long", "How long", clause, _without(clause.rest, found.span()), short)
        )


def _how_much(clause: Clause) -> _Pairs:
    found = P.HOW_MUCH.search(clause.rest)
    if found and found.start() == 0 and (clause.verb in ("cost", "pay", "charge", "earn") or clause.is_copula):
        rest = _without(clause.rest, found.span())
        yield from _pairs("how much", _asked("how much", "How much", clause, rest, found["money"]))


def _how_many(clause: Clause) -> _Pairs:
    rest, before = clause.rest, ""
    first = rest.split()[0] if rest.split() else ""
    if (
        clause.auxiliary in ("will", "can", "may", "must", "should", "has", "have", "had")
        and first in FORMS
        and not clause.after
    ):
        before, rest = first, rest[len(first) :].strip()
    found = P.HOW_MANY.match(rest)
    if found is None or clause.is_copula or clause.auxiliary in ("is", "are", "was", "were"):
        return
    noun = found["noun"].strip()
    if (
        P.UNITS.match(noun.split()[0])
        or (not noun.endswith("s") and noun not in ("people", "children"))
        or found["number"] == "one"
    ):
        return
    left = f"{before} {rest[found.end() :]}"
    yield from _pairs("how many", _asked("how many", f"How many {noun}", clause, left, f"{found['count']} {noun}"))


def _where(clause: Clause) -> _Pairs:
    first = clause.rest.split()[0] if clause.rest.split() else ""
    if not (clause.is_copula or clause.verb in P.PLACE_VERBS or first in P.PLACE_VERBS or first in ("buy", "held")):
        return
    places = [one for one in P.PLACE.finditer(clause.rest) if _is_place(one["place"])]
    if len(places) == 1 and (not clause.is_copula or places[0].start() == 0 or P.WHEN.match(clause.rest)):
        rest = _bare(clause, _without(clause.rest, places[0].span()), P.WHEN)
        yield from _pairs("where", _asked("where", "Where", clause, rest, places[0]["place"]))


def _bare(clause: Clause, rest: str, other: re.Pattern[str]) -> str:
    """What is left of a clause without its time and place: people ask "When is the meeting?", not where too."""
    found = other.search(rest)
    if found and (other is P.WHEN or _is_place(found.group())):
        rest = _without(rest, found.span())
    return "" if clause.is_copula and re.match(r"(?:in|on|at|from|to|by)\b", rest) else rest


def _is_place(place: str) -> bool:
    return bool(P.PLACE_DETERMINED.match(place)) and not P.NO_PLACE.search(place) and not P.WHEN.match(place)


def _who(clause: Clause) -> _Pairs:
    subject = clause.subject
    if clause.is_copula:
        if P.ROLE.search(subject) and P.PERSON.match(clause.rest):
            yield from _pairs("who", _asked("who", "Who", clause, "", clause.rest))
        return
    first = subject.split()[0]
    verb = clause.verb if clause.verb in FORMS else ""
    if not (P.PERSON.match(subject) and first not in P.NOT_PERSON and is_person_verb(verb)) or len(subject.split()) > 3:
        return
    if clause.auxiliary in ("is", "are", "was", "were", "do"):
        return
    question = f"Who {clause.written[len(subject) :].strip()} {clause.rest}"
    if len(question) <= LONGEST_QUESTION:
        yield "who", Answerable("who", _phrased(question, _lower(question)), subject)


def _what(clause: Clause) -> _Pairs:
    if clause.verb == "called" and not clause.after:
        name = clause.rest.removeprefix("called ")
        yield from _pairs("what", _asked("what", "What", clause, "called", name))
    elif clause.is_copula and re.match(r"(?:a|an|one of the|the) \w", clause.rest) and _is_name(clause.subject):
        is_person = P.PEOPLE.search(clause.rest[:60]) and P.PERSON.match(clause.subject)
        asks = "Who" if is_person else "What"
        yield "what", Answerable("who" if is_person else "what", _definition(asks, clause), "")
    elif (
        clause.after
        and P.OBJECT.match(clause.rest)
        and not re.search(r"\b(?:in|on|at|to|of|from|by|for|as|with|and|that|who)\b", clause.rest)
    ):
        yield from _pairs("what", _asked("what", "What", clause, "", clause.rest))


def _whether(clause: Clause) -> Iterator[Answerable]:
    rest = clause.rest
    is_rule = rest.startswith("not ") or clause.auxiliary in ("can", "may", "must")
    if not is_rule or not 2 <= len(rest.split()) <= 9 or " and " in rest:
        return
    rest = rest.removeprefix("not ")
    direct = f"{clause.auxiliary[0].upper()}{clause.auxiliary[1:]} {clause.subject} {rest}"
    indirect = f"whether {clause.written} {rest}"
    yield Answerable("whether", _phrased(direct, indirect), "no" if clause.rest.startswith("not ") else "")


def _is_name(subject: str) -> bool:
    return len(subject.split()) <= 5 and not re.match(r"(?:the|a|an|our|my|your|every|each|one|all) ", subject)


def _definition(asks: str, clause: Clause) -> tuple[str, ...]:
    name, verb = clause.subject, clause.auxiliary
    return (
        f"{asks} {verb} {name}?", f"Can you tell me {asks.lower()} {name} {verb}?", f"{asks.lower()} {verb} {name}",
        f"Tell me about {name}.", f"{name}?", f"I would like to know {asks.lower()} {name} {verb}.",
    )  # fmt: skip


def _instruction(body: str, topic: str) -> Iterator[Answerable]:
    """Instructions: "Fry each pancake for two minutes" -> "How long should I fry each pancake?"."""
    words = body.split()
    form = FORMS.get(words[0].lower()) if words else None
    if form is None or form.tense != "base" or len(words) < 4 or "," in body or " and " in body or not topic:
        return
    clause = Clause("I", "should", form.base, form.base, " ".join(words[1:]), f"I should {form.base}")
    for look in (_how_long, _how_many, _when):
        for _, found in look(clause):
            yield found
            return


_LOOKS: tuple[Callable[[Clause], _Pairs], ...] = (_when, _where, _who, _how_many, _how_much, _how_long, _what)
