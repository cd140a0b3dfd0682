"""Events: a reader that stops reading, or leaves, is noticed whatever the network does."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from malmoi.serve import stream
from malmoi.serve.stream import EventStream, comes_soon, event_of, while_there

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: once Playwright has run, the main thread has an event loop that counts as running."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def endless() -> AsyncGenerator[bytes]:
    while True:
        yield event_of({"text": "가" * 100})
        await asyncio.sleep(0)


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


def test_a_reader_that_stops_reading_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STALLED_S", 0.05)
    sent: list[Any] = []
    left: list[bool] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 3:  # the connection's buffers are full
            await asyncio.Event().wait()

    run(EventStream(endless(), left=lambda: left.append(True))({}, never, send))
    assert left == [True] and len(sent) == 4


def test_a_reader_hears_something_while_an_event_is_long_in_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ALIVE_EVERY_S", 0.01)

    async def waited() -> list[bool]:
        event = asyncio.Event()
        soon = [await comes_soon(event)]
        event.set()
        return [*soon, await comes_soon(event)]

    assert run(waited()) == [False, True]


def test_a_reader_that_leaves_is_left_even_if_there_is_nothing_to_send() -> None:
    async def silent() -> AsyncGenerator[bytes]:
        yield event_of({"type": "queued"})
        await asyncio.Event().wait()

    async def gone() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    left: list[bool] = []
    run(EventStream(silent(), left=lambda: left.append(True))({}, gone, send))
    assert left == [True]


def test_a_whole_stream_is_not_left() -> None:
    async def short() -> AsyncGenerator[bytes]:
        yield event_of({"text": "낱말"})

    sent: list[Any] = []
    left: list[bool] = []

    async def send(message: Any) -> None:
        sent.append(message)

    run(EventStream(short(), left=lambda: left.append(True))({}, never, send))
    assert left == [] and [one.get("body") for one in sent] == [None, 'data: {"text": "낱말"}\n\n'.encode(), b""]


def test_work_for_who_left_is_stopped() -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    left: list[bool] = []
    assert run(while_there(gone, asyncio.sleep(60, "late"), lambda: left.append(True))) is None
    assert run(while_there(never, asyncio.sleep(0, "done"), lambda: left.append(True))) == "done"
    assert left == [True]
