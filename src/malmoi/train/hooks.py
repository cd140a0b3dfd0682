"""Hooks watch the loop: they may add metrics to a step, and change nothing of what is learned."""

import json
from pathlib import Path

from malmoi import device
from malmoi.files import disk_errors, to_json
from malmoi.train.loop import Step


class MetricsFile:
    """`metrics.jsonl`, append-only: one object a step. Steps that a resumed run takes again are not written twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last_step = 0
        if path.exists():
            self._mend()

    def __call__(self, step: Step) -> None:
        if step.step <= self.last_step or not device.current().is_main:
            return
        row = {"step": step.step, **step.metrics, "seconds": round(step.seconds, 4), "count": step.count}
        with disk_errors(self.path), self.path.open("ab") as file:
            file.write(to_json(row).encode() + b"\n")
        self.last_step = step.step

    def _mend(self) -> None:
        """A killed run may have left half a line: cut it off."""
        data = self.path.read_bytes()
        complete = data[: data.rfind(b"\n") + 1]
        if complete != data:
            with self.path.open("r+b") as file:
                file.truncate(len(complete))
        lines = complete.splitlines()
        self.last_step = json.loads(lines[-1])["step"] if lines else 0
