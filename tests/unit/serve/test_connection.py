"""What is written within one turn of the event loop is sent together, in order, and never kept."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from malmoi.serve.connection import AT_ONCE_BYTES, Together


class Sending:
    """A transport that notes what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def get_extra_info(self, name: str) -> str:
        return name


def together(steps: Any) -> Sending:
    """The transport after some steps in an event loop."""

    async def work() -> Sending:
        below = Sending()
        await steps(Together(below, asyncio.get_running_loop()), below)  # type: ignore[arg-type]
        return below

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work()).result()


def test_what_is_written_at_once_is_sent_at_once() -> None:
    async def steps(transport: Together, below: Sending) -> None:
        transport.write(b"head ")
        transport.write(b"body ")
        assert below.sent == []
        await asyncio.sleep(0)
        assert below.sent == [b"head body "]
        transport.write(b"end")
        await asyncio.sleep(0)

    assert together(steps).sent == [b"head body ", b"end"]


def test_much_is_not_kept() -> None:
    async def steps(transport: Together, below: Sending) -> None:
        for _ in range(9):
            transport.write(b"x" * (AT_ONCE_BYTES // 4))
        assert len(below.sent) == 2
        await asyncio.sleep(0)

    assert sum(map(len, together(steps).sent)) == 9 * (AT_ONCE_BYTES // 4)


def test_what_was_written_is_sent_before_the_end() -> None:
    async def steps(transport: Together, _: Sending) -> None:
        transport.write(b"last")
        transport.close()
        await asyncio.sleep(0)

    assert together(steps).sent == [b"last"] and together(steps).is_closed


def test_all_else_is_the_transports() -> None:
    async def steps(transport: Together, _: Sending) -> None:
        assert transport.get_extra_info("peername") == "peername"

    together(steps)
