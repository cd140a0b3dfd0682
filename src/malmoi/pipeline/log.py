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
from malmoi.pipeline.lines import Lines
from malmoi.workspace.folder import LOG


class RunLog(Lines):
    """`log.txt` in the run's folder, append-only: a run that goes on writes on. With several ranks one writes."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(self.say, clock)
        self.path = folder / LOG
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
