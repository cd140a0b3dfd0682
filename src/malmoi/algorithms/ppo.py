"""PPO-RLHF: sample answers, score them, and move the policy towards what people prefer, but not far from where it was.

From top to bottom: the settings; `PpoSteps`, the algorithm itself (sample, score, advantages, epochs over
minibatches); the losses; `build`, which loads the four networks. The formulas are in `train/policy_maths.py`, sampling
and scoring in `train/rollouts.py`.

Sources: Schulman et al. 2017 (arXiv:1707.06347); Ziegler et al. 2019 (arXiv:1909.08593); Stiennon et al. 2020
(arXiv:2009.01325); Ouyang et al. 2022 (arXiv:2203.02155). Their constants form three consistent sets: `preset` selects
one, and any setting that is given overrides it.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from malmoi.config import Settings
from malmoi.data.batch import Tokens
from malmoi.data.prompts import TokenizedPrompt, read_prompts
from malmoi.data.stream import Shuffled
from malmoi.data.tokens import window_steps
from malmoi.errors import ConfigError
from malmoi.formats.folder import load_model, load_reward_model, load_text, score_std
from malmoi.model.lora import WithoutAdapters, add_lora
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.job import Job
from malmoi.train.policy_maths import clipped_policy_loss, clipped_value_loss, gae, kl_estimate, token_rewards, whiten
from malmoi.train.reference import policy_and_reference
from malmoi.train.rollouts import RolloutConfig, Rollouts, RolloutSteps, response_logps, response_values
from malmoi.unused import OF_LORA, OF_OPTIM, OF_ROLLOUTS, all_unused, is_empty

PRESETS: dict[str, dict[str, Any]] = {
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

    renamed: ClassVar = {"recipe": "preset"}
    preset: Literal["ziegler", "stiennon", "instructgpt"] = "stiennon"
    """Whose constants are used for settings that are not given."""
    n_epochs: int = Field(4, gt=0)
    """Passes over the answers of one iteration, reshuffled each time."""
    temperature: float = Field(0.7, gt=0)
    """Of sampling and of all log-probabilities."""
    gamma: float = Field(1.0, ge=0, le=1)
    """Discount per token."""
    gae_lambda: float = Field(0.95, ge=0, le=1)
    """Decay of the advantage trace per token."""
    value_clip_eps: float = Field(0.2, gt=0)
    """A value is clipped to the old one ± this, in reward units."""
    vf_coef: float = Field(0.1, ge=0)
    """Weight of the value loss."""
    whiten_rewards: bool = False
    """Divide rewards by their standard deviation."""
    value_from: Literal["reward_model", "policy"] = "reward_model"
    """Which model the value network starts from; from the policy, its head starts at zero."""
    ptx_coef: float = Field(0.0, ge=0)
    """Weight of the pretraining loss (InstructGPT: 27.8); 0 mixes no text in."""
    ptx_windows_per_answer: float = Field(8.0, gt=0)
    """Windows of pretraining text, each as long as the model's context, for every sampled answer (InstructGPT: 8)."""
    average_decay: float = Field(0.0, ge=0, lt=1)
    """Keep and save a moving average of the policy (InstructGPT: 0.992); 0 saves the policy itself."""

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {**PRESETS.get(values.get("preset", "stiennon"), {}), **values}


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


UNUSED = (
    *OF_OPTIM, *OF_LORA, *OF_ROLLOUTS,
    *all_unused("ptx_windows_per_answer ptx_shards", "ptx_coef", is_empty, "ptx_coef is 0"),
)  # fmt: skip


class PolicyAndValue(nn.Module):
    """What PPO trains: the policy, and the value network, which predicts at each token how well the answer will end."""

    def __init__(self, policy: LanguageModel, value: ScalarModel) -> None:
        super().__init__()
        self.policy, self.value = policy, value


Sums = dict[str, Tensor]


@dataclass(frozen=True)
class Batch:
    """A micro-batch of one term of the objective.

    The policy and the value network learn from the same answers in separate micro-batches, so that the activations of
    only one network are in memory.

    term: `policy_loss`, `value_loss` or `ptx_loss`
    data: the answers, or for `ptx_loss` pretraining text
    count: response tokens, by which the loop divides the step; each counts once, with the policy's micro-batch
    """

    term: Callable[[PolicyAndValue, Any, Config], tuple[Tensor, Sums]]
    data: Rollouts | Tokens
    count: int = 0

    def to(self, device: torch.device) -> "Batch":
        return replace(self, data=self.data.to(device))


class PpoSteps(RolloutSteps):
    """PPO's optimizer steps.

    score_unit: standard deviation of the reward model's scores
    texts: steps of pretraining text that are mixed in, if any
    """

    config: Config

    def __init__(
        self, networks: PolicyAndValue, ref: LanguageModel | WithoutAdapters, reward_model: ScalarModel,
        prompts: Sequence[TokenizedPrompt], tokenizer: Tokenizer, config: Config, *, score_unit: float = 1.0,
        texts: Shuffled | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            networks.policy, ref, reward_model, prompts, tokenizer, config, value=networks.value, score_unit=score_unit
        )
        self.texts = texts

    def __iter__(self) -> Iterator[list[Batch]]:
        for iteration, epoch, minibatch in self.remaining():
            if (epoch, minibatch) == (0, 0):
                # Sample answers; the log-probabilities of policy and reference, the values, the scores.
                rollouts = self.collect(iteration)
                # Rewards with the KL penalty, advantages, returns.
                self.rollouts = with_advantages(rollouts, self.config, self.beta)
                self.adapt_beta()
            # Each epoch shuffles the answers, and each minibatch of them is one optimizer step.
            answers = self.micro_batches(iteration, epoch, minibatch)
            batches = [Batch(policy_loss, part, part.count) for part in answers]
            batches += [Batch(value_loss, part) for part in answers]
            yield batches + self._pretraining_text(sum(batch.count for batch in batches))

    def _pretraining_text(self, n_response_tokens: int) -> list[Batch]:
        """This step's pretraining text, if any. `weight` makes its loss a mean over its own tokens."""
        if self.texts is None:
            return []
        self.texts.load_state_dict({"step": self.n_taken - 1})
        texts = next(iter(self.texts))
        weight = n_response_tokens / sum(text.count for text in texts)
        return [Batch(partial(ptx_loss, weight=weight), text) for text in texts]


