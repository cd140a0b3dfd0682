"""Sums and word problems: whether the number in the greedy answer is right."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from malmoi.evals.answering import Subject, answer_greedily, chat_prompts, cut_to_fit
from malmoi.evals.interval import bootstrap

SHORT, LONG = 16, 400
# A minus after a letter, digit or bracket is an operation, not a sign.
_NUMBER = re.compile(r"(?:(?<![\w)])-)?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_SAID = re.compile(r"(?:answer is|answer:|####)\W{0,4}?(?=[-$.\d])", re.I)


class MathProblem(NamedTuple):
    """text: a sum to continue, or in chat a problem to answer step by step; answer: a text with the right number"""

    text: str
    answer: str
    is_chat: bool


def measure_math(subject: Subject, problems: Sequence[MathProblem]) -> dict[str, Any]:
    """`exact`: share of problems whose answer is the right number, however it is written (1,000 or 1000.0)."""
    max_tokens = LONG if problems[0].is_chat else SHORT
    texts = [problem.text for problem in problems]
    if problems[0].is_chat:
        asked, n_cut = chat_prompts(subject, texts, max_tokens)
        answers = answer_greedily(subject, asked, max_tokens)
        found = [said_number(answer) for answer in answers]
    else:
        asked, n_cut = cut_to_fit(subject, [subject.tokenizer.encode(text) for text in texts], max_tokens)
        answers = answer_greedily(subject, asked, max_tokens, stop=["\n"])
        found = [next(iter(numbers_in(answer)), None) for answer in answers]
    right = [float(number in numbers_in(problem.answer)) for number, problem in zip(found, problems, strict=True)]
    return {"metrics": {"exact": bootstrap(right).to_row()}, "chance": {}, "n": len(problems), "n_cut": n_cut}


def numbers_in(text: str) -> list[Decimal]:
    return [Decimal(re.sub(r"[,$]", "", found)) for found in _NUMBER.findall(text)]


def said_number(text: str) -> Decimal | None:
    """The number after "The answer is" or "####", or else the last number."""
    said = [found.end() for found in _SAID.finditer(text)]
    numbers = numbers_in(text[said[-1] :])[:1] if said else numbers_in(text)[-1:]
    return numbers[0] if numbers else None
