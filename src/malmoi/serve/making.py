"""An answer in the making: the steps of a `Turn`, made in the background, and what a reader is told of them.

The maker keeps a state, and readers are told how it differs from what they know: nothing is queued for a reader that is
slow, and when a reader leaves, the answer's place in the engine is free.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.service import Turn
from malmoi.serve.errors import refusal_of
from malmoi.serve.stream import ALIVE, comes_soon, event_of


class Bell:
    """Sets events of an event loop from other threads. What is rung before the loop has looked is told in one call:
    each call costs a system call, and hands the interpreter over to the loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rung: list[asyncio.Event] = []

    def ring(self, loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
        with self._lock:
            self._rung.append(event)
            is_first = len(self._rung) == 1
        if is_first:
            with contextlib.suppress(RuntimeError):  # the server ends
                loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        with self._lock:
            rung, self._rung = self._rung, []
        for event in rung:
            event.set()


_BELLS: WeakKeyDictionary[asyncio.AbstractEventLoop, Bell] = WeakKeyDictionary()


@dataclass(eq=False)
class Making:
    """position: in the queue, from 1; 0: its turn; end: the last event, None as long as it goes on"""

    turn: Turn
    chat_id: str = ""
    position: int = 0
    phase: str = "looking_up"
    n_tokens: int = 0
    text: str = ""
    end: dict[str, Any] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """Set from the engine's thread."""

    def stop(self) -> None:
        self.turn.cancel()
        self.moved.set()

    def look(self) -> None:
        """Take over how far the answer is."""
        turn = self.turn
        self.n_tokens = turn.n_tokens
        self.position = 0 if self.n_tokens else turn.place
        self.phase = "writing" if self.n_tokens else "reading"
        if not turn.is_checked:
            self.text = turn.said
        self.changed.set()

    async def speak(self) -> None:
        """Let the voice answer, until it ends or is stopped. Raises RefusedError if too many wait."""
        loop = asyncio.get_running_loop()

        if not self.turn.speaks:
            return
        self.turn.speak(partial(_BELLS.setdefault(loop, Bell()).ring, loop, self.moved))
        while not self.turn.is_over:
            self.moved.clear()
            self.look()
            if not self.turn.is_over:
                await self.moved.wait()
        self.look()

    def failure(self) -> RefusedError | None:
        """Why the answer broke off; None if it did not."""
        if self.turn.finish != "error":
            return None
        speech = self.turn.speech
        gave_up = RefusedError("model_failed", "the answer broke off; ask again")
        return refusal_of(speech.error) if speech is not None and speech.error is not None else gave_up


async def events(making: Making, first: Sequence[dict[str, Any]]) -> AsyncGenerator[bytes]:
    """What a reader is told, from the first event to the last."""
    for row in first:
        yield event_of(row)
    position, phase, n_tokens, n_given = 0, "", 0, 0
    while True:
        making.changed.clear()
        if making.position != position:
            position = making.position
            yield event_of({"type": "queued", "position": position})
        if (making.phase, making.n_tokens) != (phase, n_tokens) and not position and making.end is None:
            is_new, phase, n_tokens = making.phase != phase, making.phase, making.n_tokens
            if is_new or making.turn.is_checked:
                yield event_of({"type": "phase", "phase": phase, "n_tokens": n_tokens})
        if len(making.text) > n_given:
            piece, n_given = making.text[n_given:], len(making.text)
            yield event_of({"type": "text", "text": piece})
        if making.end is not None:
            if making.end["type"] == "done" and making.turn.is_checked and making.end["message"]["text"]:
                yield event_of({"type": "text", "text": making.end["message"]["text"]})
            yield event_of(making.end)
            return
        if not await comes_soon(making.changed):
            yield ALIVE