def with_advantages(rollouts: Rollouts, config: Config, beta: float) -> Rollouts:
    """Rewards with the KL penalty -> GAE -> returns (before whitening) -> whitened advantages."""
    mask = rollouts.mask
    rewards = token_rewards(rollouts.scores, rollouts.logps, rollouts.ref_logps, mask, beta)
    if config.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    advantages = gae(rewards, rollouts.values, mask, config.gamma, config.gae_lambda)
    returns = (advantages + rollouts.values) * mask
    return replace(rollouts, advantages=whiten(advantages, mask), returns=returns)


def loss(networks: PolicyAndValue, batch: Batch, config: Config) -> tuple[Tensor, Sums]:
    """One term of: clipped policy loss + vf_coef · clipped value loss (+ ptx_coef · pretraining loss), summed."""
    return batch.term(networks, batch.data, config)


def policy_loss(networks: PolicyAndValue, answers: Rollouts, config: Config) -> tuple[Tensor, Sums]:
    """-min(ratio A, clip(ratio) A), summed over response tokens."""
    mask = answers.mask
    logps, entropy = response_logps(networks.policy, answers.ids, mask, config.temperature)
    policy_loss = clipped_policy_loss(logps, answers.logps, answers.advantages, config.clip_eps)[mask].sum()
    with torch.no_grad():
        log_ratio = (logps - answers.logps)[mask]
        sums = {
            "policy_loss": policy_loss.detach(),
            "approx_kl": kl_estimate(log_ratio).sum(),
            "clip_fraction": ((log_ratio.exp() - 1).abs() > config.clip_eps).float().sum(),
            "entropy": entropy.sum(),
        }
    return policy_loss, sums


def value_loss(networks: PolicyAndValue, answers: Rollouts, config: Config) -> tuple[Tensor, Sums]:
    """vf_coef · ½ max of the clipped and the plain squared error of the returns, summed over response tokens."""
    values = response_values(networks.value, answers.ids, answers.mask)
    errors = clipped_value_loss(values, answers.values, answers.returns, config.value_clip_eps)
    value_loss = errors[answers.mask].sum()
    return config.vf_coef * value_loss, {"value_loss": value_loss.detach()}


def ptx_loss(networks: PolicyAndValue, text: Tokens, config: Config, weight: float) -> tuple[Tensor, Sums]:
    """ptx_coef · weight · cross-entropy of pretraining text, summed over tokens. Source: arXiv:2203.02155, eq. 2."""
    ptx_loss = networks.policy.cross_entropy(text.ids, text.targets, text.mask) * weight
    return config.ptx_coef * ptx_loss, {"ptx_loss": ptx_loss.detach()}


def build(config: Config, inputs: Inputs) -> Job:
    """The four networks, and the stream of optimizer steps."""
    policy, ref = policy_and_reference(inputs.policy, config.lora)
    reward_model = load_reward_model(inputs.reward_model)
    value = load_model(inputs.reward_model if config.value_from == "reward_model" else inputs.policy, ScalarModel)
    if config.value_from == "policy":
        nn.init.zeros_(value.score.weight)
    add_lora(value, config.lora)
    networks = PolicyAndValue(policy, value)
    tokenizer, template = load_text(inputs.policy)
    prompts = read_prompts(inputs.data, tokenizer, template, policy.config.seq_len - config.max_tokens)
    steps = PpoSteps(
        networks, ref, reward_model, prompts, tokenizer, config, score_unit=score_std(inputs.reward_model),
        texts=ptx_steps(config, inputs, policy.config.seq_len),
    )  # fmt: skip
    averaged = copy.deepcopy(networks).requires_grad_(False) if config.average_decay else None
    n_steps = config.n_iterations * config.n_epochs * config.n_minibatches
    return Job(networks, steps, partial(loss, config=config), n_steps, averaged, config.average_decay)


def ptx_steps(config: Config, inputs: Inputs, seq_len: int) -> Shuffled | None:
    """The pretraining text for each optimizer step; None where none is mixed in.

    Raises ConfigError where it should be and its shards are not named.
    """
    if not config.ptx_coef:
        return None
    if inputs.ptx_shards is None:
        raise ConfigError("ppo.ptx_coef: mixes in pretraining text; name its token shards in ppo.ptx_shards")
    n_windows = ptx_windows(config)
    at_once = min(n_windows, config.micro_batch_size)
    return window_steps(inputs.ptx_shards, seq_len, n_windows, at_once, config.seed)


def ptx_windows(config: Config) -> int:
    """Windows of pretraining text in one optimizer step, where some are mixed in."""
    return max(1, round(config.ptx_windows_per_answer * config.batch_size / config.n_minibatches))
