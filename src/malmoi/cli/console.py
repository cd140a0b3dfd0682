"""What a command shows of long work: a live line on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from malmoi import progress
from malmoi.pipeline.lines import Lines
from malmoi.pipeline.watcher import Watcher

if TYPE_CHECKING:
    from malmoi.train.loop import Step


class Console(Watcher):
    """A `Watcher` of recipes that prints. With several ranks, only the first one prints.

    without: stages that were left out
    stderr: print there, because the command's result goes to the standard output
    clock: seconds that only grow; is_main: whether this is the first rank; None: ask the device
    """

    def __init__(
        self, stderr: bool = False, clock: Callable[[], float] = time.monotonic, is_main: bool | None = None
    ) -> None:
        from rich.console import Console as Rich

        if is_main is None:
            from malmoi import device  # torch takes seconds

            is_main = device.current().is_main
        self.rich = Rich(stderr=stderr, quiet=not is_main, soft_wrap=True, highlight=False)
        self.clock = clock
        self.bar: Any = None
        self.task: Any = None
        self.lines = Lines(self._plain, clock)
        self.without: list[str] = []

    def started(self, stage: str, run_id: str, resumed: bool) -> None:
        from rich.markup import escape

        self.lines = Lines(self._plain, self.clock)
        self.rich.print(f"[bold]{escape(stage)}[/bold]  [dim]{escape(run_id)}{' (resumed)' if resumed else ''}[/dim]")

    def skipped(self, stage: str, run_id: str) -> None:
        from rich.markup import escape

        self.rich.print(f"[bold]{escape(stage)}[/bold]  [dim]{escape(run_id)} unchanged, not run again[/dim]")

    def left_out(self, stage: str, why: str) -> None:
        from rich.markup import escape

        self.without.append(stage)
        self.rich.print(f"[bold]{escape(stage)}[/bold]  [yellow]left out: {escape(why)}[/yellow]")

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

    def step(self, step: "Step") -> None:
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
    """Show the progress of the work within on standard error, because the command's result goes elsewhere."""
    with contextlib.closing(Console(stderr=True, is_main=True)) as console, progress.listening(console.progress):
        yield
