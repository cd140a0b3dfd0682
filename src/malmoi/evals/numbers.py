"""Sums and word problems: the number in the likeliest answer."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from malmoi.evals.answering import Subject, answer_greedily, chat_prompts, cut_to_fit
from malmoi.evals.interval import bootstrap

SHORT, LONG = 16, 400
# A minus between two numbers is an operation.
_NUMBER = re.compile(r"(?:(?<![\w)])-)?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_SAID = re.compile(r"(?:answer is|answer:|####)\W{0,4}?(?=[-$.\d])", re.I)


class Problem(NamedTuple):
    """text: to continue or, in chat, to answer step by step; answer: the right number"""

    text: str
    answer: str
    is_chat: bool


def measure_numbers(subject: Subject, problems: Sequence[Problem]) -> dict[str, Any]:
    """`exact`: share of problems whose answer is the right number, whatever its spelling (1,000 and 1000.0)."""
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
    """The number said to be the answer ("The answer is 18", "#### 18"), else the last one."""
    said = [found.end() for found in _SAID.finditer(text)]
    numbers = numbers_in(text[said[-1] :])[:1] if said else numbers_in(text)[-1:]
    return numbers[0] if numbers else None
