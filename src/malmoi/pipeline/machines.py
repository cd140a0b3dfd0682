"""What a recipe would need on machines that are not here: memory of each rank, steps, hours and cost.

The work is that of `estimate.py`, the memory that of `memory.py`; only the speed is another one: of a table of
machines, or measured on this one. All figures are estimates: for machines of the table, nothing was tried.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from pydantic import Field

from malmoi import device
from malmoi.config import Settings, parse, read_toml
from malmoi.cost import TrainingCost
from malmoi.errors import ConfigError
from malmoi.model.config import ModelConfig
from malmoi.pipeline.estimate import Speed, Trials, answering, reading_ratio, training_seconds
from malmoi.pipeline.memory import BASE_BYTES, costs_of, learned_of, memory_of, text_bytes
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.together import Together

TABLE = Path(__file__).with_name("machines.toml")
HERE = "here"
"""This machine in place of a kind of the table; its speed is measured."""
SHARE_OF_PEAK = 0.35
"""Share of its peak that a GPU reaches in training. Published runs reach 0.3 to 0.5 with large networks."""
LAUNCH_S = 1.5e-3
"""Seconds of one layer, forward and backward, that no GPU is below: so long take the launches of its operations."""
AT_ONCE = 96
"""Answers that are sampled together: all share one reading of the weights."""
MOST_RANKS = 4096
MOST_TRIED = max(2, device.n_cores())
"""More ranks are not tried together on this machine: they would only share its cores."""


class Kind(Settings):
    """One GPU."""

    tflops: float = Field(gt=0)
    """Dense matrix products in bfloat16, 10^12 operations a second."""
    memory_gb: float = Field(gt=0)
    """Memory."""
    bandwidth_gb_s: float = Field(gt=0)
    """Of its memory."""
    link_gb_s: float = Field(gt=0)
    """To the other GPUs, one way."""
    usd_per_hour: float = Field(ge=0)
    """Price."""


@dataclass(frozen=True)
class Machines:
    """n_ranks of one kind. kind: None is this machine"""

    name: str
    n_ranks: int
    kind: Kind | None


def find_machines(given: str, table: Path | None = None) -> Machines:
    """`8xH100`, `H100` or `2xhere`. Raises ConfigError that names the known kinds."""
    found = re.fullmatch(r"(?:(\d{1,4})\s*[x×*])?\s*([\w.-]+)", given.strip())
    kinds = {name: row for name, row in read_toml(table or TABLE).items() if isinstance(row, dict)}
    by_name = {name.lower(): name for name in (*kinds, HERE)}
    name = by_name.get(found[2].lower()) if found else None
    if found is None or name is None or not 1 <= (n := int(found[1] or 1)) <= MOST_RANKS:
        raise ConfigError(f"--machines {given}: expected a number and a kind, such as 8xH100; kinds: "
                          f"{', '.join(by_name.values())}")  # fmt: skip
    return Machines(name, n, None if name == HERE else parse(Kind, kinds[name], f"{(table or TABLE).name}: {name}"))


class RatedSpeed:
    """In place of `Trials`: seconds by what a GPU is rated for."""

    def __init__(self, shape: ModelConfig, kind: Kind) -> None:
        self.kind, self.shape = kind, shape
        self.row = Trials(shape, flops=1.0).flops_of
        self.flops = SHARE_OF_PEAK * kind.tflops * 1e12

    def step(self, training: TrainingCost) -> float:
        flops = training.rows * self.row(training.n_tokens) * training.depth
        return max(flops / self.flops, LAUNCH_S * self.shape.n_layer * training.depth)

    def read(self, n_tokens: int) -> float:
        return self.row(n_tokens) / 3 / self.flops

    def answer(self, n_prompt: int, n_answer: int) -> float:
        """Each token reads all weights, 2 bytes each, once for all answers that are sampled at once."""
        reading = 2 * self.shape.n_parameters() / (self.kind.bandwidth_gb_s * 1e9)
        launching = LAUNCH_S / 3 * self.shape.n_layer
        return self.read(n_prompt) + n_answer * max(reading, launching) / AT_ONCE


@dataclass(frozen=True)
class Need:
    """What one stage needs.

    n_ranks: those that have work; n_steps: optimizer steps, 0 if it does not train as ranks do
    on_reference_s: of its seconds, those that are of the reference core, for want of a measurement
    """

    stage: str
    n_ranks: int
    n_steps: int
    memory_bytes: float
    seconds: float
    on_reference_s: float = 0.0


class _Speeds:
    """How fast one rank is while n of them work, of a table's machine or of this one.

    With many ranks on few cores, as many are tried as there are cores: each has the same share of one.
    """

    def __init__(self, shape: ModelConfig, kind: Kind | None, held: ExitStack) -> None:
        self.shape, self.kind, self.held = shape, kind, held
        self.alone: Speed = Trials(shape) if kind is None else RatedSpeed(shape, kind)
        self.together: dict[int, Together] = {}

    def training(self, training: TrainingCost, n: int) -> float:
        """Seconds of a stage's training on n ranks, each with its share of every step's micro-batches."""
        share = _share(training, n)
        if n == 1:
            return training_seconds(training, self.alone)
        n_values = _learned_values(training, self.shape)
        if self.kind is not None:
            # A ring passes twice over the gradients, in float32.
            sent = 2 * (n - 1) / n * 4 * n_values
            exchange = sent / (self.kind.link_gb_s * 1e9)
            return training_seconds(training, self.alone) * share + training.n_steps * exchange
        tried = min(n, MOST_TRIED)
        if tried not in self.together:
            self.together[tried] = self.held.enter_context(Together(self.shape, tried))
        speed = self.together[tried]
        seconds = training_seconds(training, speed) * share + training.n_steps * speed.exchange(n_values)
        return seconds * n / tried


def needs_on(recipe: Recipe, shape: ModelConfig, machines: Machines) -> list[Need]:
    """What each stage needs. A stage that does not train runs on the first rank."""
    with ExitStack() as held:
        return list(_needs(recipe, shape, machines, _Speeds(shape, machines.kind, held)))


def _needs(recipe: Recipe, shape: ModelConfig, machines: Machines, speeds: _Speeds) -> Iterator[Need]:
    dtype = str(device.current().compute_dtype).removeprefix("torch.") if machines.kind is None else "bfloat16"
    n_text = text_bytes(recipe)
    reading = reading_ratio() if machines.kind is None else 1.0
    for stage, cost in costs_of(recipe, shape).items():
        fixed = reading * (cost.s_per_mb * n_text / 1e6 + cost.fixed_s)
        seconds = fixed + answering(cost, speeds.alone)
        memory: float = BASE_BYTES + 4 * n_text + (4 * shape.n_parameters() if cost.holds_model else 0)
        n, n_steps = 1, 0
        if (training := cost.training) is not None:
            n_steps, fsdp = training.n_steps, bool(recipe[stage].loop.fsdp)
            n = ranks_with_work(training, machines.n_ranks)
            seconds += speeds.training(training, n)
            memory = memory_of(training, shape, dtype, n_shards=n if fsdp else 1)
        yield Need(stage, n, n_steps, memory, seconds, 0.0 if machines.kind is None else fixed)


def ranks_with_work(training: TrainingCost, n_ranks: int) -> int:
    """Ranks that have a micro-batch of a step, on average."""
    return max(1, min(n_ranks, training.n_micros // training.n_steps))


def _share(training: TrainingCost, n: int) -> float:
    """Share of a step's micro-batches that the busiest rank has."""
    micros = max(1, training.n_micros // training.n_steps)
    return ceil(micros / n) / micros


def _learned_values(training: TrainingCost, shape: ModelConfig) -> float:
    """Values whose gradients the ranks sum in each step."""
    learned = learned_of(shape, training.lora)
    return training.n_trained * (learned.n_matrices + learned.n_others)


def plan_on(recipe: Recipe, shape: ModelConfig, machines: Machines) -> dict[str, Any]:
    """The needs of a recipe as plain values, with its price, and which stages do not fit."""
    needs = needs_on(recipe, shape, machines)
    seconds = sum(need.seconds for need in needs)
    hours = seconds / 3600
    room = machines.kind.memory_gb * 1e9 if machines.kind is not None else device.memory_bytes()[1] / machines.n_ranks
    return {
        "recipe": recipe.name, "machines": machines.name, "n_ranks": machines.n_ranks,
        "n_parameters": shape.n_parameters(), "memory_of_each_bytes": room,
        "stages": {need.stage: {k: value for k, value in vars(need).items() if k != "stage"} for need in needs},
        "seconds": seconds, "hours": hours, "too_large": too_large(needs, room),
        "usd": None if machines.kind is None else hours * machines.n_ranks * machines.kind.usd_per_hour,
    }  # fmt: skip


def too_large(needs: Sequence[Need], room: float) -> list[str]:
    return [need.stage for need in needs if need.memory_bytes > room]
