"""Routes for chats: their list, their messages, what is answered in them, and files of them."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from malmoi.feedback import chat_files, chats, signals
from malmoi.feedback.chats import NewMessage
from malmoi.feedback.comparing import open_comparisons
from malmoi.feedback.forgetting import learned_from_chat
from malmoi.feedback.open_webui import is_open_webui
from malmoi.feedback.refusals import RefusedError, invalid
from malmoi.feedback.service import Turn
from malmoi.feedback.settings import get_settings
from malmoi.feedback.taught import taught_answers
from malmoi.serve.answering import make
from malmoi.serve.making import Making, events
from malmoi.serve.state import State
from malmoi.serve.stream import EventStream, event_of
from malmoi.serve.who import Chatting, Here

router = APIRouter(prefix="/api/chats")
Text = Annotated[str, Field(max_length=chats.LONGEST_TEXT)]
Id = Annotated[str, Field(pattern=r"^[0-9a-f-]{32,36}$")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Sampling(Body):
    """How a person wants answers sampled; what is missing is the model's default."""

    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=2**31)
    max_tokens: int | None = Field(None, ge=1, le=4096)
    seed: int | None = Field(None, ge=0, lt=2**63)


class NewChat(Body):
    id: Id | None = None
    title: Text | None = None
    system: Text = ""
    sampling: Sampling = Sampling()
    may_teach: bool | None = None


class Change(Body):
    title: Text | None = None
    system: Text | None = None
    sampling: Sampling | None = None
    may_teach: bool | None = None
    head: Id | None = None


class Again(Body):
    parent: Id
    answer_id: Id


class Said(Body):
    id: Id
    parent: Id | None = None
    text: Text
    answer_id: Id


class Stop(Body):
    answer_id: Id


Exported = Annotated[list[dict[str, Any]], Field(max_length=10_000)]


class ChatsFile(Body):
    model_config = ConfigDict(extra="ignore", strict=True)
    format: Literal["malmoi-chats"]
    version: Literal[1]
    chats: list[dict[str, Any]] = Field(max_length=10_000)


@router.get("")
def list_chats(
    member: Chatting, state: Here, search: Annotated[str, Field(max_length=200)] = "", before: str | None = None,
    limit: int = 50,
) -> dict[str, Any]:  # fmt: skip
    found, more = chats.list_chats(state.ledger, member.id, search, before, limit)
    return {"chats": found, "next": more}


@router.post("", status_code=201)
def new_chat(body: NewChat, member: Chatting, response: Response, state: Here) -> dict[str, Any]:
    may_teach = get_settings(state.ledger)["may_teach_default"] if body.may_teach is None else body.may_teach
    chat, is_new = chats.create_chat(
        state.ledger, member.id, may_teach=may_teach, id=body.id, title=body.title, system=body.system,
        sampling=_chosen(body.sampling),
    )  # fmt: skip
    response.status_code = 201 if is_new else 200
    return chat


@router.get("/export")
def export_all(member: Chatting, response: Response, state: Here) -> dict[str, Any]:
    return _as_file(response, chat_files.export_chats(state.ledger, member.id), "chats")


@router.post("/import", status_code=201)
def import_chats(body: ChatsFile | Exported, member: Chatting, state: Here) -> dict[str, int]:
    """Our own file, or the list of chats that Open WebUI exports."""
    rows = body.chats if isinstance(body, ChatsFile) else body
    if not isinstance(body, ChatsFile) and not is_open_webui(rows):
        raise invalid("chats", "expected chats exported here or by Open WebUI")
    return chat_files.import_chats(state.ledger, member.id, rows)


@router.get("/{id}")
def get_chat(id: str, member: Chatting, state: Here) -> dict[str, Any]:
    chat = chats.get_chat(state.ledger, member.id, id)
    messages = signals.signalled(state.ledger, member.id, id, chats.messages_of(state.ledger, member.id, id))
    return {**chat, "messages": messages, "comparisons": open_comparisons(state.ledger, member.id, id)}


@router.patch("/{id}")
def change_chat(id: str, body: Change, member: Chatting, state: Here) -> dict[str, Any]:
    values = body.model_dump(include=body.model_fields_set)
    if body.sampling is not None:
        values["sampling"] = _chosen(body.sampling)
    kept = {name: value for name, value in values.items() if value is not None or name == "title"}
    return signals.change_chat(state.ledger, member.id, id, kept)


