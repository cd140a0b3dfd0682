"""The weights of the step that predicts held-out text best, and an alarm when later steps predict it worse.

Small text is learned by heart: its training loss falls while the held-out loss rises (Prechelt 1998, "Early stopping:
but when?"). The weights before the rise are the ones to keep.
"""

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from malmoi import device

RISE = 1.02
"""A held-out measurement this many times the lowest one raises the alarm."""
FEWEST, MOST = 4, 20
"""How often held-out text is measured during a training."""
SHARE = 0.02
"""Share of the training's work that further measurements than the fewest may take."""
BACKWARD = 3
"""A training step computes about three times what a measurement of the same tokens does."""


class BestWeights:
    """Measures a model at some steps of its training, and keeps the trained weights of the lowest measurement.

    name: of the measurement in the metrics; measure: the lower, the better; steps: when it is measured
    what: the measurement in words, for the alarm; say: tells the alarm once
    """

    def __init__(
        self, model: nn.Module, name: str, measure: Callable[[], float], steps: Collection[int], what: str,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:  # fmt: skip
        self.model, self.name, self.measure, self.steps, self.what, self.say = model, name, measure, steps, what, say
        self.measured: list[tuple[int, float]] = []
        self.weights: dict[str, Tensor] = {}

    @property
    def step(self) -> int:
        """The step of the lowest measurement; 0 before the first one."""
        return min(self.measured, key=lambda one: one[1])[0] if self.measured else 0

    @property
    def value(self) -> float:
        """The lowest measurement; infinite before the first one."""
        return min((value for _, value in self.measured), default=math.inf)

    @property
    def alarm(self) -> str | None:
        """What to say if a measurement after the lowest one is clearly higher."""
        later = [(value, step) for step, value in self.measured if step > self.step]
        if not later or max(later)[0] <= RISE * self.value:
            return None
        value, step = max(later)
        return (
            f"{self.what} rose from {self.value:.3f} at step {self.step:,} to {value:.3f} at step {step:,}: the text "
            f"is learned by heart; the weights of step {self.step:,} are kept. More text helps, or fewer steps"
        )

    def about(self, name: str) -> dict[str, Any]:
        """What a model's folder says: the lowest measurement; its step where a later one is higher; the alarm."""
        if not self.measured:  # an earlier version took the last step
            return {name: self.measure()}
        is_last = self.step == self.measured[-1][0]
        found: dict[str, Any] = {name: self.value} | ({} if is_last else {"best_step": self.step})
        return found if self.alarm is None else found | {"alarms": {"learned_by_heart": self.alarm}}

    def look(self, step: int, metrics: dict[str, float]) -> None:
        """Measure if it is due, and keep the weights if they are better. All ranks must call this."""
        if step not in self.steps:
            return
        metrics[self.name] = value = self.measure()
        was_said = self.alarm is not None
        is_better = device.any_rank(value < self.value)
        self.measured.append((step, value))
        if is_better:
            self.weights = {name: tensor.detach().clone() for name, tensor in self._trained()}
        if self.alarm is not None and not was_said:
            self.say(f"alarm: {self.alarm}")

    @torch.no_grad()
    def put_back(self) -> None:
        """Give the model the weights of the lowest measurement, if there was one."""
        for name, tensor in self._trained():
            if self.weights:
                tensor.copy_(self.weights[name])

    def state(self) -> tuple[dict[str, Tensor], list[Any]]:
        """What a checkpoint holds: the weights, and the measurements."""
        return self.weights, [list(one) for one in self.measured]

    def load_state(self, weights: dict[str, Tensor], measured: list[Any]) -> None:
        """The inverse of `state`."""
        self.weights = weights
        self.measured = [(int(step), float(value)) for step, value in measured]

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, tensor) for name, tensor in self.model.named_parameters() if tensor.requires_grad]


def measuring_steps(n_steps: int, trained: float, measured: float) -> frozenset[int]:
    """When to measure: four times, or up to twenty where that takes less than 2 % of the training; and at the end.

    trained, measured: tokens of the whole training, and of one measurement
    """
    n_times = int(SHARE * BACKWARD * trained / max(1.0, measured))
    every = max(1, n_steps // min(MOST, max(FEWEST, n_times)))
    return frozenset(range(every, n_steps + 1, every)) | {n_steps}
