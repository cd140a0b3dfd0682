"""Progress for whoever watches: a live line on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from malmoi import device, progress
from malmoi.progress import Pace
from malmoi.train.loop import Step

PLAIN_EVERY_S = 10.0
SHOWN = ("loss", "bpb", "accuracy", "score", "gold", "kl")


def figures(metrics: Mapping[str, float]) -> str:
    """Those of the metrics that tell how it goes, in one line."""
    return "  ".join(f"{name} {metrics[name]:.3f}" for name in SHOWN if name in metrics)


def counted(done: int, total: int | None, unit: str) -> str:
    """How far a piece of work is: n of N, where N is known."""
    return f"{done:,} {unit}" if total is None else f"{done:,}/{total:,} {unit}"


class Lines:
    """Progress in plain lines: one every ten seconds and one after the last step, none of work that is over sooner.

    tell: where a line goes; clock: seconds that only grow
    """

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.tell, self.clock = tell, clock
        self.told_at = clock()
        self.seen: dict[str, float] = {}
        self.steps, self.work = Pace(clock), Pace(clock)

    def step(self, step: Step) -> None:
        """A hook of the loop."""
        shown = self.follow(step)
        if step.step == step.n_steps or self._is_due():
            self._line(f"step {step.step}/{step.n_steps}  {shown}")

    def follow(self, step: Step) -> str:
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
        return self.clock() - self.told_at >= PLAIN_EVERY_S

    def _line(self, line: str) -> None:
        self.told_at = self.clock()
        self.tell(line)


class Console:
    """Where a recipe says what it does. All ranks compute, one speaks.

    stderr: speak there, where a command's result goes to the standard output; clock: seconds that only grow
    """

    def __init__(
        self, quiet: bool = False, stderr: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        from rich.console import Console as Rich

        self.rich = Rich(stderr=stderr, quiet=quiet or not device.current().is_main, soft_wrap=True, highlight=False)
        self.clock = clock
        self.bar: Any = None
        self.task: Any = None
        self.lines = Lines(self._plain, clock)

    def started(self, stage: str, run_id: str, resumed: bool) -> None:
        from rich.markup import escape

        self.lines = Lines(self._plain, self.clock)
        self.rich.print(f"[bold]{escape(stage)}[/bold]  [dim]{escape(run_id)}{' (resumed)' if resumed else ''}[/dim]")

    def skipped(self, stage: str, run_id: str) -> None:
        from rich.markup import escape

        self.rich.print(f"[bold]{escape(stage)}[/bold]  [dim]{escape(run_id)} unchanged, not run again[/dim]")

    def finished(self, stage: str, run_id: str, seconds: float) -> None:
        self.close()
        self.rich.print(f"  [dim]done in {seconds:.1f} s[/dim]")

    def line(self, text: str) -> None:
        """Print the text as it is: brackets in a path are no markup, and a command stays on one line."""
        self.rich.print(text, markup=False, highlight=False, soft_wrap=True)

    def say(self, line: str) -> None:
        from rich.markup import escape

        style = "yellow" if line.startswith("alarm") else ""
        self.rich.print(f"  [{style}]{escape(line)}[/{style}]" if style else f"  {escape(line)}")

    def step(self, step: Step) -> None:
        """A hook of the loop."""
        if self.rich.is_terminal:
            self._live(step.step, step.n_steps, self.lines.follow(step))
        else:
            self.lines.step(step)
        if step.step == step.n_steps:
            self.close()

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """A listener of `malmoi.progress`."""
        if self.rich.is_terminal:
            self.lines.work.follow(done, total, unit)
            self._live(done, total, f"{unit}  {self.lines.work}")
        else:
            self.lines.progress(done, total, unit)

    def _plain(self, line: str) -> None:
        self.rich.print(f"  {line}")
        sys.stdout.flush()

    def _live(self, done: int, total: int | None, shown: str) -> None:
        if self.rich.quiet:
            return
        if self.bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
            self.bar = Progress(*columns, console=self.rich, transient=True, refresh_per_second=4)
            self.bar.start()
            self.task = self.bar.add_task("", total=total)
        self.bar.update(self.task, completed=done, total=total, description=shown)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Show on standard error how far the work within is, for a command whose result goes elsewhere."""
    with contextlib.closing(Console(stderr=True)) as console, progress.listening(console.progress):
        yield
