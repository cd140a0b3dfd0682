"""What PPO and GRPO share: sample answers from the policy that is trained, and score them.

Their common settings, the rollouts, and the part of their streams that collects and resumes.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from malmoi import device
from malmoi.config import Seed, Settings
from malmoi.data.batch import pad, share_prompts
from malmoi.data.prompts import TokenizedPrompt
from malmoi.inference.generate import generate, generator_gap, share_weights
from malmoi.inference.requests import Answer
from malmoi.inference.sampling import Sampling
from malmoi.model.lora import LoraConfig, WithoutAdapters
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.loop import LoopConfig
from malmoi.train.parallel import gathered, share_of
from malmoi.train.policy_maths import adapted_beta, priced


class RolloutConfig(Settings):
    """Settings that PPO and GRPO share."""

    n_iterations: int = Field(gt=0)
    """How often answers are sampled and learned from."""
    batch_size: int = Field(64, gt=0)
    """Answers sampled in one iteration."""
    micro_batch_size: int = Field(64, gt=0)
    """Answers in one forward pass."""
    n_epochs: int = Field(1, gt=0)
    """Passes over the answers of one iteration, reshuffled each time."""
    n_minibatches: int = Field(1, gt=0)
    """Optimizer steps in one pass."""
    temperature: float = Field(1.0, gt=0)
    """Of sampling and of all log-probabilities."""
    max_tokens: int = Field(48, gt=0)
    """Longest answer."""
    beta: float = Field(0.05, ge=0)
    """KL coefficient: reward units per nat."""
    kl_target: float | None = Field(None, gt=0)
    """KL in nats per answer towards which beta adapts (over 10,000 answers); None keeps beta fixed."""
    clip_eps: float = Field(0.2, gt=0)
    """The probability ratio is clipped to 1 ± this."""
    missing_eos_penalty: float = Field(1.0, ge=0)
    """Subtracted from the score of an answer that never ended its turn, in standard deviations of the reward model's
    scores (`score_std` in its folder's `malmoi.json`; if it is missing, in the scores' own unit)."""
    normalise_rewards: int = Field(0, ge=0, exclude_if=lambda n: n == 0)
    """Number of answers of the reference by which scores are normalised to mean 0 and variance 1 before training; 0
    does not normalise."""
    kl_budget: float = Field(20.0, gt=0)
    """KL in nats per answer above which no further iteration begins."""
    seed: Seed = 1
    """Of prompts, sampling and minibatches."""
    lora: LoraConfig = LoraConfig()
    """Adapters to train in place of all weights; without them the policy is the reference."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""

    @model_validator(mode="after")
    def _can_be_sampled_and_split(self) -> "RolloutConfig":
        if self.n_minibatches > self.batch_size:
            raise ValueError(f"n_minibatches {self.n_minibatches} is more than batch_size {self.batch_size}")
        if self.loop.fsdp:
            raise ValueError(
                "loop.fsdp shards the policy, but answers can only be sampled from a whole one; leave it off"
            )
        return self


@dataclass(frozen=True)
class Rollouts:
    """Sampled answers. All (B, T) tensors are aligned: position t chooses token t + 1.

    ids: (B, T + 1) prompt and response, with the end of turn if it was sampled
    mask: (B, T), True where the chosen token belongs to the response
    logps, ref_logps: (B, T) of the chosen tokens at the sampling temperature; values: (B, T)
    advantages, returns: (B, T), zero until they are computed
    scores: (B,) of the reward model, in its units, minus the price of an unfinished answer, normalised if asked
    finished: (B,) whether the answer ended its turn
    """

    ids: Tensor
    mask: Tensor
    logps: Tensor
    ref_logps: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    scores: Tensor
    finished: Tensor

    @property
    def count(self) -> int:
        """Response tokens."""
        return int(self.mask.sum())

    def to(self, device: torch.device) -> "Rollouts":
        return Rollouts(*(getattr(self, f.name).to(device) for f in fields(self)))

    def rows(self, index: Tensor) -> "Rollouts":
        """These rows, cut to the longest of them."""
        longest = int(self.mask[index].any(dim=0).nonzero().max()) + 1
        chosen = {f.name: getattr(self, f.name)[index] for f in fields(self)}
        widths = {name: longest + (name == "ids") for name, tensor in chosen.items() if tensor.ndim == 2}
        return Rollouts(**{n: t[:, : widths[n]] if n in widths else t for n, t in chosen.items()})


