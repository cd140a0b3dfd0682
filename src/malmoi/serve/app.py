"""The application: every route, who may use it, and how it begins and ends."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection

from fastapi import Depends, FastAPI

from malmoi.errors import UserError
from malmoi.feedback.drawings import sweep
from malmoi.feedback.item_answers import sample_next
from malmoi.serve import (
    beginning,
    chats,
    data,
    drawing,
    labels,
    openai_api,
    openai_images,
    pages,
    people,
    signals,
    status,
    teach,
    versions,
)
from malmoi.serve.errors import add_handlers
from malmoi.serve.guard import Guard
from malmoi.serve.state import State
from malmoi.serve.who import chatting, leading, signed_in, with_key

log = logging.getLogger("malmoi.serve")
LOOK_EVERY_S = 2.0


def make_app(state: State, names: Collection[str] = ("localhost",)) -> Guard:
    """The application of a server. names: host names that are ours, see `Guard`"""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state.begin(asyncio.create_task(_open(state)))
        sampling = asyncio.create_task(_sample_items(state))
        await asyncio.to_thread(sweep, state.ledger)
        yield
        sampling.cancel()
        await state.close()

    # No pages about the API: they would load scripts from elsewhere.
    app = FastAPI(title="Malmoi", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.malmoi = state
    add_handlers(app)
    # Routes are tried in this order: programs ask most often.
    app.include_router(openai_api.router, dependencies=[Depends(with_key)])
    app.include_router(people.public)
    app.include_router(people.router, dependencies=[Depends(signed_in)])
    app.include_router(status.router, dependencies=[Depends(signed_in)])
    app.include_router(chats.router, dependencies=[Depends(chatting)])
    app.include_router(drawing.router, dependencies=[Depends(chatting)])
    app.include_router(signals.router, dependencies=[Depends(chatting)])
    app.include_router(labels.router, dependencies=[Depends(labels.labelling)])
    app.include_router(teach.router, dependencies=[Depends(signed_in)])
    app.include_router(versions.router, dependencies=[Depends(leading)])
    app.include_router(beginning.router, dependencies=[Depends(leading)])
    app.include_router(data.router, dependencies=[Depends(leading)])
    app.include_router(openai_images.router, dependencies=[Depends(with_key)])
    app.include_router(pages.router)
    return Guard(app, names, state.public_url)


async def _open(state: State) -> None:
    """Load what is in service, before somebody asks."""
    with contextlib.suppress(UserError):
        await state.in_service()


async def _sample_items(state: State) -> None:
    """Sample the answers that people are to rank, whenever nobody waits for an answer."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        service = state.service
        if service is None or state.makings or state.of_programs:
            continue
        try:
            await asyncio.to_thread(sample_next, state.ledger, service)
        except Exception as error:
            log.warning("questions to rank: %s: %s", type(error).__name__, error)
