"""DPO: move the policy towards the answers that people ranked higher, with no reward model and no sampling.

Source: Rafailov et al. 2023 (arXiv:2305.18290), eq. 7; label smoothing: Mitchell 2023 (ericmitchell.ai/cdpo.pdf).
All pairs of a prompt's answers count, divided by C(K, 2) as in the reward model's loss; ties are left out.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from malmoi.config import Seed, Settings
from malmoi.data.comparisons import Comparisons, ranking_steps, read_rankings
from malmoi.errors import DataError
from malmoi.formats.folder import load_text
from malmoi.model.lora import LoraConfig, WithoutAdapters
from malmoi.model.transformer import LanguageModel
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.train.reference import policy_and_reference
from malmoi.unused import OF_LORA, OF_LORA_WITH_HEAD, OF_OPTIM


class Config(Settings):
    """Settings of DPO."""

    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(16, gt=0)
    """Prompts, each with all its answers, in one step, over all ranks."""
    micro_batch_size: int = Field(16, gt=0)
    """Prompts in one forward pass."""
    beta: float = Field(0.1, gt=0)
    """KL coefficient of the objective, reward units per nat; a smaller one lets the policy move further."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Share of the rankings that is assumed to be wrong."""
    seed: Seed = 1
    """Of the order of the prompts."""
    lora: LoraConfig = LoraConfig()
    """Adapters to train instead of all weights; the policy without them is then the reference."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""


class Inputs(Settings):
    """What DPO reads."""

    policy: Path = Path()
    """Model folder to start from, and the frozen reference: the SFT model."""
    data: Path = Path()
    """Rankings, JSON lines {"messages", "answers", "ranks"}."""


UNUSED = (*OF_OPTIM, *OF_LORA, *OF_LORA_WITH_HEAD)


def loss(
    model: LanguageModel, ref: LanguageModel | WithoutAdapters, batch: Comparisons, config: Config
) -> tuple[Tensor, dict[str, Tensor]]:
    """-log σ(beta (log-ratio of the better - of the worse)), summed over prompts, in nats.

    Metrics, per prompt, of its pairs: accuracy of the implicit rewards, where a tie counts half; and without ties the
    margin, and the rewards of the better and the worse answer.
    """
    logps = answer_logps(model, batch)
    with torch.no_grad():
        ref_logps = answer_logps(ref, batch)
    rewards = config.beta * (logps - ref_logps)
    gap = rewards[batch.better] - rewards[batch.worse]
    weight = batch.weight * (batch.target == 1)
    losses = -(1 - config.label_smoothing) * F.logsigmoid(gap) - config.label_smoothing * F.logsigmoid(-gap)
    with torch.no_grad():
        sums = {
            "accuracy": (torch.where(batch.target == 1, (gap > 0).float(), 0.5) * batch.weight).sum(),
            "margin": (gap * weight).sum(),
            "chosen_reward": (rewards[batch.better] * weight).sum(),
            "rejected_reward": (rewards[batch.worse] * weight).sum(),
        }
    return (losses * weight).sum(), sums


def answer_logps(model: LanguageModel | WithoutAdapters, batch: Comparisons) -> Tensor:
    """log p of each answer after the tokens that all answers to its prompt begin with, (N,), in nats.

    Shared tokens have the same probability in every answer, so differences are those of whole answers.
    batch: collated with n_repeated = 1
    """
    segments = batch.branches.segments
    predicts = torch.zeros_like(segments, dtype=torch.bool)
    predicts[:, :-1] = (segments[:, :-1] == segments[:, 1:]) & (segments[:, :-1] > 0)
    logps, _ = model.logps(batch.ids, batch.ids.roll(-1, dims=1), predicts, branches=batch.branches)
    first_answer = torch.searchsorted(batch.row, torch.arange(len(segments), device=segments.device))
    answer = first_answer[:, None] + segments - 1
    return torch.zeros(len(batch.row), device=logps.device).index_add(0, answer[predicts], logps[predicts])


def build(config: Config, inputs: Inputs) -> Job:
    """The policy, its reference, and the shuffled rankings, without those in which all answers tie."""
    policy, ref = policy_and_reference(inputs.policy, config.lora)
    tokenizer, template = load_text(inputs.policy)
    rankings = read_rankings(inputs.data, tokenizer, template, policy.config.seq_len)
    rankings = [ranking for ranking in rankings if len(set(ranking.ranks)) > 1]
    if not rankings:
        raise DataError(f"{inputs.data}: every ranking is a tie; DPO needs two answers with different ranks")
    steps = ranking_steps(
        rankings, tokenizer.pad_id, config.batch_size, config.micro_batch_size, config.seed, n_repeated=1
    )

    def step_loss(model: LanguageModel, batch: Comparisons) -> tuple[Tensor, dict[str, Tensor]]:
        return loss(model, ref, batch, config)

    return Job(policy, steps, step_loss, config.n_steps)
