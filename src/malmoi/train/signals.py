"""Ctrl-C and SIGTERM ask the loop to stop after its step; it writes a checkpoint and leaves."""

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

from malmoi import device

TWICE_S = 1.0
"""Ctrl-C reaches a rank from the terminal and again from `torchrun`: within this time both are one request."""
_requested = False
_deferring = False
_asked_at = 0.0


def stop_requested() -> bool:
    """Whether a signal has asked this process to stop."""
    return _requested


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into KeyboardInterrupt; while the loop runs, the first one only asks it to stop."""
    global _requested, _asked_at
    _requested, _asked_at = False, 0.0
    previous = {number: signal.signal(number, _request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferring() -> Iterator[None]:
    """While this holds, a signal only asks to stop: the loop checks `stop_requested` between two steps, where it loses
    nothing."""
    global _deferring
    _deferring = True
    try:
        yield
    finally:
        _deferring = False


def _request(number: int, frame: FrameType | None) -> None:
    global _requested, _asked_at
    now = time.monotonic()
    again, _asked_at = _asked_at and now - _asked_at < TWICE_S, now
    if again and device.current().n_ranks > 1:
        return
    if _requested or not _deferring:
        raise KeyboardInterrupt
    _requested = True
