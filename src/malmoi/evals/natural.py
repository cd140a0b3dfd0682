"""Natural questions: what people ask an assistant about Python's standard library, written by hand, never trained on.

A question has a rule, not a reference: an answer is right if what it says holds one of the `accepted` alternatives and
none of the `refused` phrases. The rules are written so that an answer which only repeats the question is wrong. What
the documentation does not know must be declined.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from malmoi.evals.interval import Interval, bootstrap
from malmoi.text import nfc

Message = Mapping[str, Any]
FILE = "natural_questions.jsonl"
ANSWER_CHARS = 700
"""What is longer than this does not count: a list of many names is no answer."""
SECOND_TURN_EVERY = 3
"""Every third answerable question is also asked after another question and its answer."""
NOTHING = "…"
"""Stands in a conversation for an answer without words, which a chat template may refuse."""
NOT_LOOKED_UP = ("small talk", "unknown name", "off topic")
"""Kinds that no passage answers."""

# "I do not know", "I could not find …", "there is no …", in the first person or about what was read.
_DECLINE = re.compile(
    r"\bi (?:do not|don't|did not|didn't|cannot|can't|could not|couldn't) (?:know|find|answer|help|say|have)"
    r"|\bi (?:have|found|know|see) (?:no|nothing)\b|\bi(?: am|'m) (?:not sure|unable|sorry)"
    r"|\b(?:nothing|no (?:passage|document|documentation|entry|text|source|answer)s?)"
    r" (?:in|fits?|about|is|was|answers?|says?|found|here)\b"
    r"|\b(?:is|are) not in (?:the|my|these|what i) |\bthere is no \S+ in\b|\bno such (?:name|function|class|module)\b"
    r"|모르|모릅니다|몰라|알지 못|알 수 없|찾지 못|찾을 수 없|못 찾|답할 수 없|답하지 못"
    r"|(?:내용|정보|문서|답|것|이름|함수|모듈)[이가은는]? 없"
)
_EDGE = re.compile(r"[A-Za-z0-9_]")


@dataclass(frozen=True)
class NaturalQuestion:
    """One question, in a conversation.

    messages: the conversation; the last message is the user's. An assistant's content of None is answered live
    accepted: alternatives, each some phrases that must all occur; a phrase that ends with "()" is a name as code
    refused: phrases that make an answer wrong; declines: it must be declined
    source: names of the standard library whose documentation answers it; reason: why the accepted answers are right
    """

    id: str
    lang: str
    kind: str
    messages: tuple[Message, ...]
    accepted: tuple[tuple[str, ...], ...]
    refused: tuple[str, ...]
    declines: bool
    source: tuple[str, ...]
    reason: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "NaturalQuestion":
        lists = {name: tuple(row[name]) for name in ("messages", "refused", "source")}
        return cls(**{**row, **lists, "accepted": tuple(map(tuple, row["accepted"]))})

    @property
    def text(self) -> str:
        """What the user asked last."""
        return str(self.messages[-1]["content"])


class Given(NamedTuple):
    """What a voice answered. passages: those that were looked up, best first; supported: share of what is said that
    they support, None without look-up; quoted: the answer is a quotation of a passage"""

    text: str
    passages: tuple[str, ...] = ()
    supported: float | None = None
    quoted: bool = False


Answer = Callable[[Sequence[Sequence[Message]]], Sequence[Given]]
"""Answers many conversations, each of which ends with the user's message."""


class Scored(NamedTuple):
    question: NaturalQuestion
    given: Given
    is_right: bool
    declined: bool

    def to_row(self) -> dict[str, Any]:
        return {
            "id": self.question.id, "kind": self.question.kind, "lang": self.question.lang,
            "messages": list(self.question.messages), "answer": self.given.text, "right": self.is_right,
            "declined": self.declined, "quoted": self.given.quoted, "supported": self.given.supported,
            "reason": self.question.reason,
        }  # fmt: skip


def read_questions() -> list[NaturalQuestion]:
    """All natural questions, in the order of the file."""
    text = (resources.files(__package__) / FILE).read_text(encoding="utf-8")
    return [NaturalQuestion.from_row(json.loads(line)) for line in text.splitlines()]


def is_right(answer: str, question: NaturalQuestion) -> bool:
    """Whether an answer is right by the question's rule."""
    if question.declines or is_decline(answer):
        return question.declines and is_decline(answer)
    return holds_answer(plain(answer)[:ANSWER_CHARS], question)


def holds_answer(said: str, question: NaturalQuestion) -> bool:
    """Whether `plain` text holds an accepted alternative and no refused phrase."""
    is_accepted = any(all(occurs(phrase, said) for phrase in phrases) for phrases in question.accepted)
    return is_accepted and not any(occurs(phrase, said) for phrase in question.refused)


def is_decline(answer: str) -> bool:
    """Whether an answer says in its first sentence that it is not known; a word such as "Sorry." is no sentence."""
    first, _, rest = plain(answer).partition(". ")
    return bool(_DECLINE.search(first if " " in first else f"{first}. {rest.partition('. ')[0]}"))


def plain(text: str) -> str:
    """Lower case NFC on one line, without marks of code and emphasis."""
    text = re.sub(r"[*`]", "", nfc(text)).replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"')
    return re.sub(r"\s+", " ", text).strip().lower()


