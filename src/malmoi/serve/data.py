"""Routes for the data: documents, answers, rankings, snapshots; files in and out; what is forgotten."""

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from malmoi.errors import DataError
from malmoi.feedback import forgetting
from malmoi.feedback.accounts import ADMIN, OWNER, members
from malmoi.feedback.exchange import FORMATS, LABELS, what_of, write_exported
from malmoi.feedback.file_adding import add_file
from malmoi.feedback.file_preview import preview, reading_of
from malmoi.feedback.refusals import RefusedError, invalid
from malmoi.feedback.shown_data import data_overview, export_rows, shown_answers, shown_rankings
from malmoi.feedback.snapshots import freeze_now, list_snapshots
from malmoi.serve.state import State
from malmoi.serve.who import Here, Leading
from malmoi.workspace.documents import list_documents, remove_document
from malmoi.workspace.uploads import begin_upload, drop_upload, find_upload

router = APIRouter(prefix="/api/data")
FileName = Annotated[str, Field(max_length=1000)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Freeze(Body):
    whose: Literal["people", "simulated", "all"] = Field("people", alias="from")


class Add(Body):
    by_program: bool = False


@router.get("")
def overview(_: Leading, state: Here) -> dict[str, Any]:
    return data_overview(state.ledger)


@router.get("/documents")
def documents(_: Leading, state: Here) -> dict[str, Any]:
    return list_documents(state.workspace)


@router.delete("/documents")
async def take_out(name: FileName, _: Leading, state: Here) -> dict[str, Any]:
    await asyncio.to_thread(remove_document, state.workspace, name)
    await state.look_again()
    return await asyncio.to_thread(list_documents, state.workspace)


@router.get("/answers")
def answers(_: Leading, state: Here) -> dict[str, Any]:
    return shown_answers(state.ledger)


@router.get("/rankings")
def rankings(_: Leading, state: Here) -> dict[str, Any]:
    return shown_rankings(state.ledger)


@router.get("/snapshots")
def snapshots(_: Leading, state: Here) -> dict[str, Any]:
    return {"snapshots": [_public(row) for row in list_snapshots(state.ledger)]}


@router.post("/snapshots", status_code=201)
def freeze(body: Freeze, _: Leading, state: Here) -> dict[str, Any]:
    return {"snapshots": [_public(row) for row in freeze_now(state.ledger, body.whose)]}


@router.post("/uploads", status_code=201)
async def upload(name: FileName, request: Request, _: Leading, state: Here) -> dict[str, Any]:
    """A file, to be looked at; nothing is added yet."""
    id, path = await asyncio.to_thread(begin_upload, state.workspace, name)
    try:
        with path.open("wb") as file:
            async for part in request.stream():
                await asyncio.to_thread(file.write, part)
        if not path.stat().st_size:
            raise DataError(f"{name}: is empty")
        text = await asyncio.to_thread(reading_of, state.workspace)
        found = await asyncio.to_thread(preview, path, text)
    except BaseException:
        drop_upload(state.workspace, id)
        raise
    return {"id": id, "command": f"malmoi data add {path.name}", **found.to_row()}


@router.post("/uploads/{id}/add")
async def add(id: str, body: Add, member: Leading, state: Here) -> dict[str, Any]:
    path = await asyncio.to_thread(find_upload, state.workspace, id)
    added = await asyncio.to_thread(add_file, state.ledger, path, member.id, by_program=body.by_program)
    drop_upload(state.workspace, id)
    await state.look_again()
    return added.to_row()


@router.delete("/uploads/{id}", status_code=204)
def leave(id: str, _: Leading, state: Here) -> None:
    drop_upload(state.workspace, id)


@router.get("/export")
def export(
    form: Literal["ranked", "pairs", "messages", "labels"], _: Leading, state: Here, format: str = "jsonl",
    snapshot: Annotated[str, Field(max_length=64)] = "",
) -> FileResponse:  # fmt: skip
    if format not in FORMATS:
        raise invalid("format", f"expected {' or '.join(FORMATS)}")
    rows = export_rows(state.ledger, form, snapshot or None)
    if not rows:
        raise RefusedError("not_found", "there is nothing to export yet")
    what = form if form == LABELS else what_of(form)
    name = f"malmoi-{what}{f'-{form}' if form == 'pairs' else ''}{f'-{snapshot[:12]}' if snapshot else ''}"
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="malmoi-export-"))) / f"{name}.{format}"
        write_exported(path, rows)
        sent = stack.pop_all()
    return FileResponse(path, filename=path.name, background=BackgroundTask(sent.close))


@router.get("/people")
def people(_: Leading, state: Here) -> dict[str, Any]:
    return {"people": forgetting.people_with_data(state.ledger)}


@router.get("/people/{id}/learned")
def learned(id: str, _: Leading, state: Here) -> dict[str, Any]:
    return forgetting.learned_from_person(state.ledger, id)


@router.delete("/people/{id}")
def forget(id: str, member: Leading, state: Here) -> dict[str, Any]:
    _check_above(state, member.role, id)
    return forgetting.forget_person(state.ledger, id)


def _check_above(state: State, role: str, id: str) -> None:
    roles = {row["id"]: row["role"] for row in members(state.ledger)}
    if role != OWNER and roles.get(id) in (OWNER, ADMIN):
        raise RefusedError("not_allowed", "only an owner deletes what owners and admins said")


def _public(row: dict[str, Any]) -> dict[str, Any]:
    """A snapshot without its place on this machine."""
    return {name: value for name, value in row.items() if name != "path"}
