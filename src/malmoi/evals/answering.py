"""Ask a model and collect its answers: one or several to each prompt, sampled or greedy."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from malmoi.inference.generate import engine_of, generate
from malmoi.inference.requests import Answer
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate, Message

N_ROWS = 64
AnswerGroups = list[list[Answer]]
"""The answers to each prompt, the same number for each."""
Prompt = str | Sequence[Message]
"""What is answered: the user's only turn, or a conversation that ends with one, with its documents."""


class Subject(NamedTuple):
    """The model that is evaluated, with its tokenizer and chat template."""

    model: LanguageModel
    tokenizer: Tokenizer
    template: ChatTemplate


@dataclass(frozen=True)
class TextAnswer:
    """An answer as people see it. ids: its tokens without the end of turn; finished: whether the model ended its turn,
    with the token `end_id`."""

    text: str
    ids: list[int]
    finished: bool
    end_id: int | None = None


def answer_questions(
    model: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate, questions: Sequence[Prompt],
    sampling: Sampling, seed: int = 0,
) -> list[TextAnswer]:  # fmt: skip
    """One answer to each question."""
    ids = [prompt_ids(tokenizer, template, question) for question in questions]
    answers = generate(model, ids, sampling, end_ids=tokenizer.stop_ids, seeds=_seeds(seed, len(ids)))
    return [TextAnswer(tokenizer.decode(a.ids).strip(), a.ids, a.finished, a.end_id) for a in answers]


def sample_answers(
    model: LanguageModel, prompts: Sequence[Sequence[int]], n_answers: int, sampling: Sampling,
    end_ids: Collection[int], seed: int,
) -> AnswerGroups:  # fmt: skip
    """`n_answers` answers to each prompt. The same seed gives every model the same random numbers."""
    repeated = [ids for ids in prompts for _ in range(n_answers)]
    answers = generate(model, repeated, sampling, end_ids=end_ids, seeds=_seeds(seed, len(repeated)))
    return [answers[i : i + n_answers] for i in range(0, len(answers), n_answers)]


def answer_greedily(
    subject: Subject, prompts: Sequence[list[int]], max_tokens: int, stop: Sequence[str] = ()
) -> list[str]:
    """The likeliest answer to each prompt, in the prompts' order; prompts of similar length run together."""
    if not prompts:
        return []
    model, tokenizer, _ = subject
    n_rows = min(N_ROWS, len(prompts))
    engine = engine_of(
        model, end_ids=tokenizer.stop_ids, tokenizer=tokenizer, n_rows=n_rows, n_waiting=len(prompts),
        n_max=max(map(len, prompts)) + max_tokens, join_at=max(1, n_rows // 4), fastest=True,
    )  # fmt: skip
    sampling = Sampling(temperature=0, max_tokens=max_tokens, stop=tuple(stop))
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    requests = {i: engine.submit(prompts[i], sampling) for i in order}
    engine.finish()
    return [requests[i].text for i in range(len(prompts))]


def chat_prompts(subject: Subject, questions: Sequence[Prompt], max_tokens: int) -> tuple[list[list[int]], int]:
    """The ids of each question, after which the assistant speaks; see `cut_to_fit`."""
    ids = [prompt_ids(subject.tokenizer, subject.template, question) for question in questions]
    return cut_to_fit(subject, ids, max_tokens)


def cut_to_fit(subject: Subject, prompts: Sequence[list[int]], max_tokens: int) -> tuple[list[list[int]], int]:
    """Prompts that leave room for an answer of up to half the context, and how many lost their beginning for it."""
    seq_len = subject.model.config.seq_len
    room = seq_len - min(max_tokens, seq_len // 2)
    return [ids[-room:] for ids in prompts], sum(len(ids) > room for ids in prompts)


def prompt_ids(tokenizer: Tokenizer, template: ChatTemplate, question: Prompt) -> list[int]:
    """Ids that end where the assistant begins to speak."""
    messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
    return template.encode(tokenizer, messages, add_generation_prompt=True)[0]


def _seeds(seed: int, n: int) -> list[int]:
    return [int(number) for number in np.random.default_rng((seed, n)).integers(2**62, size=n)]