@router.delete("/{id}", status_code=204)
def delete_chat(id: str, member: Chatting, state: Here) -> None:
    chats.delete_chat(state.ledger, member.id, id)


@router.get("/{id}/learned")
def learned(id: str, member: Chatting, state: Here) -> dict[str, Any]:
    """What has learned from a chat, before it is deleted."""
    chats.get_chat(state.ledger, member.id, id)
    return learned_from_chat(state.ledger, id)


@router.get("/{id}/export")
def export_chat(id: str, member: Chatting, response: Response, state: Here) -> dict[str, Any]:
    return _as_file(response, chat_files.export_chats(state.ledger, member.id, id), "chat")


@router.post("/{id}/messages")
async def say(id: str, body: Said, member: Chatting, state: Here) -> EventStream:
    message = NewMessage(body.id, body.parent, "user", body.text)
    return await _answer(state, member.id, id, body.answer_id, message.id, message)


@router.post("/{id}/answers")
async def say_again(id: str, body: Again, member: Chatting, state: Here) -> EventStream:
    return await _answer(state, member.id, id, body.answer_id, body.parent)


@router.post("/{id}/stop", status_code=204)
async def stop(id: str, body: Stop, member: Chatting, state: Here) -> None:
    await asyncio.to_thread(chats.get_chat, state.ledger, member.id, id)
    making = state.makings.get(body.answer_id)
    if making is not None and making.chat_id == id:
        making.stop()


async def _answer(
    state: State, person_id: str, chat_id: str, answer_id: str, parent: str, message: NewMessage | None = None
) -> EventStream:
    """Store a person's message, if there is one, and stream its answer. Everything that can be refused is refused
    before anything is stored. message: None: the answer to `parent`, which is stored already"""
    first: list[dict[str, Any]] = []
    done = await asyncio.to_thread(chats.find_message, state.ledger, person_id, chat_id, answer_id)
    if done is not None:
        if done["parent"] != parent or done["role"] != "assistant":
            raise RefusedError("conflict", "another message has this id", "answer_id")
        stored = await asyncio.to_thread(chats.find_message, state.ledger, person_id, chat_id, parent)
        if message is not None and stored is not None and stored["text"] != message.text:
            raise RefusedError("conflict", "another message has this id", "id")
        rows = [{"type": "message", "message": stored}] if message else []
        return EventStream(_given([*rows, {"type": "done", "message": done}]), left=lambda: None)
    if answer_id in state.makings:
        raise RefusedError("conflict", "this answer is being made; try again soon", "answer_id")
    state.at_once.take(person_id)
    try:
        said = await asyncio.to_thread(chats.conversation, state.ledger, person_id, chat_id, parent, message)
        chat = await asyncio.to_thread(chats.get_chat, state.ledger, person_id, chat_id)
        service = await state.in_service()
        taught = await asyncio.to_thread(taught_answers, state.ledger)
        making = Making(await asyncio.to_thread(Turn, service, said, chat["sampling"], taught=taught), chat_id)
        await state.prepare(making.turn.prepare)
        if answer_id in state.makings:
            raise RefusedError("conflict", "this answer is being made; try again soon", "answer_id")
        state.makings[answer_id] = making
    except BaseException:
        state.at_once.free(person_id)
        raise
    try:
        if message is not None:
            stored, _ = await asyncio.to_thread(chats.add_message, state.ledger, person_id, chat_id, message)
            first.append({"type": "message", "message": stored})
    except BaseException:
        state.makings.pop(answer_id, None)
        state.at_once.free(person_id)
        raise
    state.begin(asyncio.create_task(make(state, making, person_id, chat_id, parent, answer_id)))
    return EventStream(events(making, first), left=making.stop)


async def _given(rows: list[dict[str, Any]]) -> AsyncGenerator[bytes]:
    for row in rows:
        yield event_of(row)


def _chosen(sampling: Sampling) -> dict[str, Any]:
    return sampling.model_dump(exclude_none=True)


def _as_file(response: Response, rows: dict[str, Any], name: str) -> dict[str, Any]:
    response.headers["Content-Disposition"] = f'attachment; filename="malmoi-{name}.json"'
    return rows
