"""Who sends a request: dependencies of routes. A route without one is open to everybody; a test lists those.

They are `async`, and read the database in threads of ours: what FastAPI does to run others in threads costs more than
the reading.
"""

from typing import Annotated

from fastapi import Depends, Request

from malmoi.feedback.accounts import Member
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.sessions import member_of_key, member_of_session
from malmoi.serve.state import State


async def state_of(request: Request) -> State:
    state: State = request.app.state.malmoi
    return state


Here = Annotated[State, Depends(state_of)]


def token_of(request: Request, state: Here) -> str | None:
    return request.cookies.get(state.cookie)


async def signed_in(request: Request, state: Here) -> Member:
    return await state.read(member_here, request, state)


def member_here(request: Request, state: State) -> Member:
    """Whose browser sends a request. Raises RefusedError."""
    token = token_of(request, state)
    member = None if not token else member_of_session(state.ledger, token)
    if member is None:
        raise RefusedError("not_signed_in", "sign in first")
    return member


SignedIn = Annotated[Member, Depends(signed_in)]


async def chatting(member: SignedIn) -> Member:
    return _may_chat(member)


def _may_chat(member: Member) -> Member:
    if not member.chats:
        raise RefusedError("not_allowed", "your role does not chat; ask the owner")
    return member


async def leading(member: SignedIn) -> Member:
    if not member.leads:
        raise RefusedError("not_allowed", "only the owner and admins may do this")
    return member


Chatting = Annotated[Member, Depends(chatting)]
Leading = Annotated[Member, Depends(leading)]


async def with_key(request: Request, state: Here) -> Member:
    """A program with its key, or a page with its session."""
    return await state.read(_member_with_key, request, state)


def _member_with_key(request: Request, state: State) -> Member:
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    if not kind:
        return _may_chat(member_here(request, state))
    member = member_of_key(state.ledger, key.strip()) if kind.lower() == "bearer" else None
    if member is None:
        raise RefusedError("invalid_api_key", "the API key is wrong or was revoked")
    return _may_chat(member)


WithKey = Annotated[Member, Depends(with_key)]
