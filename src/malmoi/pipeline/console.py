"""Progress for whoever watches: a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from malmoi import device
from malmoi.train.loop import Step

PLAIN_EVERY_S = 10.0
SHOWN = ("loss", "bpb", "accuracy", "score", "gold", "kl")


def figures(metrics: Mapping[str, float]) -> str:
    """Those of the metrics that tell how it goes, in one line."""
    return "  ".join(f"{name} {metrics[name]:.3f}" for name in SHOWN if name in metrics)


class Console:
    """Where a recipe says what it does. All ranks compute, one speaks."""

    def __init__(self, quiet: bool = False) -> None:
        from rich.console import Console as Rich

        self.rich = Rich(stderr=False, quiet=quiet or not device.current().is_main, soft_wrap=True, highlight=False)
        self.bar: Any = None
        self.task: Any = None
        self.stage = ""
        self.shown_at = 0.0
        self.seen: dict[str, float] = {}
        self.first_step, self.began = 0, 0.0

    def started(self, stage: str, run_id: str, resumed: bool) -> None:
        self.stage, self.shown_at, self.seen = stage, time.monotonic(), {}
        self.first_step = 0
        self.rich.print(f"[bold]{stage}[/bold]  [dim]{run_id}{' (resumed)' if resumed else ''}[/dim]")

    def skipped(self, stage: str, run_id: str) -> None:
        self.rich.print(f"[bold]{stage}[/bold]  [dim]{run_id} unchanged, not run again[/dim]")

    def finished(self, stage: str, run_id: str, seconds: float) -> None:
        self._close()
        self.rich.print(f"  [dim]done in {seconds:.1f} s[/dim]")

    def say(self, line: str) -> None:
        from rich.markup import escape

        style = "yellow" if line.startswith("alarm") else ""
        self.rich.print(f"  [{style}]{escape(line)}[/{style}]" if style else f"  {escape(line)}")

    def step(self, step: Step) -> None:
        """A hook of the loop."""
        self.seen |= step.metrics
        pace = self._pace(step)
        shown = figures(self.seen)
        if self.rich.is_terminal:
            self._live(step, f"{pace}  {shown}")
        elif time.monotonic() - self.shown_at >= PLAIN_EVERY_S or step.step == step.n_steps:
            self.shown_at = time.monotonic()
            self.rich.print(f"  step {step.step}/{step.n_steps}  {pace}  {shown}")
            sys.stdout.flush()
        if step.step == step.n_steps:
            self._close()

    def _pace(self, step: Step) -> str:
        """Elapsed, remaining and rate of the steps that were taken here."""
        if not self.first_step:
            self.first_step, self.began = step.step, time.monotonic() - step.seconds
        elapsed = time.monotonic() - self.began
        n_taken = step.step - self.first_step + 1
        left = elapsed / n_taken * (step.n_steps - step.step)
        return f"{elapsed:.0f} s, {left:.0f} s left, {n_taken / max(elapsed, 1e-9):.2f} steps/s"

    def close(self) -> None:
        self._close()

    def _live(self, step: Step, shown: str) -> None:
        if self.bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=self.rich, transient=True, refresh_per_second=4)
            self.bar.start()
            self.task = self.bar.add_task("", total=step.n_steps)
        self.bar.update(self.task, completed=step.step, description=shown)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
