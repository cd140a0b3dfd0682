"""How long a recipe will take: a few steps of its own networks are timed now, and scaled up.

All figures are estimates. The trials include the slowdown by other processes. `memory.py` estimates memory and disk.
"""

import argparse
import lzma
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from malmoi import device
from malmoi.cost import ANSWER_TOKENS, REFERENCE_FLOPS, Cost, TrainingCost
from malmoi.data.batch import Tokens
from malmoi.data.comparisons import Ranking, collate_rankings
from malmoi.inference.generate import generate
from malmoi.inference.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.lora import add_lora
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.memory import BASE_BYTES, costs_of, memory_of, parts_of, shape_of, text_bytes
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.run import remaining_work
from malmoi.train.job import Job, Loss
from malmoi.train.loop import LoopConfig, fit
from malmoi.train.rollouts import Rollouts
from malmoi.workspace.folder import Workspace

PRODUCT = 768
PRODUCT_S = 0.1
READ_S = 0.030
"""Seconds of `_short_read` on the reference core of `Cost.s_per_mb` and `Cost.fixed_s`."""
TRIAL_S = 0.4
SHORT_TOKENS, LONGEST_TRIED = 512, 1024
"""Shorter rows count as SHORT_TOKENS long; of longer rows only the first LONGEST_TRIED tokens are tried."""
TRIAL_FLOPS_S = 0.2
"""Target length of a trial, at the speed of matrix products: it sets how many rows and layers are tried."""


class Speed(Protocol):
    """How fast something computes: seconds of a micro-batch, of reading one row, of one sampled answer."""

    def step(self, training: TrainingCost) -> float: ...
    def read(self, n_tokens: int) -> float: ...
    def answer(self, n_prompt: int, n_answer: int) -> float: ...


@dataclass(frozen=True)
class StageEstimate:
    """Estimated memory and time of a stage."""

    stage: str
    memory_bytes: float
    seconds: float


def estimate(
    recipe: Recipe, shape: ModelConfig, compute_dtype: str, stages: Sequence[str] | None = None, n_taken: int = 0
) -> list[StageEstimate]:
    """Memory and time of these stages (default: all), in order, after a few trial steps. The recipe must fit in memory.

    n_taken: optimizer steps that the first stage has already taken
    """
    stages = recipe.stages if stages is None else stages
    costs, trials = costs_of(recipe, shape), Trials(shape)
    n_text, plain = text_bytes(recipe), BASE_BYTES + 4 * shape.n_parameters()
    reading = reading_ratio()
    estimates = []
    for stage in stages:
        cost = costs[stage]
        seconds = reading * (cost.s_per_mb * n_text / 1e6 + cost.fixed_s) + answering(cost, trials)
        memory: float = (plain if cost.holds_model else BASE_BYTES) + 4 * n_text
        if cost.training is not None:
            taken = n_taken if stage == stages[0] else 0
            seconds += training_seconds(cost.training, trials) * max(0.0, 1 - taken / cost.training.n_steps)
            memory = memory_of(cost.training, shape, compute_dtype)
        estimates.append(StageEstimate(stage, memory, seconds))
    return estimates


def shares(recipe: Recipe, shape: ModelConfig) -> dict[str, float]:
    """Stage -> its share of the recipe's time, by its figures on the reference core: nothing is tried."""
    trials, n_text = FixedSpeed(shape), text_bytes(recipe)
    seconds = {
        stage: 1
        + cost.s_per_mb * n_text / 1e6
        + cost.fixed_s
        + answering(cost, trials)
        + (0.0 if cost.training is None else training_seconds(cost.training, trials))
        for stage, cost in costs_of(recipe, shape).items()
    }
    return {stage: taken / sum(seconds.values()) for stage, taken in seconds.items()}


def training_seconds(training: TrainingCost, trials: "Speed") -> float:
    """Seconds of all training of a stage on one rank."""
    seconds = sum(part.n_micros * trials.step(part) for part in parts_of(training))
    if training.n_answers:
        seconds += training.n_answers * trials.answer(training.n_tokens - training.answer, training.answer)
    if training.n_read:
        seconds += (
            (training.n_answers or training.n_micros * training.rows) * training.n_read * trials.read(training.n_tokens)
        )
    return seconds


def answering(cost: Cost, trials: "Speed") -> float:
    """Seconds for sampling answers outside of training, and for computing their scores."""
    sampling = sum(n * trials.answer(prompt, answer) for n, prompt, answer in cost.answers)
    return sampling + sum(n * trials.read(n_tokens) for n, n_tokens in cost.reads)


