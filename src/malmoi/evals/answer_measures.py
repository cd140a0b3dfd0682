"""Measures of answers: exact match, diversity, and how much likelier they became than under a reference model."""

from collections.abc import Sequence

import numpy as np
import torch

from malmoi import device, progress
from malmoi.data.batch import batches_by_length, pad
from malmoi.evals.answering import AnswerGroups, Prompt, TextAnswer, prompt_ids
from malmoi.model.lora import WithoutAdapters
from malmoi.model.transformer import LanguageModel
from malmoi.text import canonical
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

MOST_TOKENS = 8_192


def is_exact(answer: TextAnswer, references: Sequence[str]) -> bool:
    """Whether the model ended the answer and it equals a reference, except for white space and invisible characters."""
    return answer.finished and canonical(answer.text) in {canonical(reference) for reference in references}


def distinct_share(answers: Sequence[Sequence[str]]) -> list[float]:
    """Per prompt: the number of different answers over the number of answers."""
    return [len({canonical(text) for text in texts}) / len(texts) for texts in answers]


@torch.no_grad()
def log_ratios(
    policy: LanguageModel, ref: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate,
    questions: Sequence[Prompt], answers: Sequence[TextAnswer], batch_size: int = 128,
) -> list[float]:  # fmt: skip
    """log policy - log ref of each answer, in nats. The mean over answers sampled from the policy estimates the KL."""
    rows, spans = [], []
    for question, answer in zip(questions, answers, strict=True):
        ids = prompt_ids(tokenizer, template, question)
        rows.append([*ids, *answer.ids, *([] if answer.end_id is None else [answer.end_id])])
        spans.append(len(ids))
    found = np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))  # similar lengths together: less padding
    for start in progress.track(range(0, len(order), batch_size), "batches of answers"):
        chosen = order[start : start + batch_size]
        batch, mask = _batch([rows[row] for row in chosen], [spans[row] for row in chosen], tokenizer.pad_id)
        with device.autocast():
            logps = [model.logps(batch[:, :-1], batch[:, 1:], mask)[0] for model in (policy, ref)]
        found[chosen] = (logps[0] - logps[1]).sum(dim=1).cpu().numpy()
    return [float(value) for value in found]


@torch.no_grad()
def sampled_logps(
    model: LanguageModel | WithoutAdapters, prompts: Sequence[Sequence[int]], answers: AnswerGroups, temperature: float
) -> np.ndarray:
    """log p of every answer, including its end of turn if the model ended it: (prompts, answers), in nats."""
    spans = [(list(ids), answer) for ids, group in zip(prompts, answers, strict=True) for answer in group]
    rows = [[*ids, *answer.sampled] for ids, answer in spans]
    found = np.zeros(len(rows))
    for chosen in progress.track(batches_by_length([len(row) for row in rows], MOST_TOKENS), "batches of answers"):
        batch, mask = _batch([rows[row] for row in chosen], [len(spans[row][0]) for row in chosen], pad_id=0)
        with device.autocast():
            logps = model.logps(batch[:, :-1], batch[:, 1:], mask, temperature)[0]
        found[chosen] = logps.sum(dim=1).cpu().numpy()
    return found.reshape(len(answers), -1)


def _batch(rows: Sequence[list[int]], n_prompt: Sequence[int], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded ids (B, T), and which of the T - 1 predicted tokens belong to the answer, on this process's device.

    n_prompt: tokens of each row that belong to the prompt
    """
    ids, lengths = pad(rows, pad_id)
    position = torch.arange(1, ids.shape[1])
    mask = (position >= torch.tensor(n_prompt)[:, None]) & (position < lengths[:, None])
    here = device.current().torch_device
    return ids.to(here), mask.to(here)
