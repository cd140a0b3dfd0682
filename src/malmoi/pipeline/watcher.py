"""Who follows a recipe while it runs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from malmoi.train.loop import Step


class Watcher:
    """Is told what happens, and shows nothing; others override what they show.

    `step` is a hook of the loop, `progress` a listener of `malmoi.progress`.
    """

    def started(self, stage: str, run_id: str, resumed: bool) -> None:
        """A stage begins, or continues after an interruption."""

    def skipped(self, stage: str, run_id: str) -> None:
        """An earlier run has done the work of a stage."""

    def left_out(self, stage: str, why: str) -> None:
        """A stage can make nothing of what it reads, or what it reads is not made."""

    def finished(self, stage: str, run_id: str, seconds: float) -> None:
        """A stage is done."""

    def line(self, text: str) -> None:
        """A line between the stages."""

    def say(self, line: str) -> None:
        """A line of the stage that runs."""

    def step(self, step: "Step") -> None:
        """An optimizer step of the stage that runs."""

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """Progress of other work of the stage that runs."""
