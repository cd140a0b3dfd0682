"""Routes for ranking and writing answers."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from malmoi.feedback import teach_items, teaching
from malmoi.feedback.accounts import LABELER
from malmoi.feedback.chats import LONGEST_TEXT
from malmoi.feedback.lead import people_agree
from malmoi.feedback.refusals import RefusedError, invalid
from malmoi.serve.who import Here, SignedIn

router = APIRouter(prefix="/api/teach")
GOAL_TODAY = 20
DAY_MS = 24 * 3600 * 1000


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Next(Body):
    kind: str = teach_items.RANK


class Said(Body):
    ranks: list[int] | None = Field(None, max_length=100)
    unrankable: str | None = None
    text: str | None = Field(None, max_length=LONGEST_TEXT)
    note: str = Field("", max_length=10_000)
    active_ms: int | None = Field(None, ge=0, le=DAY_MS)
    moved: bool | None = None
    input: str | None = Field(None, pattern="^(mouse|keyboard|touch)$")
    extra: bool = False


class Question(Body):
    text: str = Field(max_length=LONGEST_TEXT)
    lang: str | None = Field(None, max_length=20)


class Nothing(Body):
    pass


@router.get("")
def overview(member: SignedIn, state: Here) -> dict[str, Any]:
    found = teaching.overview(state.ledger, member.id)
    agreement = people_agree(state.ledger) if member.leads else None
    return {**found, "goal_today": GOAL_TODAY, "practice_left": 0, "guideline": None, "agreement": agreement}


@router.get("/mine")
def mine(member: SignedIn, state: Here, before: str | None = None) -> dict[str, Any]:
    items, more = teaching.mine(state.ledger, member.id, before)
    return {"items": items, "next": more}


@router.post("/next")
def next_item(body: Next, member: SignedIn, state: Here) -> dict[str, Any]:
    return {"item": teaching.next_item(state.ledger, member.id, body.kind)}


@router.post("/prompts", status_code=201)
def ask(body: Question, member: SignedIn, state: Here) -> dict[str, Any]:
    if member.role == LABELER:
        raise RefusedError("not_allowed", "your role does not ask questions; ask the owner")
    return {"id": teach_items.add_question(state.ledger, member.id, body.text)}


@router.put("/{id}/draft", status_code=204)
def keep_draft(id: str, body: Annotated[dict[str, Any], Field(max_length=20)], member: SignedIn, state: Here) -> None:
    teaching.keep_draft(state.ledger, member.id, id, body)


@router.put("/{id}")
def save(id: str, body: Said, member: SignedIn, state: Here) -> dict[str, Any]:
    if body.text is not None:
        return {"item": teaching.save_text(state.ledger, member.id, id, body.text, body.note), "practice": None}
    if (body.ranks is None) == (body.unrankable is None):
        raise invalid("ranks", "expected ranks, or unrankable, or a text")
    item = teaching.save_ranks(
        state.ledger, member.id, id, body.ranks or [], body.unrankable, body.note, body.active_ms, body.extra,
        moved=body.moved, input=body.input,
    )  # fmt: skip
    return {"item": item, "practice": None}


@router.post("/{id}/skip", status_code=204)
def skip(id: str, _: Nothing, member: SignedIn, state: Here) -> None:
    teaching.skip(state.ledger, member.id, id)


@router.delete("/{id}", status_code=204)
def withdraw(id: str, member: SignedIn, state: Here) -> None:
    teaching.withdraw(state.ledger, member.id, id)
