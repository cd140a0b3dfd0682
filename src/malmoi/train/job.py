"""What the loop is given: a model, a stream of optimizer steps, and a loss."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from malmoi.train.best import BestWeights

Loss = Callable[[Any, Any], tuple[Tensor, dict[str, Tensor]]]


class Batch(Protocol):
    """A micro-batch."""

    @property
    def count(self) -> int:
        """What the micro-batch adds to the number by which all sums of its optimizer step are divided."""

    def to(self, device: torch.device) -> "Batch": ...


class Stream(Protocol):
    """Optimizer steps, each a list of micro-batches; `state_dict` holds tensors, numbers and strings."""

    def __iter__(self) -> Iterator[Sequence[Any]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Measured(Protocol):
    """A stream may have `info`: figures about its latest step, which the loop adds to the step's metrics."""

    info: dict[str, float]


@dataclass
class Job:
    """What is trained, on what, and by which loss.

    loss(model, batch) -> (loss_sum, metric_sums): sums over the batch's `count`, not means
    averaged: a second set of weights that follows `model` (exponential moving average), or None
    best: measures held-out text during the training; `model` ends with the weights that predict it best
    about: what the model's folder says about how it was made; notes: what the user is told of it, a line each
    """

    model: nn.Module
    steps: Stream
    loss: Loss
    n_steps: int
    averaged: nn.Module | None = None
    average_decay: float = 0.0
    best: BestWeights | None = None
    about: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
