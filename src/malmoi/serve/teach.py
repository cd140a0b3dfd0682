"""Routes for ranking and writing answers."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from malmoi.feedback import practice, teach_items, teaching
from malmoi.feedback.accounts import LABELER
from malmoi.feedback.chats import LONGEST_TEXT
from malmoi.feedback.document_questions import MOST, ask_from_documents
from malmoi.feedback.lead import people_agree
from malmoi.feedback.refusals import RefusedError, invalid
from malmoi.serve.who import Here, Leading, SignedIn
from malmoi.workspace.service_schema import RANK

router = APIRouter(prefix="/api/teach")
GOAL_TODAY = 20
DAY_MS = 24 * 3600 * 1000


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Next(Body):
    kind: str = RANK
    lang: str | None = Field(None, max_length=20)


class FromDocuments(Body):
    n: int = Field(20, ge=1, le=MOST)
    lang: Literal["en", "ko"] = "en"


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
    left = practice.n_left(state.ledger, member.id) if member.role == LABELER else 0
    return {**found, "goal_today": GOAL_TODAY, "practice_left": left, "agreement": agreement}


@router.get("/mine")
def mine(member: SignedIn, state: Here, before: str | None = None) -> dict[str, Any]:
    items, more = teaching.mine(state.ledger, member.id, before)
    return {"items": items, "next": more}


@router.post("/next")
def next_item(body: Next, member: SignedIn, state: Here, request: Request) -> dict[str, Any]:
    if member.role == LABELER and body.kind == RANK:
        item = practice.next_practice(state.ledger, member.id, body.lang or _language(request))
        if item is not None:
            return {"item": item}
    return {"item": teaching.next_item(state.ledger, member.id, body.kind)}


@router.post("/prompts", status_code=201)
def ask(body: Question, member: SignedIn, state: Here) -> dict[str, Any]:
    if member.role == LABELER:
        raise RefusedError("not_allowed", "your role does not ask questions; ask the owner")
    return {"id": teach_items.add_question(state.ledger, member.id, body.text)}


@router.post("/prompts/documents", status_code=201)
async def ask_about_documents(body: FromDocuments, member: Leading, state: Here) -> dict[str, Any]:
    lookup = state.service and state.service.lookup
    given = (state.ledger, member.id, lookup, body.lang, body.n)
    return {"questions": await state.prepare(ask_from_documents, *given)}


@router.put("/{id}/draft", status_code=204)
def keep_draft(id: str, body: Annotated[dict[str, Any], Field(max_length=20)], member: SignedIn, state: Here) -> None:
    if practice.is_practice(id):
        return
    teaching.keep_draft(state.ledger, member.id, id, body)


@router.put("/{id}")
def save(id: str, body: Said, member: SignedIn, state: Here, request: Request) -> dict[str, Any]:
    if body.text is not None:
        return {"item": teaching.save_text(state.ledger, member.id, id, body.text, body.note), "practice": None}
    if (body.ranks is None) == (body.unrankable is None):
        raise invalid("ranks", "expected ranks, or unrankable, or a text")
    if practice.is_practice(id):
        given = body.ranks or [], body.unrankable, _language(request)
        item, told = practice.practise(state.ledger, member.id, id, *given)
        return {"item": item, "practice": told}
    item = teaching.save_ranks(
        state.ledger, member.id, id, body.ranks or [], body.unrankable, body.note, body.active_ms, body.extra,
        moved=body.moved, input=body.input,
    )  # fmt: skip
    return {"item": item, "practice": None}


@router.post("/{id}/skip", status_code=204)
def skip(id: str, _: Nothing, member: SignedIn, state: Here) -> None:
    if practice.is_practice(id):
        practice.practise(state.ledger, member.id, id, [], teaching.CANT_TELL, "en")
        return
    teaching.skip(state.ledger, member.id, id)


@router.delete("/{id}", status_code=204)
def withdraw(id: str, member: SignedIn, state: Here) -> None:
    if practice.is_practice(id):  # it teaches nothing
        return
    teaching.withdraw(state.ledger, member.id, id)


def _language(request: Request) -> str:
    """The browser's language."""
    return request.headers.get("accept-language", "en")[:2].lower()