def sample(
    policy: LanguageModel, prompts: Sequence[Sequence[int]], sampling: Sampling, *, tokenizer: Tokenizer,
    seeds: Sequence[int],
) -> tuple[list[Answer], Tensor, Tensor]:  # fmt: skip
    """Answers, (B, T + 1) ids of prompt and response, and the (B, T) mask of positions that choose a response token.

    A response includes the token that ended it, which may be any of the tokenizer's `stop_ids`.
    With several ranks each samples a share of the answers, and all ranks get all answers.
    """
    here = device.current()
    share_weights(policy)
    own = share_of(len(prompts), here.rank, here.world_size)
    answers: list[Answer] = []
    if prompts[own]:
        answers = generate(policy, prompts[own], sampling, end_ids=tokenizer.stop_ids, seeds=seeds[own])
    answers = gathered(answers)
    rows = [[*prompt, *answer.sampled] for prompt, answer in zip(prompts, answers, strict=True)]
    ids, lengths = pad(rows, tokenizer.end_of_turn_id)
    position = torch.arange(ids.shape[1] - 1)
    first = torch.tensor([len(prompt) - 1 for prompt in prompts])[:, None]
    mask = (position >= first) & (position < lengths[:, None] - 1)
    return answers, ids.to(here.torch_device), mask.to(here.torch_device)


@torch.no_grad()
def score_rollouts(
    policy: LanguageModel, ref: LanguageModel | WithoutAdapters, value: ScalarModel | None, reward_model: ScalarModel,
    ids: Tensor, mask: Tensor, finished: Tensor, end_id: int, temperature: float, micro_batch_size: int,
) -> Rollouts:  # fmt: skip
    """One forward pass of each network over all answers, by the same functions as in training (there is no dropout).

    With several ranks each reads a share of the micro-batches, and all ranks get all numbers.

    value: the value network; None (GRPO) leaves values at zero
    end_id: for the reward model, the last token of every answer is replaced by this (`whole_turns`)
    """
    here, turns = device.current(), whole_turns(ids, mask, end_id)
    logps, ref_logps, values = torch.zeros(3, *mask.shape, device=ids.device)
    scores = torch.zeros(len(ids), device=ids.device)
    for start in range(0, len(ids), micro_batch_size)[here.rank :: here.world_size]:
        rows = slice(start, start + micro_batch_size)
        with device.autocast():
            logps[rows] = response_logps(policy, ids[rows], mask[rows], temperature)[0]
            ref_logps[rows] = response_logps(ref, ids[rows], mask[rows], temperature)[0]
            if value is not None:
                values[rows] = response_values(value, ids[rows], mask[rows])
            scores[rows] = scores_at_end(reward_model, turns[rows], mask[rows])
    for found in (logps, ref_logps, values, scores):  # each rank has zeros where another one has numbers
        device.sum_over_ranks(found)
    zeros = torch.zeros_like(logps)
    return Rollouts(ids, mask, logps, ref_logps, values * mask, zeros, zeros, scores, finished)


def whole_turns(ids: Tensor, mask: Tensor, end_id: int) -> Tensor:
    """The ids (B, T + 1) with `end_id` as the last token of every answer, also of one that never ended.

    The reward model was trained at ends of turns only. mask: (B, T)
    """
    position = torch.arange(1, ids.shape[1], device=ids.device)
    last = (position * mask).amax(dim=1, keepdim=True)
    return ids.scatter(1, last, end_id)


