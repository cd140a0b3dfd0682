"""Answers to questions whose right answers are known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from malmoi.generate.engine import generate
from malmoi.generate.sampling import Sampling
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate


@dataclass(frozen=True)
class Answered:
    """One answer as people see it. ids: its tokens, without the end of turn; finished: the model ended it itself."""

    text: str
    ids: list[int]
    finished: bool


def answer_all(
    model: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate, prompts: Sequence[str], sampling: Sampling,
    seed: int = 0,
) -> list[Answered]:  # fmt: skip
    """One answer to each prompt (a user's single turn)."""
    ids = [
        template.encode(tokenizer, [{"role": "user", "content": prompt}], add_generation_prompt=True)[0]
        for prompt in prompts
    ]
    seeds = [int(s) for s in np.random.default_rng((seed, len(prompts))).integers(2**62, size=len(prompts))]
    answers = generate(model, ids, sampling, end_id=tokenizer.end_of_turn_id, seeds=seeds)
    return [Answered(tokenizer.decode(a.ids).strip(), a.ids, a.finished) for a in answers]


def is_exact(answer: Answered, references: Sequence[str]) -> bool:
    """Whether the answer is, but for white space, one of the right ones, and was ended."""
    return answer.finished and squeeze(answer.text) in {squeeze(reference) for reference in references}


def squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def distinct_share(answers: Sequence[Sequence[str]]) -> list[float]:
    """Per prompt: different answers over answers drawn."""
    return [len({squeeze(text) for text in texts}) / len(texts) for texts in answers]
