"""OpenAI's form of drawing: /v1/images/generations, /edits and /variations, as its official client calls them.

`seed`, `steps`, `guidance`, `negative`, `sampler`, `lora` and `strength` are ours; a client sends them as `extra_body`.
What is not understood is refused, not ignored.
"""

import asyncio
import base64
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from malmoi.feedback.chats import new_id
from malmoi.feedback.drawings import picture_file
from malmoi.feedback.refusals import RefusedError, invalid
from malmoi.feedback.studio import MOST_PICTURES, Asked
from malmoi.serve.drawing import MOST_SEED, LoraName, Making
from malmoi.serve.multipart import Form, parse_form
from malmoi.serve.openai_api import OURS
from malmoi.serve.state import State
from malmoi.serve.stream import while_there
from malmoi.serve.who import Here, WithKey

router = APIRouter(prefix="/v1/images")
AUTO = ("auto", "")


class Drawn(BaseModel):
    """What all three take. Numbers may be texts, as forms send them."""

    model_config = ConfigDict(extra="forbid")
    model: Annotated[str, Field(max_length=200)] | None = None
    n: int | None = Field(None, ge=1, le=MOST_PICTURES)
    size: Annotated[str, Field(max_length=20)] | None = None
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png"] | None = None
    background: Literal["auto", "opaque"] | None = None
    quality: Literal["auto", "standard"] | None = None
    stream: Literal[False] | None = None
    user: Annotated[str, Field(max_length=1000)] | None = None
    seed: int | None = Field(None, ge=0, le=MOST_SEED)
    steps: int | None = Field(None, ge=1)
    guidance: float | None = Field(None, ge=0, le=50)
    negative: Annotated[str, Field(max_length=20_000)] = ""
    sampler: Annotated[str, Field(max_length=40)] | None = None
    lora: LoraName | None = None


class Generation(Drawn):
    prompt: str = Field(max_length=40_000)


class Edit(Generation):
    strength: float | None = Field(None, gt=0, le=1)


class Variation(Drawn):
    strength: float | None = Field(None, gt=0, le=1)


D = TypeVar("D", bound=Drawn)


@router.post("/generations")
async def generate(body: Generation, member: WithKey, state: Here, request: Request) -> Any:
    return await _draw(state, member.id, request, body, prompt=body.prompt)


@router.post("/edits")
async def edit(member: WithKey, state: Here, request: Request) -> Any:
    """Draws `image` again: where `mask` is transparent or white, else all of it."""
    form = await _form(request, ("image", "mask"))
    body = _parsed(Edit, form)
    start, mask = _only(form, "image"), _only(form, "mask") if "mask" in form.files else None
    return await _draw(
        state, member.id, request, body, prompt=body.prompt, start=start, mask=mask, strength=body.strength
    )  # fmt: skip


@router.post("/variations")
async def vary(member: WithKey, state: Here, request: Request) -> Any:
    form = await _form(request, ("image",))
    body = _parsed(Variation, form)
    return await _draw(state, member.id, request, body, start=_only(form, "image"), strength=body.strength)


async def _draw(state: State, person_id: str, request: Request, body: Drawn, **given: Any) -> Any:
    studio = await state.in_studio()
    if body.model not in (None, OURS, studio.name):
        raise RefusedError("model_not_found", f"{body.model}: no such model here; there is {studio.name}", "model")
    asked = Asked(
        n=body.n or 1, steps=body.steps, guidance=body.guidance, negative=body.negative, sampler=body.sampler,
        seed=body.seed, lora=body.lora, size=None if body.size in AUTO else body.size, **given,
    )  # fmt: skip
    making = Making(state, person_id, asked.n)
    await making.begin(asked, new_id())
    done = await while_there(request.receive, making.is_made.wait(), left=making.stop)
    if done is None:
        return Response(status_code=499)
    if making.failed is not None:
        raise making.failed
    if making.drawing is None:
        raise RefusedError("stopped", "the drawing was stopped")
    data = [await asyncio.to_thread(_image, state, person_id, one) for one in making.drawing["pictures"]]
    about = {"drawing": f"drawing-{making.drawing['number']}", "model": making.drawing["model"]}
    assert making.order is not None
    return {
        "created": int(time.time()), "data": data, "output_format": "png", "size": making.drawing["size"],
        "malmoi": about | {"remarks": making.order.remarks},
    }  # fmt: skip


def _image(state: State, person_id: str, picture: dict[str, Any]) -> dict[str, Any]:
    png = picture_file(state.ledger, person_id, picture["id"]).read_bytes()
    return {"b64_json": base64.b64encode(png).decode(), "seed": picture["seed"]}


async def _form(request: Request, files: Sequence[str]) -> Form:
    """files: names of those that it may have. Raises RefusedError for another one."""
    form = parse_form(await request.body(), request.headers.get("content-type", ""))
    for name in form.files.keys() - set(files):
        raise invalid(name, "unknown parameter")
    return form


def _parsed(kind: type[D], form: Form) -> D:
    try:
        return kind.model_validate(form.texts)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise invalid(where, "unknown parameter" if first["type"] == "extra_forbidden" else first["msg"]) from None


def _only(form: Form, name: str) -> bytes:
    """The one file of this name. Raises RefusedError for none or several."""
    files = form.files.get(name, [])
    if len(files) != 1:
        raise invalid(name, "expected one picture file" if not files else "expected one picture, not several")
    return files[0]
