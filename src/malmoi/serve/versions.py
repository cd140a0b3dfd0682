"""Routes for versions, what improves them, and the blind comparisons that decide; for owners and admins."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, Response, StreamingResponse

from malmoi.errors import WorkspaceError, without_folders
from malmoi.feedback.accounts import OWNER, Member
from malmoi.feedback.gate_comparisons import record_answer, verdict_of
from malmoi.feedback.learning import USUAL_RANKINGS, n_rankings
from malmoi.feedback.pinned import LONGEST, MARGIN, MOST_WORDS, pin, pinned_questions, unpin
from malmoi.feedback.promotion import promote, refuse, rollback
from malmoi.feedback.refusals import RefusedError, missing
from malmoi.serve.state import State
from malmoi.serve.who import Here, Leading
from malmoi.workspace import jobs
from malmoi.workspace.archive import tar, tar_size
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.models import policy_names
from malmoi.workspace.versions import Version, find_version, in_service, list_versions

if TYPE_CHECKING:  # torch takes seconds
    from malmoi.feedback.contenders import Match

router = APIRouter(prefix="/api")


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Promotion(Body):
    knowingly: bool = False


class Back(Body):
    to: str | None = Field(None, max_length=20)


class Improve(Body):
    how: Literal["best-of-n", "train"] = "best-of-n"
    whose: Literal["people", "simulated", "all"] = Field("people", alias="from")
    n: int = Field(4, ge=2, le=16)
    algorithm: Literal["dpo", "ppo", "kto"] = "dpo"
    estimate: bool = True


Form = Literal["hf", "gguf", "gguf-q8_0"]


class Export(Body):
    form: Form = "gguf-q8_0"


class Pin(Body):
    text: str = Field(max_length=LONGEST)
    must: list[str] = Field(default_factory=list, max_length=MOST_WORDS)


class Said(Body):
    answer: Literal["a", "b", "tie", "both_bad"]


@router.get("/versions")
def versions(_: Leading, state: Here) -> dict[str, Any]:
    found = list_versions(state.ledger)
    serving = next((one for one in found if one.state == "in_service"), None)
    names = policy_names(state.workspace) if serving is None else []
    return {
        "versions": [_row(state.ledger, one, serving) for one in reversed(found)],
        "in_service": serving and serving.name, "fallback": {"model": names[-1]} if names else None,
        "n_rankings": n_rankings(state.ledger), "n_usual": USUAL_RANKINGS, "command": "malmoi versions list",
    }  # fmt: skip


@router.get("/versions/{name}")
def version(name: str, _: Leading, state: Here) -> dict[str, Any]:
    return _shown(state.ledger, name)


@router.post("/versions/rollback")
def go_back(body: Back, member: Leading, state: Here) -> dict[str, Any]:
    if body.to is not None:
        _found(state.ledger, body.to)
    return _shown(state.ledger, rollback(state.ledger, body.to, person_id=member.id).name)


@router.post("/versions/{name}/promote")
def put_in_service(name: str, body: Promotion, member: Leading, state: Here) -> dict[str, Any]:
    _found(state.ledger, name)
    return _shown(state.ledger, promote(state.ledger, name, knowingly=body.knowingly, person_id=member.id).name)


@router.post("/versions/{name}/refuse")
def put_away(name: str, _: Body, member: Leading, state: Here) -> dict[str, Any]:
    _found(state.ledger, name)
    return _shown(state.ledger, refuse(state.ledger, name, person_id=member.id).name)


@router.post("/versions/{name}/comparisons")
async def compare(name: str, _: Body, member: Leading, state: Here) -> dict[str, Any]:
    """The next pair for this person. Both versions answer it now, if nobody has been shown it."""
    async with state.matching:
        return await asyncio.to_thread(_next_pair, state, name, member.id)


@router.post("/versions/{name}/check")
async def check(name: str, _: Body, member: Leading, state: Here) -> dict[str, Any]:
    """Ask the pinned questions that this version or the one in service was not asked, and the judge."""
    async with state.matching:
        await asyncio.to_thread(lambda: _match(state, name).check())
    return await asyncio.to_thread(_shown, state.ledger, name)


@router.post("/versions/{name}/export")
def export(name: str, body: Export, _: Leading, state: Here) -> dict[str, Any]:
    """Write a version into the workspace's exports; takes seconds to minutes."""
    from malmoi.pipeline.export import export_version

    found = export_version(state.ledger, _found(state.ledger, name).name, body.form)
    path = Path(found["path"])
    return found | {
        "path": str(path.relative_to(state.ledger.root)), "file": f"{path.name}.tar" if path.is_dir() else path.name,
        "download": f"/api/versions/{name}/export/{body.form}",
        "command": f"malmoi versions export {name} --to {body.form}",
    }  # fmt: skip


@router.get("/versions/{name}/export/{form}")
def download(name: str, form: Form, _: Leading, state: Here) -> Response:
    """What was exported: the file, or the folder as a tar that is made on the way."""
    from malmoi.pipeline.export import export_path

    path = export_path(state.ledger, _found(state.ledger, name), form)
    if path.is_file():
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")
    if not path.is_dir():
        raise missing("export")
    about = {
        "Content-Disposition": f'attachment; filename="{path.name}.tar"', "Content-Length": str(tar_size(path)),
    }  # fmt: skip
    return StreamingResponse(tar(path), headers=about, media_type="application/x-tar")


