"""A run's log: what was said while it ran, its progress, warnings, and where it crashed."""

import contextlib
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from malmoi import device
from malmoi.files import disk_errors
from malmoi.pipeline.console import PLAIN_EVERY_S, counted, figures
from malmoi.progress import Pace
from malmoi.train.loop import Step
from malmoi.workspace.folder import LOG


class RunLog:
    """`log.txt` in the run's folder, append-only: a run that goes on writes on. With several ranks one writes."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / LOG
        self.clock = clock
        self.told_at = clock()
        self.steps, self.work = Pace(clock), Pace(clock)
        self.seen: dict[str, float] = {}
        if device.current().is_main and self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            with disk_errors(self.path), self.path.open("a") as file:  # a killed run may have left half a line
                file.write("\n")

    def say(self, text: str) -> None:
        """Each line with its time, UTC."""
        if not device.current().is_main:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        with disk_errors(self.path), self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(f"{now}  {line}\n" for line in text.splitlines()))

    def step(self, step: Step) -> None:
        """A hook of the loop: a line of progress now and then, and after the last step."""
        self.seen |= step.metrics
        self.steps.follow(step.step, step.n_steps, "steps", step.seconds)
        if self._is_due() or step.step == step.n_steps:
            self.told_at = self.clock()
            self.say(f"step {step.step}/{step.n_steps}  {self.steps}  {figures(self.seen)}")

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """A listener of `malmoi.progress`: a line now and then, none of work that is over soon."""
        self.work.follow(done, total, unit)
        if self._is_due():
            self.told_at = self.clock()
            self.say(f"{counted(done, total, unit)}  {self.work}")

    def _is_due(self) -> bool:
        return self.clock() - self.told_at >= PLAIN_EVERY_S

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Warnings go into the log as well."""
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            self.say(f"warning: {category.__name__}: {message}")
            shown(message, category, *where, **more)

        warnings.showwarning = show
        try:
            yield
        finally:
            warnings.showwarning = shown

    def crashed(self, error: BaseException) -> None:
        self.say("".join(traceback.format_exception(error)))
