"""What answers prompts: the interface that our engine and another server's engine have in common."""

from collections.abc import Sequence, Sized
from typing import Protocol

from malmoi import progress
from malmoi.inference.requests import Request
from malmoi.inference.sampling import Sampling


class Generator(Protocol):
    """Token ids in, token ids out. `submit` and `cancel` may be called from any thread, `step` from one.

    A `Request` grows with every step: its ids, log-probabilities if they were asked for, its text if there is a
    tokenizer, and at last its finish reason.
    """

    @property
    def running(self) -> Sized:
        """Requests that are answered now."""

    @property
    def waiting(self) -> Sized:
        """Requests that have not begun."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int = 0) -> Request:
        """Queue a prompt. Raises DataError for one that cannot be answered; BusyError when too many wait."""

    def cancel(self, request: Request) -> None:
        """End a request, with what there is of its answer."""

    def place(self, request: Request) -> int:
        """How many requests are begun before this one, and it; 0: it is no longer waiting."""

    def step(self) -> list[Request]:
        """Go on a little; returns the requests that got tokens. After an error the requests that ran have ended."""

    def finish(self) -> None:
        """Step until all requests have ended, and report progress."""


def finish(generator: Generator) -> None:
    """Step until all requests have ended, and report progress."""
    n_done, n_all = 0, len(generator.running) + len(generator.waiting)
    while not generator.is_idle:
        n_done += sum(request.finish_reason is not None for request in generator.step())
        progress.report(n_done, n_all, "answers")
