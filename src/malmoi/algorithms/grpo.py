"""GRPO: PPO without a value network; an answer is compared with the other answers to its prompt.

`GrpoSteps` is the algorithm (sample groups, score, advantages, epochs over minibatches), `loss` its loss.

Sources: Shao et al. 2024 (DeepSeekMath, arXiv:2402.03300), §4.1; without the division by the deviation and by the
answer's length: Liu et al. 2025 (Dr. GRPO, arXiv:2503.20783).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from malmoi.config import Settings
from malmoi.data.prompts import TokenizedPrompt, read_prompts
from malmoi.formats.folder import load_reward_model, load_text, score_std
from malmoi.model.lora import WithoutAdapters
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.job import Job
from malmoi.train.policy_maths import clipped_policy_loss, group_advantages, kl_estimate
from malmoi.train.reference import policy_and_reference
from malmoi.train.rollouts import RolloutConfig, Rollouts, RolloutSteps, response_logps
from malmoi.unused import OF_LORA, OF_LORA_WITH_HEAD, OF_OPTIM, OF_ROLLOUTS


class Config(RolloutConfig):
    """Settings of GRPO."""

    group_size: int = Field(8, ge=2)
    """Answers sampled to each prompt (K); `batch_size` is a multiple of it."""
    divide_by_std: bool = True
    """Divide a group's advantages by the standard deviation of its scores (Dr. GRPO: no)."""
    loss_per: Literal["answer", "token"] = "answer"
    """What has equal weight in the loss: every answer, however long, or every token."""

    @model_validator(mode="after")
    def _groups_are_whole(self) -> "Config":
        if self.batch_size % self.group_size:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of group_size {self.group_size}")
        return self


class Inputs(Settings):
    """What GRPO reads."""

    policy: Path = Path()
    """Model folder to start from, and the frozen reference: the SFT model."""
    reward_model: Path = Path()
    """Reward model's folder."""
    data: Path = Path()
    """Prompts, JSON lines {"messages": [...]}."""


UNUSED = (*OF_OPTIM, *OF_LORA, *OF_LORA_WITH_HEAD, *OF_ROLLOUTS)


@dataclass(frozen=True)
class Batch:
    """A micro-batch of answers.

    weights: of each token in the loss, (B, T); their sum over the batch is `count`
    beta: weight of the KL in the loss
    """

    rollouts: Rollouts
    weights: Tensor
    beta: float

    @property
    def count(self) -> int:
        """Response tokens, or answers."""
        return round(float(self.weights.sum()))

    def to(self, device: torch.device) -> "Batch":
        return replace(self, rollouts=self.rollouts.to(device), weights=self.weights.to(device))


class GrpoSteps(RolloutSteps):
    """GRPO's optimizer steps. score_unit: standard deviation of the reward model's scores"""

    config: Config

    def __init__(
        self, policy: LanguageModel, ref: LanguageModel | WithoutAdapters, reward_model: ScalarModel,
        prompts: Sequence[TokenizedPrompt], tokenizer: Tokenizer, config: Config, *, score_unit: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(
            policy, ref, reward_model, prompts, tokenizer, config, group_size=config.group_size, score_unit=score_unit
        )

    def __iter__(self) -> Iterator[list[Batch]]:
        for iteration, epoch, minibatch in self.remaining():
            if (epoch, minibatch) == (0, 0):
                # Sample a group of answers to each prompt; the log-probabilities of policy and reference, the scores.
                rollouts = self.collect(iteration)
                # Each answer is compared with the others of its group.
                self.rollouts = with_advantages(rollouts, self.config)
                self.adapt_beta()
            # Each epoch shuffles the answers, and each minibatch of them is one optimizer step.
            answers = self.micro_batches(iteration, epoch, minibatch)
            yield [weighted(part, self.config, beta=self.info["beta"]) for part in answers]


def with_advantages(rollouts: Rollouts, config: Config) -> Rollouts:
    """Every token of an answer has the answer's advantage over its group."""
    advantages = group_advantages(rollouts.scores, config.group_size, config.divide_by_std)
    return replace(rollouts, advantages=advantages[:, None] * rollouts.mask)


def weighted(rollouts: Rollouts, config: Config, beta: float) -> Batch:
    """A micro-batch in which each token has weight 1, or the tokens of each answer add up to 1."""
    weights = rollouts.mask.float()
    if config.loss_per == "answer":
        weights = weights / weights.sum(dim=1, keepdim=True).clamp_min(1)
    return Batch(rollouts, weights, beta)


def loss(model: LanguageModel, batch: Batch, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped policy loss + beta · KL to the reference (k3), each token by its weight, summed."""
    rollouts, mask, weights = batch.rollouts, batch.rollouts.mask, batch.weights[batch.rollouts.mask]
    found, entropy = response_logps(model, rollouts.ids, mask, config.temperature)
    logps, old_logps, ref_logps = found[mask], rollouts.logps[mask], rollouts.ref_logps[mask]
    policy_loss = clipped_policy_loss(logps, old_logps, rollouts.advantages[mask], config.clip_eps)
    log_ratio = logps - old_logps
    # Times the ratio, the gradient of the estimate is the gradient of the KL too: arXiv:2512.02556, §3.1.
    kl = log_ratio.exp() * kl_estimate(ref_logps - logps)
    with torch.no_grad():
        measured = {
            "policy_loss": policy_loss,
            "kl_loss": kl,
            "approx_kl": kl_estimate(log_ratio),
            "clip_fraction": ((log_ratio.exp() - 1).abs() > config.clip_eps).float(),
            "entropy": entropy,
        }
        sums = {name: (values * weights).sum() for name, values in measured.items()}
    return ((policy_loss + batch.beta * kl) * weights).sum(), sums


def build(config: Config, inputs: Inputs) -> Job:
    """Policy, reference and reward model, and the stream of optimizer steps."""
    policy, ref = policy_and_reference(inputs.policy, config.lora)
    reward_model = load_reward_model(inputs.reward_model)
    tokenizer, template = load_text(inputs.policy)
    prompts = read_prompts(inputs.data, tokenizer, template, policy.config.seq_len - config.max_tokens)
    steps = GrpoSteps(policy, ref, reward_model, prompts, tokenizer, config, score_unit=score_std(inputs.reward_model))
    return Job(
        policy, steps, partial(loss, config=config), config.n_iterations * config.n_epochs * config.n_minibatches
    )
