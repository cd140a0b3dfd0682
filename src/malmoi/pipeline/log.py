"""A run's log: what was said while it ran, its progress, warnings, and where it crashed."""

import contextlib
import time
import traceback
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from malmoi import device
from malmoi.files import disk_errors
from malmoi.pipeline.console import PLAIN_EVERY_S, figures
from malmoi.train.loop import Step
from malmoi.workspace.folder import LOG


class RunLog:
    """`log.txt` in the run's folder, append-only: a run that goes on writes on. With several ranks one writes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self.told_at = 0.0
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
        if time.monotonic() - self.told_at >= PLAIN_EVERY_S or step.step == step.n_steps:
            self.told_at = time.monotonic()
            self.say(f"step {step.step}/{step.n_steps}  {figures(self.seen)}")

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
