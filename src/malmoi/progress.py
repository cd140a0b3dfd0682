"""How far a long piece of work is: the work reports, whoever listens shows it. Without a listener nothing happens."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Listener = Callable[[int, int | None, str], None]
"""Told how many are done, of how many (None: nobody knows), and what they are, such as "answers"."""
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextlib.contextmanager
def listening(*listeners: Listener) -> Iterator[None]:
    """These are told what is reported within."""
    token = _listeners.set(listeners)
    try:
        yield
    finally:
        _listeners.reset(token)


def report(done: int, total: int | None, unit: str) -> None:
    for listener in _listeners.get():
        listener(done, total, unit)


def each(items: Iterable[T], unit: str, total: int | None = None) -> Iterator[T]:
    """The items as they are; each is reported when the next is asked for. total: of a stream, how many there are"""
    total = len(items) if isinstance(items, Sized) else total
    report(0, total, unit)
    for done, item in enumerate(items, start=1):
        yield item
        report(done, total, unit)


class Pace:
    """Elapsed and remaining time and rate of the work that is under way; a lower count, or another unit, is new work.

    clock: seconds that only grow
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.work: tuple[int | None, str] = (None, "")
        self.done = self.first = 0
        self.began = clock()

    def follow(self, done: int, total: int | None, unit: str, seconds: float = 0.0) -> None:
        """seconds: what the first of them took before this was called; they count only where it is told."""
        if (total, unit) != self.work or done < self.done:
            self.first = done - 1 if seconds else done
            self.work, self.began = (total, unit), self.clock() - seconds
        self.done = done

    def __str__(self) -> str:
        total, unit = self.work
        elapsed, n_here = self.clock() - self.began, self.done - self.first
        rate = n_here / max(elapsed, 1e-9)
        if total is None or not n_here:
            return f"{elapsed:.0f} s, {_of(rate)} {unit}/s"
        return f"{elapsed:.0f} s, {elapsed / n_here * (total - self.done):.0f} s left, {_of(rate)} {unit}/s"


def _of(rate: float) -> str:
    return f"{rate:.2f}" if rate < 100 else f"{rate:,.0f}"
