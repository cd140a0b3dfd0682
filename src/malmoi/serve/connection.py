"""A connection that does not wait without end, and sends together what is written together.

uvicorn sets no time for the head of a request to arrive, and sends the head of a response, each piece of it and its end
by themselves.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_WITHIN_S = 10.0
AT_ONCE_BYTES = 2**16
"""What is written is sent at the latest when it is so much: what a reader does not take may not fill the memory."""


class Together:
    """A transport that sends in one go what is written within one turn of the event loop: each time is a system call,
    wakes the reader, and gives the interpreter to the engine's thread."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport, self.loop = transport, loop
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self.loop.call_soon(self._send)
        self._waiting += data
        if len(self._waiting) >= AT_ONCE_BYTES:
            self._send()

    def close(self) -> None:
        self._send()
        self.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def _send(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            self.transport.write(waiting)


class Connection(H11Protocol):
    """Closed if the head of a request, once a connection is made or has begun to send it, does not arrive in time."""

    head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Together(transport, self.loop))  # type: ignore[arg-type]
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self.head_timer is None:
            self.head_timer = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
