"""The likelihood of given continuations. What the continuations of one question share is read once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from malmoi import device, progress
from malmoi.data.batch import Branches, batches_by_length, pad
from malmoi.data.comparisons import shared_length
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer

MOST_TOKENS = 4_096
CHUNK = 512


@dataclass(frozen=True)
class Continuation:
    """A context and its continuation, as ids. start: where the continuation begins, 1 or more; is_cut: whether the
    beginning was cut off, because both together are longer than the model's context."""

    ids: list[int]
    start: int
    is_cut: bool


class Likelihood(NamedTuple):
    """logp: log p(continuation | context) in nats; is_likeliest: whether each of its tokens was the likeliest."""

    logp: float
    is_likeliest: bool


class _Row(NamedTuple):
    """A question as one row of `Branches`. before: positions that predict; targets: the tokens that they predict"""

    ids: list[int]
    positions: list[int]
    segments: list[int]
    before: list[int]
    targets: list[int]


def continuation(tokenizer: Tokenizer, context: str, text: str, seq_len: int) -> Continuation:
    """Encode both together, as lm-eval-harness does: white space at the end of the context counts as continuation."""
    stem = context.rstrip()
    begin = tokenizer.encode(stem) or [tokenizer.end_of_text_id]
    whole = tokenizer.encode(context + text) if stem else [*begin, *tokenizer.encode(context + text)]
    n_over = max(0, len(whole) - seq_len)
    return Continuation(whole[n_over:], max(1, len(begin) - n_over), n_over > 0)


@torch.no_grad()
def likelihoods(
    model: LanguageModel, questions: Sequence[Sequence[Continuation]], pad_id: int
) -> list[list[Likelihood]]:
    """The likelihood of every continuation of every question."""
    rows = [_pack(question) for question in questions]
    found: list[list[Likelihood]] = [[] for _ in questions]
    n_done = 0
    for batch in batches_by_length([len(row.ids) for row in rows], MOST_TOKENS):
        logps, likeliest = _read(model, [rows[i] for i in batch], pad_id)
        start = 0
        for i in batch:
            for one in questions[i]:
                end = start + len(one.ids) - one.start
                found[i].append(Likelihood(float(logps[start:end].sum()), bool(likeliest[start:end].all())))
                start = end
        n_done += len(batch)
        progress.report(n_done, len(questions), "questions")
    return found


def _pack(question: Sequence[Continuation]) -> _Row:
    n_shared = shared_length([one.ids for one in question])
    row = _Row(list(question[0].ids[:n_shared]), list(range(n_shared)), [0] * n_shared, [], [])
    for segment, one in enumerate(question, start=1):
        shift = len(row.ids) - n_shared  # from a place in this continuation's own text to its place in the row
        row.before.extend(p if p < n_shared else p + shift for p in range(one.start - 1, len(one.ids) - 1))
        row.targets.extend(one.ids[one.start :])
        row.ids.extend(one.ids[n_shared:])
        row.positions.extend(range(n_shared, len(one.ids)))
        row.segments.extend([segment] * (len(one.ids) - n_shared))
    return row


def _read(model: LanguageModel, rows: Sequence[_Row], pad_id: int) -> tuple[Tensor, Tensor]:
    """Log-probability of each target of all rows, and whether it is the likeliest token there."""
    here = device.current().torch_device
    ids = pad([row.ids for row in rows], pad_id)[0].to(here)
    branches = Branches(pad([row.positions for row in rows], 0)[0], pad([row.segments for row in rows], -1)[0]).to(here)
    real = branches.segments >= 0
    place = (real.flatten().cumsum(0) - 1).view(real.shape)
    at = torch.cat([place[number, row.before] for number, row in enumerate(rows)])
    targets = torch.tensor([target for row in rows for target in row.targets], device=here)
    with device.autocast():
        hidden = model.model(ids, real=real, branches=branches)[at]
        parts = []
        for part, wanted in zip(torch.split(hidden, CHUNK), torch.split(targets, CHUNK), strict=True):
            logps = model.lm_head(part).log_softmax(dim=-1, dtype=torch.float32)
            parts.append((logps.gather(1, wanted[:, None])[:, 0].cpu(), (logps.argmax(dim=-1) == wanted).cpu()))
    return torch.cat([logps for logps, _ in parts]), torch.cat([likeliest for _, likeliest in parts])
