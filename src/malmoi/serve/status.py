"""The route for what every page shows: what is in service, and how busy it is."""

import asyncio
from typing import Any

from fastapi import APIRouter

from malmoi.feedback.service import Service
from malmoi.feedback.settings import get_settings
from malmoi.feedback.studio import newest
from malmoi.serve.errors import envelope
from malmoi.serve.state import State
from malmoi.serve.who import Here, SignedIn
from malmoi.workspace.jobs import open_job

router = APIRouter(prefix="/api")


@router.get("/status")
async def status(_: SignedIn, state: Here) -> dict[str, Any]:
    changing = await asyncio.to_thread(state.is_outdated)
    if changing:
        if state.service is None:
            state.problem = None  # what is there now is being loaded
        state.begin(asyncio.create_task(state.look_again()))
    return await asyncio.to_thread(_status, state) | {"changing": changing}


def _status(state: State) -> dict[str, Any]:
    service, job = state.service, open_job(state.ledger)
    speaker = service.speaker if service else None
    return {
        "service": service and _about(service),
        "problem": envelope(state.problem)["error"] if state.problem else None,
        "queue": {"running": speaker.n_running if speaker else 0, "waiting": speaker.n_waiting if speaker else 0},
        "version": service.version.name if service and service.version else None,
        "draws": newest(state.workspace) is not None,
        "job": job,
        "slow": job is not None and job["status"] == "running",
        "questions": {"en": [], "ko": []} | (dict(service.questions) if service else {}),
        "settings": {"may_teach_default": get_settings(state.ledger)["may_teach_default"]},
    }


def _about(service: Service) -> dict[str, Any]:
    facts = service.lookup.index.facts if service.lookup else None
    looks_up = facts and {"files": facts["files"], "passages": facts["passages"], "titles": service.titles}
    return {
        "name": service.name, "hash": service.sha256, "seq_len": service.voice.seq_len if service.voice else None,
        "looks_up": looks_up, "sampling": service.defaults,
    }  # fmt: skip