def estimate_remaining(
    recipe: Recipe, workspace: Workspace, compute_dtype: str, *, only: str | None = None, start: str | None = None
) -> list[StageEstimate]:
    """Memory and time of the stages that a workspace still has to run; nothing is tried if there are none."""
    stages, n_taken = remaining_work(recipe, workspace, only=only, start=start)
    if not stages:
        return []
    return estimate(recipe, shape_of(recipe, workspace.path), compute_dtype, stages, n_taken)


def reading_ratio() -> float:
    """How many times longer than the reference core this machine takes for what is not tried, measured by reading."""
    return _short_read() / READ_S


def _short_read() -> float:
    """Seconds that one core takes to count the words of a short text and compress it."""
    text = Path(argparse.__file__).read_text("utf-8")
    best = float("inf")
    for _ in range(3):
        began = time.monotonic()
        sorted(Counter(re.findall(r"\w+", text)).items())
        lzma.compress(text[:50_000].encode(), preset=6)
        best = min(best, time.monotonic() - began)
    return best


class _RepeatedBatches:
    """The same micro-batches for every step, until the time is up: at least two steps; the first warms up."""

    def __init__(self, micros: Sequence[Any]) -> None:
        self.micros = micros

    def __iter__(self) -> Iterator[Sequence[Any]]:
        until = time.monotonic() + TRIAL_S
        yield self.micros
        yield self.micros
        while time.monotonic() < until:
            yield self.micros

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Trials:
    """Short trials with parts of the recipe's networks. Each kind of trial runs once; its result is scaled.

    flops: upper limit of one trial; by default what takes `TRIAL_FLOPS_S` seconds at the speed of matrix products
    """

    def __init__(self, shape: ModelConfig, flops: float | None = None) -> None:
        self.whole_shape, self.given_flops = shape, flops
        self.tried: dict[Any, float] = {}

    @cached_property
    def flops(self) -> float:
        return TRIAL_FLOPS_S * product_speed() if self.given_flops is None else self.given_flops

    def shape(self, n_tokens: int) -> ModelConfig:
        """The recipe's network with its context cut to the row, so that only computed attention is counted."""
        longest = min(self.whole_shape.seq_len, max(SHORT_TOKENS, n_tokens))
        return self.whole_shape.model_copy(update={"seq_len": longest})

    def flops_of(self, n_tokens: int) -> int:
        """FLOPs of training on a row of `n_tokens`."""
        return n_tokens * self.shape(n_tokens).flops_per_token()

    def part_of(self, n_tokens: int, least_rows: int, most_rows: int, cost: float = 1.0) -> tuple[ModelConfig, int]:
        """A network with as many layers, and as many rows of `n_tokens`, as a trial may take.

        cost: of a row; that of training is 1
        """
        shape, row_flops = self.shape(n_tokens), cost * self.flops_of(n_tokens)
        rows = max(least_rows, min(most_rows, int(self.flops / row_flops)))
        n_layer = max(1, min(shape.n_layer, int(shape.n_layer * self.flops / (rows * row_flops))))
        return shape.model_copy(update={"n_layer": n_layer}), rows

    def step(self, training: TrainingCost) -> float:
        """Seconds of one micro-batch, including its share of the optimizer step."""
        key = (training.trial, training.optim.name, training.lora.model_dump_json(exclude={"seed", "alpha"}))
        if key not in self.tried:
            tried = replace(training, n_tokens=min(training.n_tokens, LONGEST_TRIED))
            part, rows = self.part_of(tried.n_tokens, min(2, training.rows), training.rows)
            self.tried[key] = _try_step(tried, part, rows) / (rows * tried.n_tokens * part.flops_per_token())
        return self.tried[key] * training.rows * self.flops_of(training.n_tokens) * training.depth

    def read(self, n_tokens: int) -> float:
        """Seconds that one network takes to compute the log-probabilities of one row."""
        if "read" not in self.tried:
            length = min(n_tokens, LONGEST_TRIED)
            part, rows = self.part_of(length, 2, 64, cost=1 / 3)
            model = LanguageModel(part).to(device.current().torch_device)
            ids = torch.randint(part.vocab_size, (rows, length + 1), device=device.current().torch_device)
            mask = torch.ones(rows, length, dtype=torch.bool, device=ids.device)
            seconds = []
            for _ in range(3):
                began = time.monotonic()
                with torch.no_grad(), device.autocast():
                    float(model.logps(ids[:, :-1], ids[:, 1:], mask)[0].sum())
                seconds.append(time.monotonic() - began)
            self.tried["read"] = min(seconds) / (rows * length * part.flops_per_token())
        return self.tried["read"] * self.flops_of(n_tokens)

    def answer(self, n_prompt: int, n_answer: int) -> float:
        """Seconds per sampled answer, in a batch of many."""
        if "answer" not in self.tried:
            longest = min(LONGEST_TRIED, self.whole_shape.seq_len)
            length = max(1, min(n_prompt, longest - 2))
            room = max(1, min(ANSWER_TOKENS, longest - length - 1))
            part, rows = self.part_of(length + room, 16, 96, cost=1 / 3)
            model = LanguageModel(part).to(device.current().torch_device)
            prompts = torch.randint(part.vocab_size, (rows, length)).tolist()
            taken = []
            for asked, n_new in ((prompts[:1], 1), (prompts[:1], 1), (prompts, room)):
                began = time.monotonic()
                generate(model, asked, Sampling(max_tokens=n_new), end_ids=[], seeds=list(range(len(asked))))
                taken.append(time.monotonic() - began)
            # Weights are prepared once, for any number of answers.
            seconds = max(taken[2] - taken[1], taken[2] / 4) / rows
            self.tried["answer"] = seconds / ((length / 2 + room) * part.flops_per_token())
        return self.tried["answer"] * (n_prompt / 2 + n_answer) * self.shape(n_prompt + n_answer).flops_per_token()


