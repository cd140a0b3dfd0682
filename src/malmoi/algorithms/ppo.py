"""PPO-RLHF: sample answers, score them, and move the policy towards what people prefer, but not far from where it was.

Sources: Schulman et al. 2017 (arXiv:1707.06347); Ziegler et al. 2019 (arXiv:1909.08593); Stiennon et al. 2020
(arXiv:2009.01325); Ouyang et al. 2022 (arXiv:2203.02155). Their constants form three consistent sets: `recipe` picks
one, and any setting given beside it wins.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from malmoi.config import Settings
from malmoi.data.batch import Tokens
from malmoi.data.prompts import Prompt, read_prompts
from malmoi.data.stream import Shuffled
from malmoi.data.tokens import window_steps
from malmoi.errors import ConfigError
from malmoi.formats.folder import load_model, load_reward_model, load_text, score_std
from malmoi.model.lora import WithoutAdapters, add_lora
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.job import Job
from malmoi.train.policy_maths import clipped_policy_loss, clipped_value_loss, gae, kl_estimate, token_rewards, whiten
from malmoi.train.reference import policy_and_reference
from malmoi.train.rollouts import (
    RolloutConfig,
    Rollouts,
    RolloutSteps,
    response_logps,
    response_values,
)

RECIPES: dict[str, dict[str, Any]] = {
    "ziegler": {
        "beta": 0.15, "kl_target": 6.0, "whiten_rewards": True, "value_from": "policy", "n_epochs": 4,
        "n_minibatches": 1, "temperature": 0.7, "normalise_rewards": 256,
    },
    "stiennon": {
        "beta": 0.05, "kl_target": None, "whiten_rewards": False, "value_from": "reward_model", "n_epochs": 4,
        "n_minibatches": 1, "temperature": 0.7,
    },
    "instructgpt": {
        "beta": 0.02, "kl_target": None, "whiten_rewards": False, "value_from": "reward_model", "n_epochs": 1,
        "n_minibatches": 8, "temperature": 1.0, "average_decay": 0.992,
    },
}  # fmt: skip


class Config(RolloutConfig):
    """Settings of PPO."""

    recipe: Literal["ziegler", "stiennon", "instructgpt"] = "stiennon"
    """Whose constants hold where none is given here."""
    n_epochs: int = Field(4, gt=0)
    """Passes over the answers of one iteration, reshuffled each time."""
    temperature: float = Field(0.7, gt=0)
    """Of sampling, and of every log-probability."""
    gamma: float = Field(1.0, ge=0, le=1)
    """Discount per token."""
    gae_lambda: float = Field(0.95, ge=0, le=1)
    """Decay of the advantage trace per token."""
    value_clip_eps: float = Field(0.2, gt=0)
    """How far a value counts from the old one, in reward units."""
    vf_coef: float = Field(0.1, ge=0)
    """Weight of the value loss."""
    whiten_rewards: bool = False
    """Divide rewards by their standard deviation."""
    value_from: Literal["reward_model", "policy"] = "reward_model"
    """What the value network starts as; from the policy its head starts at zero."""
    ptx_coef: float = Field(0.0, ge=0)
    """Weight of the pretraining loss mixed in (InstructGPT: 27.8); 0 mixes none."""
    ptx_windows_per_answer: float = Field(8.0, gt=0)
    """Windows of pretraining text, each as long as the model's context, for every sampled answer (InstructGPT: 8)."""
    average_decay: float = Field(0.0, ge=0, lt=1)
    """Keep and save a moving average of the policy (InstructGPT: 0.992); 0 saves the policy itself."""

    @model_validator(mode="before")
    @classmethod
    def _with_recipe(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {**RECIPES.get(values.get("recipe", "stiennon"), {}), **values}


class Inputs(Settings):
    """What PPO reads."""

    policy: Path = Path()
    """Model folder to start from, and the frozen reference: the SFT model."""
    reward_model: Path = Path()
    """Reward model's folder."""
    data: Path = Path()
    """Prompts, JSON lines {"messages": [...]}."""
    ptx_shards: Path | None = None
    """Token shards of the pretraining text, where `ptx_coef` mixes some in."""


class Actors(nn.Module):
    """What PPO trains: the policy, and the value network that judges how well it will end."""

    def __init__(self, policy: LanguageModel, value: ScalarModel) -> None:
        super().__init__()
        self.policy, self.value = policy, value


@dataclass(frozen=True)
class PtxTokens:
    """Pretraining text mixed into a PPO step; `weight` makes its loss a mean over its own tokens."""

    tokens: Tokens
    weight: float

    @property
    def count(self) -> int:
        """None of the step's divisor."""
        return 0

    def to(self, device: torch.device) -> "PtxTokens":
        return replace(self, tokens=self.tokens.to(device))


@dataclass(frozen=True)
class ValueRollouts:
    """Answers once more, for the value network: learned from apart, they hold one network's activations at a time."""

    rollouts: Rollouts

    @property
    def count(self) -> int:
        """Counted with the policy's already."""
        return 0

    def to(self, device: torch.device) -> "ValueRollouts":
        return ValueRollouts(self.rollouts.to(device))


Batch = Rollouts | ValueRollouts | PtxTokens


def loss(model: Actors, batch: Batch, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped policy loss, or vf_coef · clipped value loss, summed over response tokens; or the weighted ptx loss."""
    if isinstance(batch, PtxTokens):
        tokens = batch.tokens
        ptx = model.policy.cross_entropy(tokens.ids, tokens.targets, tokens.mask) * batch.weight
        return config.ptx_coef * ptx, {"ptx_loss": ptx.detach()}
    if isinstance(batch, ValueRollouts):
        old, mask = batch.rollouts, batch.rollouts.mask
        values = response_values(model.value, old.ids, mask)
        value_loss = clipped_value_loss(values, old.values, old.returns, config.value_clip_eps)[mask].sum()
        return config.vf_coef * value_loss, {"value_loss": value_loss.detach()}
    mask = batch.mask
    logps, entropy = response_logps(model.policy, batch.ids, mask, config.temperature)
    policy_loss = clipped_policy_loss(logps, batch.logps, batch.advantages, config.clip_eps)[mask].sum()
    with torch.no_grad():
        log_ratio = (logps - batch.logps)[mask]
        sums = {
            "policy_loss": policy_loss.detach(),
            "approx_kl": kl_estimate(log_ratio).sum(),
            "clip_fraction": ((log_ratio.exp() - 1).abs() > config.clip_eps).float().sum(),
            "entropy": entropy.sum(),
        }
    return policy_loss, sums


def rollout_steps(
    actors: Actors, ref: LanguageModel | WithoutAdapters, reward_model: ScalarModel, prompts: Sequence[Prompt],
    tokenizer: Tokenizer, config: Config, score_std: float = 1.0, ptx_shards: Path | None = None,
) -> RolloutSteps:  # fmt: skip
    """PPO's stream."""
    ptx = _ptx_steps(actors.policy, config, ptx_shards)

    def mixed(micros: list[Rollouts], stream: RolloutSteps) -> list[Batch]:
        batches: list[Batch] = [*micros, *map(ValueRollouts, micros)]
        if ptx is None:
            return batches
        ptx.load_state_dict({"step": stream.n_taken})
        texts = next(iter(ptx))
        weight = sum(micro.count for micro in micros) / sum(text.count for text in texts)
        return [*batches, *(PtxTokens(text, weight) for text in texts)]

    return RolloutSteps(
        actors.policy, actors.value, ref, reward_model, prompts, tokenizer, config,
        with_advantages=lambda rollouts, beta: with_advantages(rollouts, config, beta), to_batches=mixed,
        score_std=score_std,
    )  # fmt: skip


def with_advantages(rollouts: Rollouts, config: Config, beta: float) -> Rollouts:
    """Rewards with the KL penalty -> GAE -> returns (before whitening) -> whitened advantages."""
    mask = rollouts.mask
    rewards = token_rewards(rollouts.scores, rollouts.logps, rollouts.ref_logps, mask, beta)
    if config.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    advantages = gae(rewards, rollouts.values, mask, config.gamma, config.gae_lambda)
    returns = (advantages + rollouts.values) * mask
    return replace(rollouts, advantages=whiten(advantages, mask), returns=returns)


def build(config: Config, inputs: Inputs) -> Job:
    """The four networks, and the stream of rollouts."""
    policy, ref = policy_and_reference(inputs.policy, config.lora)
    reward_model = load_reward_model(inputs.reward_model)
    value = load_model(inputs.reward_model if config.value_from == "reward_model" else inputs.policy, ScalarModel)
    if config.value_from == "policy":
        nn.init.zeros_(value.score.weight)
    add_lora(value, config.lora)
    tokenizer, template = load_text(inputs.policy)
    prompts = read_prompts(inputs.data, tokenizer, template, policy.config.seq_len - config.max_tokens)
    actors = Actors(policy, value)
    steps = rollout_steps(
        actors, ref, reward_model, prompts, tokenizer, config, score_std(inputs.reward_model), inputs.ptx_shards
    )
    averaged = copy.deepcopy(actors).requires_grad_(False) if config.average_decay else None
    n_steps = config.n_iterations * config.n_epochs * config.n_minibatches

    def step_loss(model: Actors, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return loss(model, batch, config)

    return Job(actors, steps, step_loss, n_steps, averaged, config.average_decay)


def ptx_windows(config: Config) -> int:
    """Windows of pretraining text in one optimizer step, where some are mixed in."""
    return max(1, round(config.ptx_windows_per_answer * config.batch_size / config.n_minibatches))


def _ptx_steps(policy: LanguageModel, config: Config, ptx_shards: Path | None) -> Shuffled | None:
    if not config.ptx_coef:
        return None
    if ptx_shards is None:
        raise ConfigError("ppo.ptx_coef: mixes in pretraining text; name its token shards in ppo.ptx_shards")
    n_windows = ptx_windows(config)
    at_once = min(n_windows, config.micro_batch_size)
    return window_steps(ptx_shards, policy.config.seq_len, n_windows, at_once, config.seed)