@router.get("/pinned")
def pinned(_: Leading, state: Here) -> dict[str, Any]:
    return {"questions": pinned_questions(state.ledger), "margin": MARGIN, "command": "malmoi versions pinned"}


@router.post("/pinned", status_code=201)
def pin_question(body: Pin, member: Leading, state: Here) -> dict[str, Any]:
    return pin(state.ledger, body.text, body.must, member.id)


@router.delete("/pinned/{id}", status_code=204)
def unpin_question(id: str, _: Leading, state: Here) -> None:
    unpin(state.ledger, id)


@router.put("/comparisons-of-versions/{id}")
def answer(id: str, body: Said, member: Leading, state: Here) -> dict[str, Any]:
    candidate, against = record_answer(state.ledger, id, body.answer, member.id)
    pair = (find_version(state.ledger, f"v{number}") for number in (candidate, against))
    return {"verdict": verdict_of(state.ledger, *pair).to_row()}


@router.post("/improve/preview")
def preview_improvement(body: Improve, _: Leading, state: Here) -> dict[str, Any]:
    from malmoi.pipeline.improve import preview  # with torch, which takes seconds

    return preview(state.ledger, _wanted(body), with_cost=body.estimate, place=state.place())


@router.post("/improve", status_code=201)
def improve(body: Improve, member: Leading, state: Here) -> dict[str, Any]:
    from malmoi.pipeline.improve import begin

    return _job(state, begin(state.ledger, _wanted(body), member.id, state.place()), member)


@router.get("/jobs")
def list_jobs(member: Leading, state: Here) -> dict[str, Any]:
    return {"jobs": [_public(state, row, member) for row in jobs.list_jobs(state.ledger)]}


@router.get("/jobs/{number}")
def show_job(number: int, member: Leading, state: Here) -> dict[str, Any]:
    return _job(state, number, member)


@router.post("/jobs/{number}/{act}")
def act_on_job(
    number: int, act: Literal["stop", "throw-away", "resume", "earlier"], _: Body, member: Leading, state: Here
) -> dict[str, Any]:  # fmt: skip
    _job(state, number, member)
    try:
        if act == "resume":
            jobs.resume(state.ledger, number)
        elif act == "earlier":
            jobs.earlier(state.ledger, number)
        else:
            jobs.ask(state.ledger, number, "stop" if act == "stop" else "throw_away")
    except WorkspaceError as error:
        raise RefusedError("conflict", str(error)) from None
    return _job(state, number, member)


def _wanted(body: Improve) -> Any:
    from malmoi.pipeline.improve import Wanted

    return Wanted(how=body.how, whose=body.whose, n=body.n, algorithm=body.algorithm)


def _match(state: State, name: str) -> "Match":
    """The networks of a version and of the one in service, kept in memory for the next question."""
    from malmoi.feedback.contenders import Match

    candidate, serving = _found(state.ledger, name), in_service(state.ledger)
    if serving is None or serving.number == candidate.number:
        raise RefusedError("in_service", f"{name}: is in service, and there is nothing to compare it with")
    if state.match is None or state.match.names != (candidate.name, serving.name):
        state.match = None  # the networks of the one before go first
        state.match = Match(state.ledger, candidate, serving)
    return state.match


def _next_pair(state: State, name: str, person_id: str) -> dict[str, Any]:
    match = _match(state, name)
    row = match.next_pair(person_id)
    pair = row and {
        "id": row["id"], "question": row["messages"][-1]["content"], "messages": row["messages"],
        "a": {"text": row["shown"][0]["text"]}, "b": {"text": row["shown"][1]["text"]},
    }  # fmt: skip
    verdict = verdict_of(state.ledger, match.candidate.version, match.against.version).to_row()
    return {"pair": pair, "made": verdict["n"] + verdict["n_waiting"], "verdict": verdict}


def _found(ledger: Ledger, name: str) -> Version:
    try:
        return find_version(ledger, name)
    except WorkspaceError:
        raise missing("version") from None


def _shown(ledger: Ledger, name: str) -> dict[str, Any]:
    return _row(ledger, _found(ledger, name), in_service(ledger))


def _row(ledger: Ledger, version: Version, serving: Version | None) -> dict[str, Any]:
    is_other = serving is not None and serving.number != version.number
    verdict = verdict_of(ledger, version, serving).to_row() if serving is not None and is_other else None
    gone = version.missing and without_folders(version.missing, ledger.root)
    return version.to_row() | {"missing": gone, "verdict": verdict}


def _job(state: State, number: int, member: Member) -> dict[str, Any]:
    try:
        row = jobs.find_job(state.ledger, number)
    except WorkspaceError:
        raise missing("job") from None
    return _public(state, row, member) | {
        "log": [_told(state, line, member) for line in jobs.log_of(state.workspace, number)],
        "curves": jobs.curves_of(state.ledger.root, row),
        "pinned": jobs.pinned_of(state.workspace, row),
    }


def _public(state: State, row: dict[str, Any], member: Member) -> dict[str, Any]:
    """A job without what only its process needs: the recipe has paths."""
    shown = {name: value for name, value in row.items() if name not in ("settings", "person_id")}
    return shown | {"error": row["error"] and _told(state, row["error"], member)}


def _told(state: State, line: str, member: Member) -> str:
    """A line of a job. Where files are on this machine is told to its owner only."""
    return line if member.role == OWNER else without_folders(line, state.ledger.root)