class FixedSpeed:
    """In place of `Trials`: seconds at a speed that is taken to be that of the reference core."""

    def __init__(self, shape: ModelConfig) -> None:
        self.row = Trials(shape, flops=1.0).flops_of

    def step(self, training: TrainingCost) -> float:
        return training.rows * self.row(training.n_tokens) * training.depth / REFERENCE_FLOPS

    def read(self, n_tokens: int) -> float:
        return self.row(n_tokens) / 3 / REFERENCE_FLOPS

    def answer(self, n_prompt: int, n_answer: int) -> float:
        n_tokens = n_prompt + n_answer
        return self.row(n_tokens) * (n_prompt / 2 + n_answer) / n_tokens / 3 / REFERENCE_FLOPS


def _try_step(training: TrainingCost, shape: ModelConfig, rows: int) -> float:
    """Seconds of a step with `rows` rows."""
    model, loss, micros = _trial(training, shape, rows)
    for network in (getattr(model, "policy", model), getattr(model, "value", None)):
        if network is not None:
            add_lora(network, training.lora)
    seconds: list[float] = []
    job = Job(model.to(device.current().torch_device), _RepeatedBatches(micros), loss, n_steps=10_000)
    # Small steps take as long as large ones, and do not diverge.
    optim = training.optim.model_copy(update={"lr": 1e-6, "embedding_lr": None, "head_lr": None})
    fit(job, LoopConfig(optim=optim), [lambda step: seconds.append(step.seconds)])
    return statistics.median(seconds[1:])


def _trial(training: TrainingCost, shape: ModelConfig, rows: int) -> tuple[nn.Module, Loss, list[Any]]:
    """The stage's networks and loss, and a micro-batch of random tokens for each network that is trained."""
    # Imported here, so that a recipe that trains none of these does not load them.
    from malmoi.algorithms import ppo, pretrain, reward

    ids = torch.randint(shape.vocab_size, (rows, training.n_tokens + 1))
    answer = torch.arange(training.n_tokens).expand(rows, -1) >= max(0, training.n_tokens - ANSWER_TOKENS)
    if training.trial == "rankings":
        rows = max(2, rows)
        rankings = [Ranking(part.tolist(), [1, 2]) for part in torch.chunk(ids[: rows // 2 * 2, :-1], rows // 2)]
        return ScalarModel(shape), reward.loss, [collate_rankings(rankings, 0)]
    if training.trial == "rollouts":
        zeros = torch.zeros(answer.shape)
        batch = Rollouts(ids, answer, *(zeros,) * 5, torch.zeros(rows), torch.ones(rows, dtype=torch.bool))
        return (
            ppo.PolicyAndValue(LanguageModel(shape), ScalarModel(shape)),
            partial(ppo.loss, config=ppo.Config(n_iterations=1)),
            [ppo.Batch(ppo.policy_loss, batch, batch.count), ppo.Batch(ppo.value_loss, batch)],
        )
    trained = torch.ones_like(answer) if training.trial == "text" else answer
    return LanguageModel(shape), pretrain.loss, [Tokens(ids[:, :-1], ids[:, 1:], trained)]


def product_speed() -> float:
    """FLOP/s of a matrix product in the compute dtype; the best of four, to exclude other load."""
    here = device.current()
    a = torch.ones(PRODUCT, PRODUCT, device=here.torch_device, dtype=here.compute_dtype)
    best = 0.0
    for _ in range(4):
        began, n = time.monotonic(), 0
        while (passed := time.monotonic() - began) < PRODUCT_S:
            float((a @ a)[0, 0])  # waits for a GPU
            n += 1
        best = max(best, 2 * PRODUCT**3 * n / passed)
    return best