def occurs(phrase: str, said: str) -> bool:
    """Whether a phrase occurs in `plain` text, not as a part of a longer name.

    "zip()" is the name as code: called, of the module builtins, or next to the word function, class, method or type.
    """
    phrase = phrase.lower() if phrase.endswith("()") else plain(phrase)
    if phrase.endswith("()"):
        name = re.escape(phrase[:-2])
        kinds = "function|class|method|type"
        forms = (
            rf"(?<![\w.]){name}\(", rf"\bbuiltins\.{name}(?!\.?\w)", rf"\b(?:{kinds}) \"?{name}\b",
            rf"\b{name}\"? (?:{kinds}|함수)", rf"^{name}:", rf"\buse {name}\b", rf"['\"]{name}['\"]",
        )  # fmt: skip
        return any(re.search(form, said) for form in forms)
    before = r"(?<![a-z0-9_])" if _EDGE.match(phrase[0]) else ""
    after = r"(?!\.?[a-z0-9_])" if _EDGE.match(phrase[-1]) else ""
    return re.search(before + re.escape(phrase) + after, said) is not None


def live(questions: Sequence[NaturalQuestion], answer: Answer) -> list[list[Message]]:
    """The conversations, with the assistant's turns that are None answered by the voice itself."""
    talks: list[list[Message]] = [list(question.messages) for question in questions]
    while open_turns := {i: n for i, talk in enumerate(talks) if (n := _first_open(talk))}:
        given = answer([talks[i][:n] for i, n in open_turns.items()])
        for (i, n), one in zip(open_turns.items(), given, strict=True):
            talks[i][n] = {"role": "assistant", "content": one.text or NOTHING}
    return talks


def _first_open(talk: Sequence[Message]) -> int:
    """Number of the first message without content; 0 if there is none, since the first one is the user's."""
    return next((n for n, message in enumerate(talk) if message["content"] is None), 0)


def ask(questions: Sequence[NaturalQuestion], answer: Answer) -> list[Scored]:
    """Answer all questions and score the answers."""
    given = answer(live(questions, answer))
    return [
        Scored(q, one, is_right(one.text, q), is_decline(one.text)) for q, one in zip(questions, given, strict=True)
    ]


def measure(questions: Sequence[NaturalQuestion], answer: Answer) -> dict[str, Any]:
    """All measures of one voice, each with its interval, and every answer.

    right: share of right answers, by kind and language too; declined: share declined of those that must be, and of the
    others; recall: share of questions with a right answer in the first 1 and 5 passages; grounded: share of the answers
    that say something whose words the passages support; turns: see `second_turns`.
    """
    scored = ask(questions, answer)
    looked_up = [one for one in scored if one.question.kind not in NOT_LOOKED_UP]
    recalled = (1, 5) if any(one.given.passages for one in looked_up) else ()
    to_decline, answerable = (
        [float(one.declined) for one in scored if one.question.declines is declines] for declines in (True, False)
    )
    saying = [one.given.supported for one in scored if one.given.supported is not None and not one.declined]
    return {
        "right": share([one.is_right for one in scored]).to_row(),
        "by_kind": _by(scored, lambda one: one.question.kind),
        "by_lang": _by(scored, lambda one: one.question.lang),
        "declined": {"to_decline": share(to_decline).to_row(), "answerable": share(answerable).to_row()},
        "recall": {str(n): share([_is_found(one, n) for one in looked_up]).to_row() for n in recalled},
        "grounded": share([value >= 1 for value in saying]).to_row(),
        "quoted": share([one.given.quoted for one in scored]).to_row(),
        "turns": second_turns(scored, answer),
        "answers": [one.to_row() for one in scored],
    }


def _is_found(one: Scored, n: int) -> bool:
    """Whether one of the first n passages would be a right answer."""
    return any(holds_answer(plain(passage), one.question) for passage in one.given.passages[:n])


def _by(scored: Sequence[Scored], key: Callable[[Scored], str]) -> dict[str, Any]:
    names = dict.fromkeys(map(key, scored))
    return {name: share([one.is_right for one in scored if key(one) == name]).to_row() for name in names}


def second_turns(scored: Sequence[Scored], answer: Answer) -> dict[str, Any]:
    """Every third question with one turn, asked first and after the one before it and its answer.

    first, second: share right; difference: paired, with its interval; kept: second over first, None if first is 0.
    """
    alone = [one for one in scored if len(one.question.messages) == 1 and one.question.kind not in NOT_LOOKED_UP]
    chosen = list(zip(alone[::-1], alone, strict=True))[::SECOND_TURN_EVERY]
    talks = [[*_exchange(before), *one.question.messages] for before, one in chosen if before is not one]
    asked = [one for before, one in chosen if before is not one]
    second = [is_right(given.text, one.question) for one, given in zip(asked, answer(talks), strict=True)]
    first = [one.is_right for one in asked]
    return {
        "first": share(first).to_row(),
        "second": share(second).to_row(),
        "difference": share(np.subtract(second, first, dtype=float).tolist()).to_row(),
        "kept": sum(second) / sum(first) if any(first) else None,
    }


def _exchange(one: Scored) -> list[Message]:
    return [*one.question.messages, {"role": "assistant", "content": one.given.text or NOTHING}]


def paired_difference(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Share right of one voice minus that of another on the same questions, with the interval of the difference."""
    right = {row["id"]: row["right"] for row in before["answers"]}
    return share([float(row["right"]) - float(right[row["id"]]) for row in after["answers"]]).to_row()


def share(values: Sequence[float]) -> Interval:
    return bootstrap([float(value) for value in values])
