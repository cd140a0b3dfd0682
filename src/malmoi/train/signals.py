"""Ctrl-C and SIGTERM ask the loop to stop after its step; it writes a checkpoint and leaves."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_requested = False


def stop_requested() -> bool:
    """Whether a signal has asked this process to stop."""
    return _requested


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a request; a second one interrupts at once."""
    global _requested
    _requested = False
    previous = {number: signal.signal(number, _request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _request(number: int, frame: FrameType | None) -> None:
    global _requested
    if _requested:
        raise KeyboardInterrupt
    _requested = True
