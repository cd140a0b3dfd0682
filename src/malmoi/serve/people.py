"""Routes for signing in and out, people, invitations, keys and settings."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from malmoi import __version__
from malmoi.feedback import accounts, sessions
from malmoi.feedback.accounts import ADMIN, LABELER, OWNER, USER, Member, name_key
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.settings import change_settings, get_settings
from malmoi.feedback.terminal import workspace_option
from malmoi.serve.state import State
from malmoi.serve.who import Here, Leading, SignedIn, member_here, token_of

public = APIRouter(prefix="/api")
"""Open to everybody."""
router = APIRouter(prefix="/api")
Password = Annotated[str, Field(max_length=1000)]
Name = Annotated[str, Field(max_length=1000)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Login(Body):
    name: Name
    password: Password


class Setup(Login):
    token: str = Field(max_length=200)


class Join(Login):
    code: str = Field(max_length=200)


class NewPassword(Body):
    old: Password
    new: Password


class NewInvite(Body):
    role: str
    name: Name | None = None
    hours: float = accounts.INVITE_HOURS


class Role(Body):
    role: str


class NewKey(Body):
    name: Name


class Settings(Body):
    may_teach_default: bool | None = None
    taught_answers: bool | None = None
    people_per_question: int | None = None


def me(state: State, member: Member | None) -> dict[str, Any]:
    return {
        "person": member and member.to_row(), "needs_owner": member is None and accounts.needs_owner(state.ledger),
        "workspace": state.workspace.path.name, "malmoi": __version__, "warning": state.warning,
        "workspace_option": member and workspace_option(state.workspace.path, tell_place=member.role == OWNER),
    }  # fmt: skip


@public.get("/me")
def who_am_i(request: Request, state: Here) -> dict[str, Any]:
    try:
        return me(state, member_here(request, state))
    except RefusedError:
        return me(state, None)


@public.post("/setup", status_code=201)
def set_up(body: Setup, request: Request, response: Response, state: Here) -> dict[str, Any]:
    with _trying(request, state):
        member = accounts.accept_invite(state.ledger, body.token, body.name, body.password, {OWNER})
    return _enter(member, request, response, state)


@public.get("/join/{code}")
def invitation(code: str, request: Request, state: Here) -> dict[str, Any]:
    with _trying(request, state):
        found = accounts.find_invite(state.ledger, code)
    return {name: found[name] for name in ("role", "name", "expires_at")}


@public.post("/join", status_code=201)
def join(body: Join, request: Request, response: Response, state: Here) -> dict[str, Any]:
    with _trying(request, state):
        member = accounts.accept_invite(state.ledger, body.code, body.name, body.password, {ADMIN, LABELER, USER})
    return _enter(member, request, response, state)


@public.post("/login")
def login(body: Login, request: Request, response: Response, state: Here) -> dict[str, Any]:
    with _trying(request, state):
        state.logins_of_name.count(name_key(body.name))
        member = accounts.check_login(state.ledger, body.name, body.password)
    state.logins_of_name.forget(name_key(body.name))
    return _enter(member, request, response, state)


@public.post("/logout", status_code=204)
def logout(request: Request, response: Response, state: Here) -> None:
    if token := token_of(request, state):
        sessions.end_session(state.ledger, token)
    response.delete_cookie(state.cookie, path="/")


@router.put("/me/password", status_code=204)
def change_password(body: NewPassword, member: SignedIn, request: Request, state: Here) -> None:
    state.logins_of_name.count(name_key(member.name))
    accounts.change_password(state.ledger, member, body.old, body.new)
    sessions.end_other_sessions(state.ledger, member, token_of(request, state) or "")


@router.get("/people")
def people(_: Leading, state: Here) -> dict[str, Any]:
    found = [{**row, "last_seen_at": row.pop("seen_at")} for row in accounts.members(state.ledger)]
    return {"people": found, "invites": accounts.invites(state.ledger)}


@router.post("/invites", status_code=201)
def invite(body: NewInvite, member: Leading, request: Request, state: Here) -> dict[str, Any]:
    if body.role == OWNER or (body.role == ADMIN and member.role != OWNER):
        raise RefusedError("not_allowed", f"you may not invite somebody as {body.role}")
    made = accounts.invite(state.ledger, body.role, body.name, body.hours)
    base = state.public_url or f"http://{request.headers.get('host')}"
    return {**made, "link": f"{base}/join#{made['code']}"}


@router.delete("/invites/{id}", status_code=204)
def withdraw_invite(id: str, _: Leading, state: Here) -> None:
    accounts.withdraw_invite(state.ledger, id)


@router.patch("/people/{id}")
def set_role(id: str, body: Role, member: Leading, state: Here) -> dict[str, Any]:
    _check_above(state, member, id, body.role)
    return accounts.set_role(state.ledger, id, body.role).to_row()


@router.delete("/people/{id}", status_code=204)
def remove(id: str, member: Leading, state: Here) -> None:
    _check_above(state, member, id, USER)
    accounts.remove_member(state.ledger, id)


@router.get("/keys")
def keys(member: SignedIn, state: Here) -> dict[str, Any]:
    found = sessions.list_keys(state.ledger, None if member.leads else member.id)
    return {"keys": [{**row, "last_used_at": row.pop("used_at")} for row in found]}


@router.post("/keys", status_code=201)
def make_key(body: NewKey, member: SignedIn, state: Here) -> dict[str, Any]:
    made = sessions.make_key(state.ledger, member, body.name)
    return {**made, "last_used_at": made.pop("used_at")}


@router.delete("/keys/{id}", status_code=204)
def revoke_key(id: str, member: SignedIn, state: Here) -> None:
    sessions.revoke_key(state.ledger, id, None if member.leads else member.id)


@router.get("/settings")
def settings(_: SignedIn, state: Here) -> dict[str, Any]:
    return get_settings(state.ledger)


@router.patch("/settings")
def set_settings(body: Settings, _: Leading, state: Here) -> dict[str, Any]:
    return change_settings(state.ledger, body.model_dump(exclude_none=True))


def _check_above(state: State, member: Member, id: str, role: str) -> None:
    """Only an owner changes owners and admins, or makes some."""
    roles = {row["id"]: row["role"] for row in accounts.members(state.ledger)}
    if member.role != OWNER and {roles.get(id), role} & {OWNER, ADMIN} and id != member.id:
        raise RefusedError("not_allowed", "only an owner changes owners and admins")
    if member.role != OWNER and role in (OWNER, ADMIN):
        raise RefusedError("not_allowed", "only an owner makes owners and admins")


def _enter(member: Member, request: Request, response: Response, state: State) -> dict[str, Any]:
    """Sign the browser in with a new session; the one before, if there was one, ends."""
    if before := token_of(request, state):
        sessions.end_session(state.ledger, before)
    token = sessions.begin_session(state.ledger, member)
    is_tls = bool(state.public_url and state.public_url.startswith("https:"))
    age = int(sessions.IDLE.total_seconds())
    response.set_cookie(state.cookie, token, max_age=age, path="/", httponly=True, secure=is_tls, samesite="lax")
    return me(state, member)


@contextlib.contextmanager
def _trying(request: Request, state: State) -> Iterator[None]:
    """Counts a try of an address. One that is right does not count: a class joins from one address in one minute."""
    address = _address(request, state)
    state.logins.count(address)
    yield
    state.logins.take_back(address)


def _address(request: Request, state: State) -> str:
    """Whose tries these are. Behind another server, that server says."""
    if state.public_url and (passed_on := request.headers.get("x-forwarded-for")):
        return passed_on.rpartition(",")[2].strip()
    return request.client.host if request.client else ""
