"""PPO-RLHF: sample answers, score them, and move the policy towards what people prefer, but not far from where it was.

Sources: Schulman et al. 2017 (arXiv:1707.06347); Ziegler et al. 2019 (arXiv:1909.08593); Stiennon et al. 2020
(arXiv:2009.01325); Ouyang et al. 2022 (arXiv:2203.02155). Their constants form three consistent sets: `recipe` picks
one, and any setting given beside it wins.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from malmoi.config import Settings
from malmoi.data.batch import Tokens
from malmoi.data.prompts import Prompt, read_prompts
from malmoi.data.tokens import window_steps
from malmoi.errors import ConfigError
from malmoi.generate.engine import Answer
from malmoi.generate.sampling import Sampling
from malmoi.model.folder import load_model, load_text
from malmoi.model.lora import LoraConfig, WithoutAdapters, add_lora
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.loop import Job, LoopConfig
from malmoi.train.policy_maths import (
    adapted_beta,
    clipped_policy_loss,
    clipped_value_loss,
    gae,
    token_rewards,
    whiten,
)
from malmoi.train.rollouts import Rollouts, sample, score_rollouts

RECIPES: dict[str, dict[str, Any]] = {
    "ziegler": {
        "beta": 0.15, "kl_target": 6.0, "whiten_rewards": True, "value_from": "policy", "n_epochs": 4,
        "n_minibatches": 1, "temperature": 0.7,
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


class Config(Settings):
    """Settings of PPO."""

    policy: Path = Path()
    """Model folder to start from, and the frozen reference: the SFT model."""
    reward_model: Path = Path()
    """Reward model's folder."""
    data: Path = Path()
    """Prompts, JSON lines {"messages": [...]}."""
    recipe: Literal["ziegler", "stiennon", "instructgpt"] = "stiennon"
    """Whose constants hold where none is given here."""
    n_iterations: int = Field(gt=0)
    """Times that answers are sampled and learned from."""
    batch_size: int = Field(64, gt=0)
    """Answers sampled in one iteration."""
    micro_batch_size: int = Field(64, gt=0)
    """Answers in one forward pass."""
    n_epochs: int = Field(4, gt=0)
    """Passes over the answers of one iteration, reshuffled each time."""
    n_minibatches: int = Field(1, gt=0)
    """Optimizer steps in one pass."""
    temperature: float = Field(0.7, gt=0)
    """Of sampling, and of every log-probability."""
    max_tokens: int = Field(48, gt=0)
    """Longest answer."""
    beta: float = Field(0.05, ge=0)
    """KL coefficient: reward units per nat."""
    kl_target: float | None = Field(None, gt=0)
    """Nats per answer that beta adapts to (over 10,000 answers); None keeps beta fixed."""
    gamma: float = Field(1.0, ge=0, le=1)
    """Discount per token."""
    gae_lambda: float = Field(0.95, ge=0, le=1)
    """Decay of the advantage trace per token."""
    clip_eps: float = Field(0.2, gt=0)
    """How far the probability ratio counts, either way of 1."""
    value_clip_eps: float = Field(0.2, gt=0)
    """How far a value counts from the old one, in reward units."""
    vf_coef: float = Field(0.1, ge=0)
    """Weight of the value loss."""
    whiten_rewards: bool = False
    """Divide rewards by their standard deviation."""
    value_from: Literal["reward_model", "policy"] = "reward_model"
    """What the value network starts as; from the policy its head starts at zero."""
    missing_eos_score: float | None = -1.0
    """Score of an answer that never ended its turn, in place of the reward model's; None leaves that as it is."""
    ptx_coef: float = Field(0.0, ge=0)
    """Weight of the pretraining loss mixed in (InstructGPT: 27.8); 0 mixes none."""
    ptx_shards: Path | None = None
    """Token shards of the pretraining text."""
    average_decay: float = Field(0.0, ge=0, lt=1)
    """Keep and save a moving average of the policy (InstructGPT: 0.992); 0 saves the policy itself."""
    kl_budget: float = Field(20.0, gt=0)
    """Nats per answer at which training stops by itself."""
    seed: int = 1
    """Of prompts, sampling and minibatches."""
    lora: LoraConfig = LoraConfig()
    """Adapters of policy and value to train in place of all weights; without them the policy is the reference."""
    loop: LoopConfig = LoopConfig()
    """Optimizer (of policy and value alike), checkpoints, compilation."""

    @model_validator(mode="before")
    @classmethod
    def _with_recipe(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {**RECIPES.get(values.get("recipe", "stiennon"), {}), **values}

    @model_validator(mode="after")
    def _minibatches_have_answers(self) -> "Config":
        if self.n_minibatches > self.batch_size:
            raise ValueError(f"n_minibatches {self.n_minibatches} is more than batch_size {self.batch_size}")
        return self


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


def loss(model: Actors, batch: Rollouts | PtxTokens, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """Clipped policy loss + vf_coef · clipped value loss, summed over response tokens; or the weighted ptx loss."""
    if isinstance(batch, PtxTokens):
        tokens = batch.tokens
        ptx = model.policy.cross_entropy(tokens.ids, tokens.targets, tokens.mask) * batch.weight
        return config.ptx_coef * ptx, {"ptx_loss": ptx.detach()}
    inputs, chosen, mask = batch.ids[:, :-1], batch.ids[:, 1:], batch.mask
    logps, entropy = model.policy.logps(inputs, chosen, mask, config.temperature)
    policy_loss = clipped_policy_loss(logps, batch.logps, batch.advantages, config.clip_eps)[mask].sum()
    values = model.value(inputs)
    value_loss = clipped_value_loss(values, batch.values, batch.returns, config.value_clip_eps)[mask].sum()
    with torch.no_grad():
        log_ratio = (logps - batch.logps)[mask]
        sums = {
            "policy_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            # Unbiased and never negative: http://joschu.net/blog/kl-approx.html
            "approx_kl": (log_ratio.exp() - 1 - log_ratio).sum(),
            "clip_fraction": ((log_ratio.exp() - 1).abs() > config.clip_eps).float().sum(),
            "entropy": entropy.sum(),
        }
    return policy_loss + config.vf_coef * value_loss, sums


class RolloutSteps:
    """PPO's stream: samples from the model that it trains. Nothing else about the loop knows it.

    latest: the prompts and answers of the last iteration, for those who look on (alarms, sample files)
    info: what the last iteration measured
    """

    def __init__(
        self, actors: Actors, ref: LanguageModel | WithoutAdapters, reward_model: ScalarModel,
        prompts: Sequence[Prompt], tokenizer: Tokenizer, config: Config,
    ) -> None:  # fmt: skip
        self.actors, self.ref, self.reward_model = actors, ref, reward_model
        self.prompts, self.tokenizer, self.config = prompts, tokenizer, config
        self.beta, self.n_taken, self.is_over_budget = config.beta, 0, False
        self.rollouts: Rollouts | None = None
        self.info: dict[str, float] = {}
        self.latest: list[tuple[Prompt, Answer]] = []
        self.ptx = _ptx_steps(actors.policy, config)

    def __iter__(self) -> Iterator[Sequence[Rollouts | PtxTokens]]:
        config = self.config
        per_iteration = config.n_epochs * config.n_minibatches
        while self.n_taken < config.n_iterations * per_iteration:
            iteration, step = divmod(self.n_taken, per_iteration)
            if step == 0 or self.rollouts is None:
                if self.is_over_budget:
                    return
                self.rollouts = self._collect(iteration)
            epoch, minibatch = divmod(step, config.n_minibatches)
            order = np.random.default_rng((config.seed, 2, iteration, epoch)).permutation(config.batch_size)
            rows = torch.from_numpy(np.array_split(order, config.n_minibatches)[minibatch])
            micros: list[Rollouts | PtxTokens] = [
                self.rollouts.rows(part)
                for part in torch.split(rows, config.micro_batch_size)
                if self._has_tokens(part)
            ]
            if self.ptx is not None:
                micros += self._ptx_batches(next(self.ptx), sum(micro.count for micro in micros))
            self.n_taken += 1
            yield micros

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"n_taken": self.n_taken, "beta": self.beta, "is_over_budget": self.is_over_budget}
        if self.rollouts is not None:
            state |= {f"rollouts.{name}": value for name, value in vars(self.rollouts).items()}
        return state | {f"info.{name}": value for name, value in self.info.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n_taken, self.beta = int(state["n_taken"]), float(state["beta"])
        self.is_over_budget = bool(state["is_over_budget"])
        self.rollouts = Rollouts(**_under(state, "rollouts."))
        self.info = _under(state, "info.")
        if self.ptx is not None:
            for _ in range(self.n_taken):
                next(self.ptx)

    def _collect(self, iteration: int) -> Rollouts:
        """Sample one iteration's answers, score them, and compute advantages and returns."""
        config, rng = self.config, np.random.default_rng((self.config.seed, 1, iteration))
        chosen = [self.prompts[i] for i in prompt_order(len(self.prompts), config.batch_size, config.seed, iteration)]
        seeds = [int(seed) for seed in rng.integers(2**62, size=len(chosen))]
        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        end_id = self.tokenizer.end_of_turn_id
        answers, ids, mask = sample(
            self.actors.policy, [prompt.ids for prompt in chosen], sampling, end_id=end_id, seeds=seeds
        )
        finished = torch.tensor([answer.finished for answer in answers], device=ids.device)
        rollouts = score_rollouts(
            self.actors.policy, self.ref, self.actors.value, self.reward_model, ids, mask, finished,
            config.temperature, config.micro_batch_size,
        )  # fmt: skip
        rollouts = with_advantages(rollouts, config, self.beta)
        self.latest = list(zip(chosen, answers, strict=True))
        self._measure(rollouts, answers)
        return rollouts

    def _measure(self, rollouts: Rollouts, answers: list[Answer]) -> None:
        kl = ((rollouts.logps - rollouts.ref_logps) * rollouts.mask).sum(dim=1)
        scores = effective_scores(rollouts, self.config)
        self.info = {
            "kl": float(kl.mean()),
            "kl_error": float(kl.std(correction=0)) / max(1, len(kl) - 1) ** 0.5,
            "score": float(scores.mean()),
            "beta": self.beta,
            "response_tokens": rollouts.count / len(answers),
            "finished": float(rollouts.finished.float().mean()),
            "distinct": len({tuple(answer.ids) for answer in answers}) / len(answers),
        }
        self.is_over_budget = self.info["kl"] > self.config.kl_budget
        if self.config.kl_target is not None:
            self.beta = adapted_beta(self.beta, self.info["kl"], self.config.kl_target, 10_000, len(answers))

    def _has_tokens(self, rows: Tensor) -> bool:
        assert self.rollouts is not None
        return bool(self.rollouts.mask[rows].any())

    def _ptx_batches(self, batches: Sequence[Tokens], n_response_tokens: int) -> list[PtxTokens]:
        n_tokens = sum(batch.count for batch in batches)
        return [PtxTokens(batch, n_response_tokens / n_tokens) for batch in batches]


def effective_scores(rollouts: Rollouts, config: Config) -> Tensor:
    """The reward model's scores (B,), with `missing_eos_score` for answers that never ended."""
    if config.missing_eos_score is None:
        return rollouts.scores
    return torch.where(rollouts.finished, rollouts.scores, config.missing_eos_score)


def with_advantages(rollouts: Rollouts, config: Config, beta: float) -> Rollouts:
    """Rewards with the KL penalty -> GAE -> returns (before whitening) -> whitened advantages."""
    mask = rollouts.mask
    rewards = token_rewards(effective_scores(rollouts, config), rollouts.logps, rollouts.ref_logps, mask, beta)
    if config.whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    advantages = gae(rewards, rollouts.values, mask, config.gamma, config.gae_lambda)
    returns = (advantages + rollouts.values) * mask
    return replace(rollouts, advantages=whiten(advantages, mask), returns=returns)


def prompt_order(n_prompts: int, batch_size: int, seed: int, iteration: int) -> list[int]:
    """Which prompts an iteration takes: shuffled passes over all of them."""
    chosen = []
    for position in range(iteration * batch_size, (iteration + 1) * batch_size):
        epoch, place = divmod(position, n_prompts)
        chosen.append(int(np.random.default_rng((seed, 0, epoch)).permutation(n_prompts)[place]))
    return chosen


def build(config: Config) -> Job:
    """The four networks, and the stream of rollouts."""
    policy = load_model(config.policy, LanguageModel)
    ref: LanguageModel | WithoutAdapters
    ref = (
        WithoutAdapters(policy) if config.lora.rank else load_model(config.policy, LanguageModel).requires_grad_(False)
    )
    reward_model = load_model(config.reward_model, ScalarModel)
    value = load_model(config.reward_model if config.value_from == "reward_model" else config.policy, ScalarModel)
    if config.value_from == "policy":
        nn.init.zeros_(value.score.weight)
    reward_model.requires_grad_(False)
    for trained in (policy, value):
        add_lora(trained, config.lora)
    tokenizer, template = load_text(config.policy)
    prompts = read_prompts(config.data, tokenizer, template, policy.config.seq_len - config.max_tokens)
    actors = Actors(policy, value)
    steps = RolloutSteps(actors, ref, reward_model, prompts, tokenizer, config)
    averaged = copy.deepcopy(actors).requires_grad_(False) if config.average_decay else None
    n_steps = config.n_iterations * config.n_epochs * config.n_minibatches

    def step_loss(model: Actors, batch: Rollouts | PtxTokens) -> tuple[Tensor, dict[str, Tensor]]:
        return loss(model, batch, config)

    return Job(actors, steps, step_loss, n_steps, averaged, config.average_decay)


def _ptx_steps(policy: LanguageModel, config: Config) -> Iterator[Sequence[Tokens]] | None:
    if not config.ptx_coef:
        return None
    if config.ptx_shards is None:
        raise ConfigError("ppo.ptx_coef: mixes in pretraining text; name its token shards in ppo.ptx_shards")
    n_windows = max(1, config.batch_size // config.n_minibatches // 8)
    return iter(window_steps(config.ptx_shards, policy.config.seq_len, n_windows, n_windows, config.seed))


def _under(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
