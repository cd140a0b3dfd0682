"""Routes for the beginning: what it costs to build, to fetch, or to use one's own text, and the job that does it."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from malmoi.feedback.accounts import OWNER
from malmoi.serve.versions import show_job
from malmoi.serve.who import Here, Leading

router = APIRouter(prefix="/api/start")


class Begin(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    what: Literal["build", "fetch", "text"]
    smaller: bool = False


@router.get("")
def options(member: Leading, state: Here, estimate: bool = True) -> dict[str, Any]:
    from malmoi.pipeline.start import start_options  # with torch, which takes seconds

    return start_options(state.ledger, estimate=estimate, tell_place=member.role == OWNER)


@router.post("", status_code=201)
def begin(body: Begin, member: Leading, state: Here) -> dict[str, Any]:
    from malmoi.pipeline.start import begin_start

    number = begin_start(state.ledger, body.what, member.id, smaller=body.smaller, place=state.place())
    return show_job(number, member, state)
