"""Questions that lean on what was said before: "and shuffle?", "give me an example", "그럼 json.load는?"."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from malmoi.retrieval.question import COMPARISON, Question, only_asks, understand, what_is_read
from malmoi.retrieval.small_talk import small_talk, without_greeting
from malmoi.retrieval.words import patterns
from malmoi.synthetic.korean import with_particle

MAX_TURNS = 4
"""Questions before the last that are looked at."""


_READS = re.compile(r"(?i)읽|\bread|\bload")


def _writes(text: str) -> str:
    """After a question about reading, 쓰는 is writing, which else is using."""
    return re.sub(r"(?<![가-힣])쓰(?=[는려면고기]|\b)", "쓰기 쓰", text)


def questions_of(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the user asked, without greetings, thanks and other small talk; the last is the last message."""
    asked = [nothing_but_text(message) for message in messages if message["role"] == "user"]
    before = [without_greeting(text) for text in asked[:-1] if not small_talk(text)]
    return [*before[-MAX_TURNS:], without_greeting(asked[-1])] if asked else []


def nothing_but_text(message: Mapping[str, Any]) -> str:
    """The text of a message, as far as it is read."""
    content = message["content"]
    text = content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in content)
    return what_is_read(text)


def in_context(asked: Sequence[str]) -> tuple[Question, str]:
    """The last question with what it takes over from those before, and the question that it leans on, or "".

    A question that only says what is wanted ("give me an example") is about what was asked before. One that begins as a
    continuation ("and shuffle?") or points back ("does it return a copy?") keeps the earlier concepts as its context.
    """
    text = patterns("follow_up.tsv")["begins"].sub("", asked[-1]) or asked[-1]
    question = understand(_writes(text) if len(asked) > 1 and _READS.search(asked[-2]) else text)
    if len(asked) < 2:
        return replace(question, concepts=question.concepts or question.all_concepts), ""
    earlier, _ = in_context(asked[:-1])
    forms = patterns("follow_up.tsv")
    if forms["reverses"].fullmatch(asked[-1].strip()) and (other_way := _reversed(earlier.text)):
        return understand(other_way), asked[-2]
    is_again = forms["again"].search(asked[-1]) is not None and all(map(only_asks, question.concepts))
    is_bare = not question.names and (not question.concepts or is_again)
    if is_bare:
        text = earlier.text if is_again and not question.wanted else asked[-1]
        taken = replace(earlier, text=text, wanted=question.wanted or earlier.wanted, language=question.language)
        return taken, asked[-2]
    begins, points_back = (forms[name].search(asked[-1]) is not None for name in ("begins", "leans"))
    leans = begins or points_back or _compares_one(question)
    if not leans and not (question.wanted in ("parameters", "example", "returns", "others") and not question.names):
        return question, ""
    wanted = question.wanted or (earlier.wanted if begins else "")
    return replace(question, context=earlier.concepts, context_names=earlier.names, wanted=wanted), asked[-2]


_TURNS = re.compile(r"(?i)((?:an? |the )?[\w.-]+)( (?:in)?to )((?:an? |the )?[\w.-]+)")
_TURNS_KO = re.compile(r"([가-힣\w.]+?)[을를] ([가-힣\w.]+?)(?:으로|로)(?=\s|$)")


def _reversed(text: str) -> str:
    """A question about turning one thing into another, the other way: "tuple to list" of "list to tuple"; or ""."""
    if turned := _TURNS_KO.search(text):
        said = f"{with_particle(turned[2], '을')} {with_particle(turned[1], '로')}"
    elif turned := _TURNS.search(text):
        said = f"{turned[3]}{turned[2]}{turned[1]}"
    return f"{text[: turned.start()]}{said}{text[turned.end() :]}" if turned else ""


def _compares_one(question: Question) -> bool:
    """Whether it compares one name with what was said before: "how does os.scandir differ?"."""
    asks = patterns("wanted.tsv")[COMPARISON]
    others = [concept for concept in question.concepts if not asks.search(concept.word)]
    return question.wanted == COMPARISON and len(question.names) == len(others) == 1
