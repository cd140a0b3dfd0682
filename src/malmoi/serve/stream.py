"""Server-sent events: JSON objects, one after another. A reader that has left, or stopped reading, is noticed."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from fastapi.encoders import jsonable_encoder
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")
STALLED_S = 1.0
"""A reader that takes nothing for so long, while the connection's buffers are full, has stopped reading."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event_of(row: dict[str, Any] | str) -> bytes:
    """An event: an object as JSON, a text as it is."""
    text = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False, default=jsonable_encoder)
    return f"data: {text}\n\n".encode()


ALIVE, ALIVE_EVERY_S = b": \n\n", 10.0
"""A comment, which readers skip: it keeps a connection open on which nothing is said."""


async def comes_soon(event: asyncio.Event) -> bool:
    """Whether an event comes before it is time to send `ALIVE`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ALIVE_EVERY_S):
            await event.wait()
    return event.is_set()


class EventStream(Response):
    """A response of events. left: called when the reader went before the end"""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], left: Callable[[], None]) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self.events, self.left = events, left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_until_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_whole = sending.done() and not sending.cancelled() and sending.exception() is None
            if not is_whole:
                self.left()
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            with contextlib.suppress(RuntimeError):
                await self.events.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self.events:
            async with asyncio.timeout(STALLED_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
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
