"""An engine in a thread of its own, for callers that wait elsewhere, such as an event loop."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from malmoi.errors import BusyError
from malmoi.inference.generator import Generator
from malmoi.inference.native import limit_threads
from malmoi.inference.requests import Request
from malmoi.inference.sampling import Sampling
from malmoi.inference.voice import Voice

N_ROWS, N_WAITING = 8, 64
WAKE_EVERY_S = 0.05
"""How often readers are told of new tokens, after the first: often enough for the eye, and each time costs the other
answers time, as much as a token of a small network. All are told together."""
PART_FLOPS = 1e10
"""Arithmetic for which other answers wait while a prompt is read: less than half a second on one core."""
SHORTEST_PART = 32
SHORT_STEP_FLOPS = 2e8
"""Arithmetic of a step in which several threads save less than they cost: they wait for each other at every operation,
and meanwhile keep the processor from the threads that read requests and write answers."""


@dataclass(eq=False)
class Speech:
    """One answer in the making. wake: called from the engine's thread when it went on; error: what ended it

    has_begun: whether it was called for the first tokens
    """

    request: Request
    wake: Callable[[], None]
    error: Exception | None = None
    has_begun: bool = False

    @property
    def is_over(self) -> bool:
        return self.request.finish_reason is not None or self.error is not None


def most_threads(voice: Voice, n_rows: int = N_ROWS) -> int | None:
    """How many threads answer `n_rows` prompts fastest: one, if the network is small; None: all that there are"""
    return 1 if _n_flops(voice) * n_rows < SHORT_STEP_FLOPS else None


def _n_flops(voice: Voice) -> int:
    """Arithmetic of one token."""
    return 2 * voice.config.n_parameters()


class Speaker:
    """Runs an engine. All methods may be called from any thread; `close` ends it."""

    def __init__(self, engine: Generator, n_threads: int | None = None) -> None:
        """n_threads: most threads that compute; None: all that there are"""
        self.engine, self._n_threads = engine, n_threads
        self._speeches: dict[Request, Speech] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._told_at = 0.0
        self._thread = threading.Thread(target=self._run, name="speaker", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, voice: Voice, n_rows: int = N_ROWS, n_waiting: int = N_WAITING) -> "Speaker":
        """A speaker for a voice, with an engine that reads long prompts in parts."""
        part = max(SHORTEST_PART, int(PART_FLOPS / _n_flops(voice)))
        return cls(voice.engine(n_rows, n_waiting=n_waiting, read_at_once=part), most_threads(voice, n_rows))

    def submit(self, ids: Sequence[int], sampling: Sampling, seed: int, wake: Callable[[], None]) -> Speech:
        """Queue a prompt. Raises DataError or BusyError as `Engine.submit`; BusyError also once it is closed."""
        with self._changed:
            if self._is_closed:
                raise BusyError("engine: it is closed")
            request = self.engine.submit(ids, sampling, seed)
            speech = self._speeches[request] = Speech(request, wake)
            self._changed.notify()
        return speech

    def cancel(self, speech: Speech) -> None:
        """End an answer; its row is free at the engine's next step."""
        with self._changed:
            self.engine.cancel(speech.request)
            self._changed.notify()
        speech.wake()

    def place(self, speech: Speech) -> int:
        """Its place in the queue, from 1; 0: it is being answered, or over."""
        return self.engine.place(speech.request)

    @property
    def n_running(self) -> int:
        return len(self.engine.running)

    @property
    def n_waiting(self) -> int:
        return len(self.engine.waiting)

    def close(self) -> None:
        """End every answer, and the thread."""
        with self._changed:
            self._is_closed = True
            speeches = [*self._speeches.values()]
            for speech in speeches:
                self.engine.cancel(speech.request)
            self._changed.notify()
        self._thread.join()
        for speech in speeches:
            speech.wake()

    def _run(self) -> None:
        if self._n_threads is not None:
            limit_threads(self._n_threads)
        while True:
            with self._changed:
                while self.engine.is_idle and not self._is_closed:
                    self._forget()
                    self._changed.wait()
                if self._is_closed:
                    return
            error: Exception | None = None
            n_waited = self.n_waiting
            moved: set[Request] = set()
            try:
                moved = set(self.engine.step())
            except Exception as caught:  # the engine has ended its answers, and goes on
                error = caught
            with self._changed:
                speeches = list(self._speeches.values())
                self._forget()
            is_time = time.monotonic() - self._told_at >= WAKE_EVERY_S
            if is_time:
                self._told_at = time.monotonic()
            for speech in speeches:
                if error is not None and speech.request.finish_reason == "error":
                    speech.error = error
                is_new = speech.request in moved and (is_time or not speech.has_begun)
                speech.has_begun |= is_new
                if speech.is_over or is_new or (n_waited != self.n_waiting and not speech.has_begun):
                    speech.wake()

    def _forget(self) -> None:
        for request in [request for request, speech in self._speeches.items() if speech.is_over]:
            del self._speeches[request]
