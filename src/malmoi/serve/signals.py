"""Routes for what people say of answers: votes, better answers, comparisons; and where an answer comes from."""

import asyncio
import random
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from malmoi.feedback import chats, comparing, origin, signals
from malmoi.feedback.chats import NewMessage, new_id
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.service import Turn
from malmoi.inference.grounded import Answered
from malmoi.serve.errors import envelope, refusal_of
from malmoi.serve.making import Making
from malmoi.serve.state import State
from malmoi.serve.stream import ALIVE, EventStream, comes_soon, event_of
from malmoi.serve.who import Chatting, Here

router = APIRouter(prefix="/api")
Id = Annotated[str, Field(pattern=r"^[0-9a-f-]{32,36}$")]
PANES = "ab"
WARM = 0.8
"""Least temperature of the second answer: at 0 both would be the same."""


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Vote(Body):
    vote: str | None = None
    reasons: list[str] = Field([], max_length=10)
    comment: str = Field("", max_length=10_000)


class Better(Body):
    text: str = Field(max_length=chats.LONGEST_TEXT)


class Compare(Body):
    parent: Id
    id: Id


class Verdict(Body):
    verdict: str


@router.put("/messages/{id}/vote")
def vote(id: str, body: Vote, member: Chatting, state: Here) -> dict[str, Any]:
    return signals.vote(state.ledger, member.id, id, body.vote, body.reasons, body.comment)


@router.put("/messages/{id}/better")
def write_better(id: str, body: Better, member: Chatting, state: Here) -> dict[str, Any]:
    return signals.write_better(state.ledger, member.id, id, body.text)


@router.delete("/messages/{id}/better")
def withdraw_better(id: str, member: Chatting, state: Here) -> dict[str, Any]:
    return signals.withdraw_better(state.ledger, member.id, id)


@router.get("/messages/{id}/origin")
def where_from(id: str, member: Chatting, state: Here) -> dict[str, Any]:
    return origin.origin_of(state.ledger, member.id, id)


@router.get("/comparisons/{id}")
def get_comparison(id: str, member: Chatting, state: Here) -> dict[str, Any]:
    return comparing.get_comparison(state.ledger, member.id, id)


@router.put("/comparisons/{id}")
def judge(id: str, body: Verdict, member: Chatting, state: Here) -> dict[str, Any]:
    return comparing.judge(state.ledger, member.id, id, body.verdict)


@router.post("/chats/{id}/compare")
async def compare(id: str, body: Compare, member: Chatting, state: Here) -> EventStream:
    chat = await asyncio.to_thread(chats.get_chat, state.ledger, member.id, id)
    said = await asyncio.to_thread(chats.conversation, state.ledger, member.id, id, body.parent)
    state.at_once.take(member.id, 2)
    try:
        service = await state.in_service()
        if service.voice is None:
            raise RefusedError("nothing_to_compare", "only the documents answer here, always the same")
        warm = {**chat["sampling"], "temperature": max(WARM, chat["sampling"].get("temperature", 0.0)), "seed": None}
        turns = [await asyncio.to_thread(Turn, service, said, chosen) for chosen in (chat["sampling"], warm)]
        for turn in turns:
            await state.prepare(turn.prepare)
    except BaseException:
        state.at_once.free(member.id, 2)
        raise
    comparing_now = Comparing(state, member.id, id, body, random.sample(turns, 2))
    task = asyncio.create_task(comparing_now.make())
    task.add_done_callback(lambda _: state.at_once.free(member.id, 2))
    state.begin(task)
    return EventStream(comparing_now.events(), left=comparing_now.stop)


class Comparing:
    """Two answers in the making. Their words are shown when both are whole: how they come would tell who is who."""

    def __init__(self, state: State, person_id: str, chat_id: str, asked: Compare, turns: list[Turn]) -> None:
        self.state, self.person_id, self.chat_id, self.asked = state, person_id, chat_id, asked
        self.changed = asyncio.Event()
        self.makings = [Making(turn, chat_id, changed=self.changed) for turn in turns]
        self.end: dict[str, Any] | None = None

    def stop(self) -> None:
        for making in self.makings:
            making.stop()

    async def make(self) -> None:
        try:
            self.state.of_programs |= {*self.makings}
            await asyncio.gather(*(making.speak() for making in self.makings))
            answered = [await self._settled(making) for making in self.makings]
            if answered[0].text == answered[1].text:
                answered[1] = await self._without_documents()
            if any(making.turn.is_cancelled for making in self.makings):
                raise RefusedError("stopped", "the comparison was stopped")
            if not all(one.text for one in answered) or answered[0].text == answered[1].text:
                raise RefusedError("nothing_to_compare", "both answers came out the same; ask something else")
            rows = [self._message(making, one) for making, one in zip(self.makings, answered, strict=True)]
            given = self.state.ledger, self.person_id, self.chat_id, self.asked.id, self.asked.parent, rows
            self.end = {"type": "done", "comparison": await asyncio.to_thread(comparing.add_comparison, *given)}
        except Exception as error:
            self.end = {"type": "error", "error": envelope(refusal_of(error))["error"]}
        finally:
            self.stop()
            self.state.of_programs -= {*self.makings}
            self.changed.set()

    async def _settled(self, making: Making) -> Answered:
        if (failure := making.failure()) is not None:
            raise failure
        return await self.state.prepare(making.turn.settle)

    async def _without_documents(self) -> Answered:
        """The network's own words, where the documents gave the same answer twice."""
        before = self.makings[1].turn
        turn = Turn(before.service, before.messages, {**before.chosen, "temperature": WARM}, looks_up=False)
        await self.state.prepare(turn.prepare)
        self.state.of_programs.discard(self.makings[1])
        self.makings[1] = Making(turn, self.chat_id, changed=self.changed)
        self.state.of_programs.add(self.makings[1])
        await self.makings[1].speak()
        return await self._settled(self.makings[1])

    def _message(self, making: Making, answered: Answered) -> NewMessage:
        turn = making.turn
        figures = turn.figures(answered) | {"voice": answered.voice, "looked_up": turn.looks_up}
        recorded = turn.record(answered)
        return NewMessage(new_id(), self.asked.parent, "assistant", answered.text, turn.finish, None, figures, recorded)

    async def events(self) -> AsyncGenerator[bytes]:
        told: list[tuple[Any, ...]] = [(), ()]
        while self.end is None:
            self.changed.clear()
            for place, making in enumerate(self.makings):
                state = making.position, making.phase
                if state != told[place]:
                    told[place] = state
                    row = {"type": "queued", "position": making.position} if making.position else {"type": "phase"}
                    yield event_of({**row, "phase": making.phase, "pane": PANES[place]})
            if self.end is None and not await comes_soon(self.changed):
                yield ALIVE
        if self.end["type"] == "done":
            for pane in PANES:
                yield event_of({"type": "text", "pane": pane, "text": self.end["comparison"][pane]["text"]})
        yield event_of(self.end)
