"""Server-sent events: JSON objects, one after another. A reader that has left, or stopped reading, is noticed."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from fastapi.encoders import jsonable_encoder
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

log = logging.getLogger("malmoi.serve")
T = TypeVar("T")
STALLED_S = 1.0
"""A reader that takes nothing for so long, while the connection's buffers are full, has stopped reading."""
LOOKS = 8
"""How often within this time it is looked for: a timer for each piece would cost more than sending it."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
json_of = json.JSONEncoder(ensure_ascii=False, default=jsonable_encoder).encode
"""JSON as events have it."""


def event_of(row: dict[str, Any] | str) -> bytes:
    """An event: an object as JSON, a text as it is."""
    return f"data: {row if isinstance(row, str) else json_of(row)}\n\n".encode()


ALIVE, ALIVE_EVERY_S = b": \n\n", 10.0
"""A comment, which readers skip: it keeps a connection open on which nothing is said."""


async def comes_soon(event: asyncio.Event) -> bool:
    """Whether an event comes before it is time to send `ALIVE`."""
    is_late = False

    def ring() -> None:
        nonlocal is_late
        is_late = True
        event.set()

    # Before each piece of an answer: `asyncio.timeout` would take four times as long.
    timer = asyncio.get_running_loop().call_later(ALIVE_EVERY_S, ring)
    try:
        await event.wait()
    finally:
        timer.cancel()
    return not is_late


class EventStream(Response):
    """A response of events. left: called when the reader went before the end"""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], left: Callable[[], None]) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self.events, self.left = events, left
        self._sending_since: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop, is_whole = asyncio.get_running_loop(), False
        leaving = asyncio.create_task(_until_gone(receive))
        timer: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal timer
            since = self._sending_since
            if leaving.done() or (since is not None and loop.time() - since >= STALLED_S):
                limit.reschedule(loop.time())
            else:
                timer = loop.call_later(STALLED_S / LOOKS, look)

        def gone(_: object) -> None:
            if timer is not None:  # it is still being sent
                limit.reschedule(loop.time())

        try:
            async with asyncio.timeout(None) as limit:
                timer = loop.call_later(STALLED_S / LOOKS, look)
                leaving.add_done_callback(gone)
                try:
                    await self._send(send, loop.time)
                finally:
                    timer.cancel()
                    timer = None
            is_whole = True
        except (TimeoutError, OSError):  # it has left
            pass
        except Exception as error:
            log.error("a stream broke off: %s", error, exc_info=error)
        finally:
            if not is_whole:
                self.left()
            leaving.cancel()
            with contextlib.suppress(RuntimeError):
                await self.events.aclose()

    async def _send(self, send: Send, clock: Callable[[], float]) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self.events:
            self._sending_since = clock()
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            self._sending_since = None
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def while_there(receive: Receive, work: Awaitable[T], left: Callable[[], None]) -> T | None:
    """The result of some work for a request; None if the client went before. left: called then"""
    working = asyncio.ensure_future(work)
    leaving = asyncio.create_task(_until_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            left()
            return None
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
