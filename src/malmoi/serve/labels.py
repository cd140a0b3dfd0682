"""Routes for keep and drop: pages of a corpus, and what people say of them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from malmoi.feedback import page_labels
from malmoi.feedback.accounts import USER, Member
from malmoi.feedback.refusals import RefusedError
from malmoi.serve.teach import DAY_MS
from malmoi.serve.who import Here, SignedIn


async def labelling(member: SignedIn) -> Member:
    """A corpus is not for everybody who chats."""
    if member.role == USER:
        raise RefusedError("not_allowed", "your role does not judge pages; ask the owner")
    return member


Labelling = Annotated[Member, Depends(labelling)]
Name = Annotated[str, Field(max_length=1000)]
router = APIRouter(prefix="/api/teach/labels")


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Next(Body):
    corpus: Name = ""


class Said(Body):
    label: Literal["keep", "drop", "unsure"]
    active_ms: int | None = Field(None, ge=0, le=DAY_MS)
    input: Literal["mouse", "keyboard", "touch"] | None = None


@router.get("")
def overview(member: Labelling, state: Here, corpus: Name = "") -> dict[str, Any]:
    return page_labels.labels_overview(state.ledger, member.id, corpus, member.leads)


@router.post("/next")
def next_page(body: Next, member: Labelling, state: Here) -> dict[str, Any]:
    return {"page": page_labels.next_page(state.ledger, member.id, body.corpus)}


@router.put("/{id}")
def save(id: str, body: Said, member: Labelling, state: Here) -> dict[str, Any]:
    return {"page": page_labels.save_label(state.ledger, member.id, id, body.label, body.active_ms, body.input)}


@router.delete("/{id}")
def withdraw(id: str, member: Labelling, state: Here) -> dict[str, Any]:
    return {"page": page_labels.withdraw_label(state.ledger, member.id, id)}
