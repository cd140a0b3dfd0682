"""A power cut in the middle of a training."""

from malmoi.train.loop import Hook, Step


class Killed(Exception):
    """Stands for a power cut."""


def kill_at(n: int) -> Hook:
    def hook(step: Step) -> None:
        if step.step == n:
            raise Killed

    return hook
