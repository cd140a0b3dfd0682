"""Progress in plain lines, for logs and for output that is no terminal."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from malmoi.progress import Pace

if TYPE_CHECKING:
    from malmoi.train.loop import Step

PLAIN_EVERY_S = 10.0
SHOWN = ("loss", "bpb", "accuracy", "score", "gold", "kl")


def figures(metrics: Mapping[str, float]) -> str:
    """The metrics to follow, in one line."""
    return "  ".join(f"{name} {metrics[name]:.3f}" for name in SHOWN if name in metrics)


def counted(done: int, total: int | None, unit: str) -> str:
    """How much of a piece of work is done: n of N, or n if N is not known."""
    return f"{done:,} {unit}" if total is None else f"{done:,}/{total:,} {unit}"


class Lines:
    """A line every ten seconds and one after the last step; none for work that takes less time.

    write: takes a line; clock: monotonic seconds
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.write, self.clock = write, clock
        self.written_at = clock()
        self.seen: dict[str, float] = {}
        self.steps, self.work = Pace(clock), Pace(clock)

    def step(self, step: "Step") -> None:
        """A hook of the loop."""
        shown = self.follow(step)
        if step.step == step.n_steps or self._is_due():
            self._line(f"step {step.step}/{step.n_steps}  {shown}")

    def follow(self, step: "Step") -> str:
        """The pace up to this step, and the latest figures."""
        self.seen |= step.metrics
        self.steps.follow(step.step, step.n_steps, "steps", step.seconds)
        return f"{self.steps}  {figures(self.seen)}"

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """A listener of `malmoi.progress`."""
        self.work.follow(done, total, unit)
        if self._is_due():
            self._line(f"{counted(done, total, unit)}  {self.work}")

    def _is_due(self) -> bool:
        return self.clock() - self.written_at >= PLAIN_EVERY_S

    def _line(self, line: str) -> None:
        self.written_at = self.clock()
        self.write(line)
