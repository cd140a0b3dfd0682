"""KTO: move the policy towards answers that people liked, and away from those that they did not; no pairs are needed.

A reference point says how far the policy has moved in general: the mean log-ratio of answers to other prompts. An
answer is good or bad next to that.

Source: Ethayarajh et al. 2024 (arXiv:2402.01306), eq. 7 and 8, and its estimate of the reference point: each prompt of
a micro-batch with the answer to the prompt before it, no less than 0, and without a gradient.
"""

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from malmoi.config import Seed, Settings
from malmoi.data.votes import Answers, Votes, read_votes, vote_steps
from malmoi.errors import DataError
from malmoi.formats.folder import load_text
from malmoi.model.lora import LoraConfig, WithoutAdapters
from malmoi.model.transformer import LanguageModel
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.train.reference import policy_and_reference
from malmoi.unused import OF_LORA, OF_LORA_WITH_HEAD, OF_OPTIM


class Config(Settings):
    """Settings of KTO."""

    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(16, gt=1)
    """Votes in one step, over all ranks."""
    micro_batch_size: int = Field(16, gt=1)
    """Votes in one forward pass; the reference point is measured on them, so a small number makes it noisy."""
    beta: float = Field(0.1, gt=0)
    """KL coefficient of the objective, reward units per nat; a smaller one lets the policy move further."""
    desirable_weight: float | None = Field(None, gt=0)
    """Weight of a 👍. None: of 👍 and 👎 the rarer one counts more, so that both count alike in sum (§4.2)."""
    undesirable_weight: float | None = Field(None, gt=0)
    """Weight of a 👎."""
    seed: Seed = 1
    """Of the order of the votes."""
    lora: LoraConfig = LoraConfig()
    """Adapters to train instead of all weights; the policy without them is then the reference."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""


class Inputs(Settings):
    """What KTO reads."""

    policy: Path = Path()
    """Model folder to start from, and the frozen reference: the SFT model."""
    data: Path = Path()
    """Votes, JSON lines {"messages", "label"}: a conversation that ends with the answer, and whether it is liked."""


UNUSED = (*OF_OPTIM, *OF_LORA, *OF_LORA_WITH_HEAD)
ONE_KIND = "all votes are of one kind; KTO needs answers that people liked, and some that they did not"


def loss(
    model: LanguageModel, ref: LanguageModel | WithoutAdapters, batch: Votes, config: Config
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weight · (1 - σ(±(beta · log-ratio - beta · reference point))), + for 👍 and - for 👎, summed over votes.

    config: with both weights given
    Metrics, of votes: accuracy, the share on the right side of the reference point; kl, the reference point in nats.
    """
    logps = answer_logps(model, batch.own)
    with torch.no_grad():
        moved = answer_logps(model, batch.other) - answer_logps(ref, batch.other)
        kl = moved.mean().clamp(min=0)
        ref_logps = answer_logps(ref, batch.own)
    sign = torch.where(batch.is_good, 1.0, -1.0)
    weight = torch.where(batch.is_good, config.desirable_weight or 1.0, config.undesirable_weight or 1.0)
    beyond = sign * config.beta * (logps - ref_logps - kl)
    losses = weight * (1 - torch.sigmoid(beyond))
    return losses.sum(), {"accuracy": (beyond.detach() > 0).float().sum(), "kl": kl * batch.count}


def answer_logps(model: LanguageModel | WithoutAdapters, answers: Answers) -> Tensor:
    """log p of each answer given its prompt, (B,), in nats."""
    logps, _ = model.logps(answers.ids, answers.ids.roll(-1, dims=1), answers.mask)
    return logps.sum(dim=1)


def build(config: Config, inputs: Inputs) -> Job:
    """The policy, its reference, and the shuffled votes. Raises DataError if all votes are of one kind."""
    policy, ref = policy_and_reference(inputs.policy, config.lora)
    tokenizer, template = load_text(inputs.policy)
    seq_len = policy.config.seq_len
    rows = read_votes(inputs.data, tokenizer, template, seq_len)
    n_good = sum(row.is_good for row in rows)
    if n_good in (0, len(rows)):
        raise DataError(f"{inputs.data}: {ONE_KIND}")
    known = with_weights(config, n_good, len(rows) - n_good)
    steps = vote_steps(rows, tokenizer.pad_id, seq_len, config.batch_size, config.micro_batch_size, config.seed)

    def step_loss(model: LanguageModel, batch: Votes) -> tuple[Tensor, dict[str, Tensor]]:
        return loss(model, ref, batch, known)

    return Job(policy, steps, step_loss, config.n_steps)


def with_weights(config: Config, n_good: int, n_bad: int) -> Config:
    """The settings with both weights: the more frequent kind has 1 by default."""
    most = max(n_good, n_bad)
    good = most / n_good if config.desirable_weight is None else config.desirable_weight
    bad = most / n_bad if config.undesirable_weight is None else config.undesirable_weight
    return config.model_copy(update={"desirable_weight": good, "undesirable_weight": bad})
