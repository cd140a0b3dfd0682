"""Progress of long work: the work reports, and listeners show it. Without a listener nothing happens."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Listener = Callable[[int, int | None, str], None]
"""Called with how many items are done, how many there are (None if unknown), and their name, such as "answers"."""
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextlib.contextmanager
def listening(*listeners: Listener) -> Iterator[None]:
    """Within this context, these listeners get all reports, and no others do."""
    token = _listeners.set(listeners)
    try:
        yield
    finally:
        _listeners.reset(token)


def report(done: int, total: int | None, unit: str) -> None:
    for listener in _listeners.get():
        listener(done, total, unit)


def track(items: Iterable[T], unit: str, total: int | None = None) -> Iterator[T]:
    """Yields the items and reports each as done when the next is asked for. total: the length of a stream, if known."""
    total = len(items) if isinstance(items, Sized) else total
    report(0, total, unit)
    for done, item in enumerate(items, start=1):
        yield item
        report(done, total, unit)


class Pace:
    """Elapsed time, remaining time and rate of the current work. A lower count or another unit means new work.

    clock: a monotonic clock, in seconds
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.work: tuple[int | None, str] = (None, "")
        self.done = self.first = 0
        self.began = clock()

    def follow(self, done: int, total: int | None, unit: str, seconds: float = 0.0) -> None:
        """Take a report. seconds: how long the first item took before this call; it only counts if given."""
        if (total, unit) != self.work or done < self.done:
            self.first = done - 1 if seconds else done
            self.work, self.began = (total, unit), self.clock() - seconds
        self.done = done

    def __str__(self) -> str:
        total, unit = self.work
        elapsed, n_here = self.clock() - self.began, self.done - self.first
        rate = n_here / max(elapsed, 1e-9)
        if total is None or not n_here:
            return f"{elapsed:.0f} s, {_rate(rate)} {unit}/s"
        return f"{elapsed:.0f} s, {elapsed / n_here * (total - self.done):.0f} s left, {_rate(rate)} {unit}/s"


def _rate(rate: float) -> str:
    return f"{rate:.2f}" if rate < 100 else f"{rate:,.0f}"
