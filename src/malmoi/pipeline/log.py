"""A run's log: messages, progress, warnings, and the traceback of a crash."""

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
    """`log.txt` in the run's folder. It is append-only: a resumed run continues it. Only the first rank writes."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(self.say, clock)
        self.path = folder / LOG
        if device.current().is_main and self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            with disk_errors(self.path), self.path.open("a") as file:  # a killed run may have left half a line
                file.write("\n")

    def say(self, text: str) -> None:
        """Write each line with its time in UTC."""
        if not device.current().is_main:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        with disk_errors(self.path), self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(f"{now}  {line}\n" for line in text.splitlines()))

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Copy warnings to the log."""
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
