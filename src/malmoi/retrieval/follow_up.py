"""Questions that lean on what was said before: "and shuffle?", "give me an example", "그럼 json.load는?"."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from malmoi.retrieval.question import Question, understand
from malmoi.retrieval.small_talk import small_talk, without_greeting
from malmoi.retrieval.words import patterns

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
    content = message["content"]
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in content)


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
    is_bare = not question.concepts and not question.names
    if is_bare:
        taken = replace(earlier, text=asked[-1], wanted=question.wanted or earlier.wanted, language=question.language)
        return taken, asked[-2]
    begins, points_back = (form.search(asked[-1]) is not None for form in patterns("follow_up.tsv").values())
    leans = begins or points_back
    if not leans and not (question.wanted in ("parameters", "example", "returns", "others") and not question.names):
        return question, ""
    wanted = question.wanted or (earlier.wanted if begins else "")
    return replace(question, context=earlier.concepts, context_names=earlier.names, wanted=wanted), asked[-2]
