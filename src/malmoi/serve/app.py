"""The application: every route, who may use it, and how it begins and ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

from fastapi import Depends, FastAPI

from malmoi.errors import UserError
from malmoi.serve import chats, openai_api, pages, people, status
from malmoi.serve.errors import add_handlers
from malmoi.serve.guard import Guard
from malmoi.serve.state import State
from malmoi.serve.who import chatting, signed_in, with_key


def make_app(state: State, names: Collection[str] = ("localhost",)) -> Guard:
    """The application of a server. names: host names that are ours, see `Guard`"""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state.begin(asyncio.create_task(_open(state)))
        yield
        await state.close()

    # No pages about the API: they would load scripts from elsewhere.
    app = FastAPI(title="Malmoi", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.malmoi = state
    add_handlers(app)
    app.include_router(people.public)
    app.include_router(people.router, dependencies=[Depends(signed_in)])
    app.include_router(status.router, dependencies=[Depends(signed_in)])
    app.include_router(chats.router, dependencies=[Depends(chatting)])
    app.include_router(openai_api.router, dependencies=[Depends(with_key)])
    app.include_router(pages.router)
    return Guard(app, names, state.public_url)


async def _open(state: State) -> None:
    """Load what is in service, before somebody asks."""
    with contextlib.suppress(UserError):
        await state.in_service()
