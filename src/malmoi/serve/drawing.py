"""Routes for pictures: drawing them, what was drawn, where it comes from.

The painter keeps a state, and a reader is told how it differs from what it knows. Whoever leaves stops the drawing;
what is finished of it is kept.
"""

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse

from malmoi.feedback import drawings
from malmoi.feedback.refusals import RefusedError, invalid
from malmoi.feedback.studio import MOST_PICTURES, Asked, Order
from malmoi.serve.errors import envelope, refusal_of
from malmoi.serve.state import State
from malmoi.serve.stream import ALIVE, EventStream, comes_soon, event_of
from malmoi.serve.who import Chatting, Here

router = APIRouter(prefix="/api/drawings")
Id = Annotated[str, Field(pattern=r"^[0-9a-f-]{32,36}$")]
Base64 = Annotated[str, Field(max_length=20 * 2**20)]
LoraName = Annotated[str, Field(min_length=1, max_length=140)]
"""NAME, or NAME:SCALE."""
MOST_SEED = 2**53 - 1
"""Of those that pages read as they are: numbers in JavaScript are no larger."""
Words = Annotated[str, Field(max_length=20_000)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class NewDrawing(Body):
    """start: a picture file in base64; start_id: one of the person's own pictures instead; mask: a picture file, drawn
    where it is white or transparent"""

    id: Id
    prompt: Words = ""
    negative: Words = ""
    n: int = Field(1, ge=1, le=MOST_PICTURES)
    steps: int | None = Field(None, ge=1)
    guidance: float | None = Field(None, ge=0, le=50)
    sampler: Annotated[str, Field(max_length=40)] | None = None
    seed: int | None = Field(None, ge=0, le=MOST_SEED)
    size: Annotated[str, Field(max_length=20)] | None = None
    start: Base64 | None = None
    start_id: Id | None = None
    strength: float | None = Field(None, gt=0, le=1)
    mask: Base64 | None = None
    lora: LoraName | None = None


class Making:
    """A drawing in the making, and its storing. Whoever asks for it again meanwhile reads along.

    is_decided: it was begun, or it is known why not
    """

    def __init__(self, state: State, person_id: str, n: int) -> None:
        self.state, self.person_id, self.n = state, person_id, n
        self.loop = asyncio.get_running_loop()
        self.moved, self.changed = asyncio.Event(), asyncio.Event()
        self.order: Order | None = None
        self.drawing: dict[str, Any] | None = None
        self.failed: RefusedError | None = None
        self.is_made, self.is_decided = asyncio.Event(), asyncio.Event()
        self.n_readers = 0

    async def begin(self, asked: Asked, request_id: str) -> None:
        """Queue it. Raises RefusedError; then nothing is left of it."""
        self.state.drawing_at_once.take(self.person_id)
        try:
            await asyncio.to_thread(drawings.check_room, self.state.ledger, self.person_id, asked.n)
            studio = await self.state.in_studio()
            self.order = await asyncio.to_thread(studio.order, asked, self.person_id, request_id, self._wake)
        except BaseException:
            self.state.drawing_at_once.free(self.person_id)
            raise
        self.state.orders.add(self.order)
        self.state.begin(asyncio.create_task(self._make()))

    def stream(self) -> EventStream:
        """The events for one more reader. The drawing stops when the last one has left."""
        self.n_readers += 1
        return EventStream(self.events(), left=self._leave)

    def _leave(self) -> None:
        self.n_readers -= 1
        if not self.n_readers:
            self.stop()

    def stop(self) -> None:
        if self.order is not None:
            self.order.cancel()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the server ends
            self.loop.call_soon_threadsafe(self.moved.set)

    async def _make(self) -> None:
        order, ledger = self.order, self.state.ledger
        assert order is not None
        try:
            while not order.sketch.is_over:
                await self.moved.wait()
                self.moved.clear()
                self.changed.set()
            if order.sketch.error is not None:
                raise order.sketch.error
            if order.sketch.pictures:
                files = await asyncio.to_thread(order.files)
                self.drawing = await asyncio.to_thread(drawings.store_drawing, ledger, order.drawing, files)
        except Exception as error:
            self.failed = refusal_of(error)
        finally:
            self.state.orders.discard(order)
            self.state.being_drawn.pop((self.person_id, order.drawing.request_id), None)
            self.state.drawing_at_once.free(self.person_id)
            self.is_made.set()
            self.changed.set()

    async def events(self) -> AsyncGenerator[bytes]:
        """What a reader is told, from the first event to the last."""
        order = self.order
        assert order is not None
        if order.remarks:
            yield event_of({"type": "remarks", "remarks": order.remarks})
        position, done = 0, -1
        while not self.is_made.is_set():
            self.changed.clear()
            if (place := order.place) != position:
                position = place
                yield event_of({"type": "queued", "position": position})
            if not position and order.sketch.done != done:
                done = order.sketch.done
                first, previews = await asyncio.to_thread(order.previews)
                shown = [base64.b64encode(one).decode() for one in previews]
                yield event_of({"type": "step", "done": done, "of": order.sketch.of, "first": first, "previews": shown})
            if not await comes_soon(self.changed):
                yield ALIVE
        if self.failed is not None:
            yield event_of({"type": "error", "error": envelope(self.failed)["error"]})
        else:
            yield event_of({"type": "done", "drawing": self.drawing, "stopped": order.sketch.is_cancelled})


@router.get("/about")
async def about(_: Chatting, state: Here) -> dict[str, Any]:
    """What may be asked for. Raises RefusedError `no_picture_model` if nothing draws."""
    studio = await state.in_studio()
    return await asyncio.to_thread(studio.about)


@router.get("")
def list_drawings(
    member: Chatting, state: Here, before: Annotated[int | None, Field(ge=0, lt=2**63)] = None
) -> dict[str, Any]:
    return drawings.list_drawings(state.ledger, member.id, before)


@router.post("")
async def draw(body: NewDrawing, member: Chatting, state: Here) -> EventStream:
    key = (member.id, body.id)
    while (other := state.being_drawn.get(key)) is not None:
        await other.is_decided.wait()
        if other.order is not None:
            return other.stream()
    making = state.being_drawn[key] = Making(state, member.id, body.n)  # nothing was awaited since the look above
    try:
        known = await asyncio.to_thread(drawings.find_drawing, state.ledger, member.id, body.id)
        if known is not None:
            return EventStream(_given({"type": "done", "drawing": known, "stopped": False}), left=lambda: None)
        await _begin(making, body)
        return making.stream()
    finally:
        making.is_decided.set()
        if making.order is None:
            del state.being_drawn[key]


async def _begin(making: Making, body: NewDrawing) -> None:
    """Raises RefusedError."""
    state, person_id = making.state, making.person_id
    start = await asyncio.to_thread(_start, state, person_id, body)
    mask = None if body.mask is None else _file(body.mask, "mask")
    given = {
        name: getattr(body, name)
        for name in ("prompt", "negative", "n", "steps", "guidance", "sampler", "seed", "lora")
    }
    await making.begin(Asked(**given, size=body.size, start=start, strength=body.strength, mask=mask), body.id)


@router.post("/{id}/stop", status_code=204)
async def stop(id: str, member: Chatting, state: Here) -> None:
    for order in list(state.orders):
        if order.drawing.request_id == id and order.drawing.person_id == member.id:
            await asyncio.to_thread(order.cancel)


@router.get("/{id}/lineage")
def lineage(id: str, member: Chatting, state: Here) -> dict[str, Any]:
    return drawings.drawn_from(state.ledger, member.id, id)


@router.delete("/{id}", status_code=204)
def delete_drawing(id: str, member: Chatting, state: Here) -> None:
    drawings.delete_drawing(state.ledger, member.id, id)


@router.get("/pictures/{id}")
def picture(id: str, member: Chatting, state: Here, download: bool = False) -> FileResponse:
    path = drawings.picture_file(state.ledger, member.id, id)
    name = f"malmoi-{id[:8]}.png" if download else None
    headers = {"Cache-Control": "private, max-age=31536000, immutable"}
    return FileResponse(path, media_type="image/png", filename=name, headers=headers)


@router.delete("/pictures/{id}", status_code=204)
def delete_picture(id: str, member: Chatting, state: Here) -> None:
    drawings.delete_picture(state.ledger, member.id, id)


async def _given(row: dict[str, Any]) -> AsyncGenerator[bytes]:
    yield event_of(row)


def _start(state: State, person_id: str, body: NewDrawing) -> bytes | None:
    """The file to begin with."""
    if body.start is not None and body.start_id is not None:
        raise invalid("start_id", "give start or start_id, not both")
    if body.start_id is not None:
        return drawings.picture_file(state.ledger, person_id, body.start_id).read_bytes()
    return None if body.start is None else _file(body.start, "start")


def _file(text: str, param: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(param, "expected a picture file in base64") from None