def response_logps(
    policy: LanguageModel | WithoutAdapters, ids: Tensor, mask: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """log p of every response token, (B, T), zero elsewhere, and the N entropies where `mask` is True, (N,), in nats.

    ids: (B, T + 1); mask: (B, T). A prompt that several rows share is read once; so do the two functions below.
    """
    shared = share_prompts(ids, mask)
    if shared is None:
        return policy.logps(ids[:, :-1], ids[:, 1:], mask, temperature)
    logps, entropy = policy.logps(shared.ids, shared.targets, shared.predicts, temperature, shared.branches)
    return shared.unpack(logps[shared.predicts], mask), shared.unpack(entropy, mask)[mask]


def response_values(value: ScalarModel, ids: Tensor, mask: Tensor) -> Tensor:
    """The value at every position that chooses a response token, (B, T). ids: (B, T + 1); mask: (B, T)."""
    shared = share_prompts(ids, mask)
    if shared is None:
        return value(ids[:, :-1], mask=mask, starts=_prompt_lengths(mask))
    return shared.unpack(value(shared.ids, shared.branches, starts=shared.starts)[shared.predicts], mask)


def scores_at_end(reward_model: ScalarModel, ids: Tensor, mask: Tensor) -> Tensor:
    """The reward model's lower bound at the last token of each response, (B,). ids: (B, T + 1); mask: (B, T)."""
    if (shared := share_prompts(ids, mask)) is not None:
        found = reward_model.lower_bounds(shared.ids, shared.ends, shared.branches, shared.starts)
        return torch.zeros_like(found).index_copy(0, shared.order, found)
    position = torch.arange(1, ids.shape[1], device=ids.device)
    last = (position * mask).amax(dim=1, keepdim=True)
    asked = torch.zeros_like(ids, dtype=torch.bool).scatter(1, last, True)
    return reward_model.lower_bounds(ids, asked, starts=_prompt_lengths(mask))


def _prompt_lengths(mask: Tensor) -> Tensor:
    """Tokens of each row's prompt, (B,): the first True of `mask` (B, T) is at its last token."""
    return mask.int().argmax(dim=1) + 1


class RolloutSteps(ABC):
    """A stream of optimizer steps that learn from answers which the trained policy samples.

    The part that PPO and GRPO share: collecting answers, cutting them into minibatches, and resuming. The order of the
    algorithm is in its own `__iter__`.

    value: the value network; None for algorithms without one
    group_size: answers to each prompt; answers to one prompt are consecutive
    score_unit: that of `missing_eos_penalty`, the standard deviation of the reward model's scores
    score_mean, score_std: of the reference, by which scores are normalised; 0 if they are not
    beta: the KL coefficient for the next iteration
    n_taken: optimizer steps yielded so far
    rollouts: the answers of the current iteration, with advantages
    info: figures about the current iteration, for the metrics of its steps
    latest: prompts and answers of the current iteration, for alarms and sample files; empty after a resume
    """

    def __init__(
        self, policy: LanguageModel, ref: LanguageModel | WithoutAdapters, reward_model: ScalarModel,
        prompts: Sequence[TokenizedPrompt], tokenizer: Tokenizer, config: RolloutConfig, *,
        value: ScalarModel | None = None, group_size: int = 1, score_unit: float = 1.0,
    ) -> None:  # fmt: skip
        self.policy, self.value, self.ref, self.reward_model = policy, value, ref, reward_model
        self.prompts, self.tokenizer, self.config, self.group_size = prompts, tokenizer, config, group_size
        self.beta, self.n_taken, self.is_over_budget = config.beta, 0, False
        self.missing_eos_price = config.missing_eos_penalty * score_unit
        self.score_mean, self.score_std = 0.0, 0.0
        self.rollouts: Rollouts | None = None
        self.info: dict[str, float] = {}
        self.latest: list[tuple[TokenizedPrompt, Answer]] = []

    @abstractmethod
    def __iter__(self) -> Iterator[Sequence[Any]]: ...

    def remaining(self) -> Iterator[tuple[int, int, int]]:
        """Iteration, epoch and minibatch of each optimizer step that is left.

        It ends before an iteration that would begin over the KL budget.
        """
        config = self.config
        per_iteration = config.n_epochs * config.n_minibatches
        while self.n_taken < config.n_iterations * per_iteration:
            iteration, step = divmod(self.n_taken, per_iteration)
            if step == 0 and self.is_over_budget:
                return
            # Counted before it is yielded: the loop saves the stream's state after the step was taken.
            self.n_taken += 1
            yield iteration, *divmod(step, config.n_minibatches)

    def collect(self, iteration: int) -> Rollouts:
        """Sample one iteration's answers, score them, and measure them for `info`."""
        config = self.config
        if config.normalise_rewards and not self.score_std:
            self._measure_reference()
        n_prompts = config.batch_size // self.group_size
        order = prompt_order(len(self.prompts), n_prompts, config.seed, iteration)
        prompts = [self.prompts[i] for i in order for _ in range(self.group_size)]
        answers, rollouts, raw_scores = self._sample(prompts, np.random.default_rng((config.seed, 1, iteration)))
        self.latest = list(zip(prompts, answers, strict=True))
        self.info = figures_of(rollouts, answers, raw_scores) | {"beta": self.beta}
        if (gap := generator_gap()) is not None:
            self.info["generator_gap"] = gap
        # All ranks stop together, even if their last bits differ.
        self.is_over_budget = device.any_rank(self.info["kl"] > config.kl_budget)
        return rollouts

    def adapt_beta(self) -> None:
        """Move beta towards the KL target, if there is one, by the KL of the answers just collected."""
        config = self.config
        if config.kl_target is not None:
            self.beta = adapted_beta(self.beta, self.info["kl"], config.kl_target, 10_000, config.batch_size)

    def micro_batches(self, iteration: int, epoch: int, minibatch: int) -> list[Rollouts]:
        """The answers of one optimizer step: every epoch shuffles all answers and splits them into `n_minibatches`.

        A micro-batch in which no answer has a token is left out.
        """
        assert self.rollouts is not None
        config, rollouts = self.config, self.rollouts
        order = np.random.default_rng((config.seed, 2, iteration, epoch)).permutation(config.batch_size)
        rows = torch.from_numpy(np.array_split(order, config.n_minibatches)[minibatch])
        parts = torch.split(rows, config.micro_batch_size)
        return [rollouts.rows(part) for part in parts if bool(rollouts.mask[part].any())]

    def state_dict(self) -> dict[str, Any]:
        names = ("n_taken", "beta", "is_over_budget", "score_mean", "score_std")
        state: dict[str, Any] = {name: getattr(self, name) for name in names}
        if self.rollouts is not None:
            state |= {f"rollouts.{name}": value for name, value in vars(self.rollouts).items()}
        return state | {f"info.{name}": value for name, value in self.info.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.n_taken, self.beta = int(state["n_taken"]), float(state["beta"])
        self.is_over_budget = bool(state["is_over_budget"])
        self.score_mean, self.score_std = float(state["score_mean"]), float(state["score_std"])
        self.rollouts = Rollouts(**_values_below(state, "rollouts."))
        self.info = _values_below(state, "info.")

    def _sample(
        self, prompts: Sequence[TokenizedPrompt], rng: np.random.Generator
    ) -> tuple[list[Answer], Rollouts, Tensor]:
        """Answers, their rollouts, and the reward model's raw scores (B,), before price and normalisation."""
        config = self.config
        seeds = [int(seed) for seed in rng.integers(2**62, size=len(prompts))]
        sampling = Sampling(temperature=config.temperature, max_tokens=config.max_tokens)
        answers, ids, mask = sample(
            self.policy, [prompt.ids.tolist() for prompt in prompts], sampling, tokenizer=self.tokenizer, seeds=seeds
        )
        finished = torch.tensor([answer.finished for answer in answers], device=ids.device)
        rollouts = score_rollouts(
            self.policy, self.ref, self.value, self.reward_model, ids, mask, finished,
            self.tokenizer.end_of_turn_id, config.temperature, config.micro_batch_size,
        )  # fmt: skip
        scores = priced(rollouts.scores, finished, self.missing_eos_price)
        if self.score_std:
            scores = (scores - self.score_mean) / self.score_std
        return answers, replace(rollouts, scores=scores), rollouts.scores

    def _measure_reference(self) -> None:
        """Mean and standard deviation of the policy's scores before its first update, when it equals the reference."""
        rng = np.random.default_rng((self.config.seed, 3))
        prompts = [self.prompts[i] for i in rng.integers(len(self.prompts), size=self.config.normalise_rewards)]
        scores = self._sample(prompts, rng)[1].scores
        self.score_mean, self.score_std = float(scores.mean()), max(1e-6, float(scores.std(correction=0)))


def figures_of(rollouts: Rollouts, answers: Sequence[Answer], raw_scores: Tensor) -> dict[str, float]:
    """Figures about the answers of one iteration.

    kl: mean over answers of Σ log policy - log ref, in nats, and kl_error: its standard error
    score: mean score; score_range: highest - lowest raw score
    response_tokens: per answer; finished: share that ended; distinct: share of different answers
    """
    kl = ((rollouts.logps - rollouts.ref_logps) * rollouts.mask).sum(dim=1)
    return {
        "kl": float(kl.mean()),
        "kl_error": float(kl.std(correction=0)) / max(1, len(kl) - 1) ** 0.5,
        "score": float(rollouts.scores.mean()),
        "score_range": float(raw_scores.max() - raw_scores.min()),
        "response_tokens": rollouts.count / len(answers),
        "finished": float(rollouts.finished.float().mean()),
        "distinct": len({tuple(answer.ids) for answer in answers}) / len(answers),
    }


def prompt_order(n_prompts: int, batch_size: int, seed: int, iteration: int) -> list[int]:
    """The prompts of an iteration, from shuffled passes over all prompts."""
    places = (divmod(position, n_prompts) for position in range(iteration * batch_size, (iteration + 1) * batch_size))
    return [int(_pass(n_prompts, seed, epoch)[place]) for epoch, place in places]


@functools.lru_cache(maxsize=4)
def _pass(n_prompts: int, seed: int, epoch: int) -> np.ndarray:
    """The order of one pass over all prompts. It is cached: one pass may last many iterations."""
    return np.random.default_rng((seed, 0, epoch)).permutation(n_prompts)


def _values_below(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
