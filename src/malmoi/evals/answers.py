"""Answers to questions whose right answers are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from malmoi import device, progress
from malmoi.data.batch import pad
from malmoi.inference.engine import generate
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel
from malmoi.text import same
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate


@dataclass(frozen=True)
class Answered:
    """One answer as people see it. ids: its tokens, without the end of turn; finished: the model ended it itself, with
    the token `end_id`."""

    text: str
    ids: list[int]
    finished: bool
    end_id: int | None = None


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
    answers = generate(model, ids, sampling, end_ids=tokenizer.stop_ids, seeds=seeds)
    return [Answered(tokenizer.decode(a.ids).strip(), a.ids, a.finished, a.end_id) for a in answers]


@torch.no_grad()
def answer_kl(
    policy: LanguageModel, ref: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate, prompts: Sequence[str],
    answers: Sequence[Answered], batch_size: int = 128,
) -> list[float]:  # fmt: skip
    """log policy - log ref of each answer, in nats; over answers sampled from the policy its mean is their KL."""
    rows, spans = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = template.encode(tokenizer, [{"role": "user", "content": prompt}], add_generation_prompt=True)[0]
        rows.append([*ids, *answer.ids, *([] if answer.end_id is None else [answer.end_id])])
        spans.append(len(ids))
    found = np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))  # like lengths together: less padding
    for start in progress.each(range(0, len(order), batch_size), "batches of answers"):
        chosen = order[start : start + batch_size]
        batch, lengths = pad([rows[row] for row in chosen], tokenizer.pad_id)
        position = torch.arange(1, batch.shape[1])
        mask = (position >= torch.tensor([spans[row] for row in chosen])[:, None]) & (position < lengths[:, None])
        batch, mask = batch.to(device.current().torch_device), mask.to(device.current().torch_device)
        with device.autocast():
            logps = [model.logps(batch[:, :-1], batch[:, 1:], mask)[0] for model in (policy, ref)]
        found[chosen] = (logps[0] - logps[1]).sum(dim=1).cpu().numpy()
    return [float(value) for value in found]


def is_exact(answer: Answered, references: Sequence[str]) -> bool:
    """Whether the answer is, but for white space and invisible characters, one of the right ones, and was ended."""
    return answer.finished and same(answer.text) in {same(reference) for reference in references}


def distinct_share(answers: Sequence[Sequence[str]]) -> list[float]:
    """Per prompt: different answers over answers drawn."""
    return [len({same(text) for text in texts}) / len(texts) for texts in answers]
