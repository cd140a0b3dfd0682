"""Ctrl-C and SIGTERM ask the loop to stop after its step; it writes a checkpoint and leaves."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_requested = False
_deferring = False


def stop_requested() -> bool:
    """Whether a signal has asked this process to stop."""
    return _requested


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into KeyboardInterrupt; while the loop runs, the first of them into a request."""
    global _requested
    _requested = False
    previous = {number: signal.signal(number, _request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferring() -> Iterator[None]:
    """Between two of the loop's steps is where it can stop and lose nothing: there it asks `stop_requested`."""
    global _deferring
    _deferring = True
    try:
        yield
    finally:
        _deferring = False


def _request(number: int, frame: FrameType | None) -> None:
    global _requested
    if _requested or not _deferring:
        raise KeyboardInterrupt
    _requested = True
