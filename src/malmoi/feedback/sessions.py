"""Sessions of browsers and keys of programs: random secrets, of which only the hashes are stored."""

import secrets
from contextlib import suppress
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from malmoi.errors import WorkspaceError
from malmoi.feedback.accounts import Member, sha256_of_secret
from malmoi.feedback.refusals import invalid, missing
from malmoi.workspace.base import now
from malmoi.workspace.database import writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Person
from malmoi.workspace.service_schema import Account, ApiKey, SignedIn

IDLE = timedelta(days=30)
"""A session that is not used for so long ends."""
NOTED_EVERY = timedelta(minutes=5)
"""How often a use is written down."""
KEY = "mm-"
_OF_PERSON = (Person.id, Person.name, Account.role)
_OF_SESSION = (
    select(*_OF_PERSON, SignedIn.seen_at.label("noted_at"))
    .join(Account, Account.person_id == Person.id)
    .join(SignedIn, SignedIn.person_id == Person.id)
    .where(SignedIn.token_sha256 == bindparam("sha256"))
)
_OF_KEY = (
    select(*_OF_PERSON, ApiKey.used_at.label("noted_at"))
    .join(Account, Account.person_id == Person.id)
    .join(ApiKey, ApiKey.person_id == Person.id)
    .where(ApiKey.key_sha256 == bindparam("sha256"))
)
"""Every request asks one of these. They are made once: to make a query costs as much as to ask it."""


def begin_session(ledger: Ledger, member: Member) -> str:
    """Sign a browser in; returns its token. Sessions that have ended by themselves are removed."""
    token = secrets.token_urlsafe(32)
    row = {"token_sha256": sha256_of_secret(token), "person_id": member.id, "created_at": now(), "seen_at": now()}
    with writing(ledger.engine) as connection:
        connection.execute(delete(SignedIn).where(SignedIn.seen_at < now() - IDLE))
        connection.execute(insert(SignedIn).values(row))
        connection.execute(update(Account).where(Account.person_id == member.id).values(seen_at=now()))
    return token


def member_of_session(ledger: Ledger, token: str) -> Member | None:
    """Whose browser this is; None if the session has ended."""
    sha256 = sha256_of_secret(token)
    with ledger.engine.connect() as connection:
        row = connection.execute(_OF_SESSION, {"sha256": sha256}).first()
    if row is None or row.noted_at < now() - IDLE:
        return None
    if row.noted_at < now() - NOTED_EVERY:
        mine = SignedIn.token_sha256 == sha256
        with suppress(WorkspaceError), writing(ledger.engine) as connection:  # who only reads needs no room on the disk
            connection.execute(update(SignedIn).where(mine).values(seen_at=now()))
            connection.execute(update(Account).where(Account.person_id == row.id).values(seen_at=now()))
    return Member(row.id, row.name, row.role)


def end_session(ledger: Ledger, token: str) -> None:
    with writing(ledger.engine) as connection:
        connection.execute(delete(SignedIn).where(SignedIn.token_sha256 == sha256_of_secret(token)))


def end_other_sessions(ledger: Ledger, member: Member, token: str) -> None:
    """Sign this person out everywhere but here."""
    others = (SignedIn.person_id == member.id, SignedIn.token_sha256 != sha256_of_secret(token))
    with writing(ledger.engine) as connection:
        connection.execute(delete(SignedIn).where(*others))


def make_key(ledger: Ledger, member: Member, name: str) -> dict[str, Any]:
    """A key for programs, with its row; `key` is told once, here."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 100:
        raise invalid("name", "expected 1 to 100 characters")
    key = KEY + secrets.token_urlsafe(32)
    row = {"id": f"k-{secrets.token_hex(6)}", "person_id": member.id, "name": name, "prefix": key[: len(KEY) + 4]}
    with writing(ledger.engine) as connection:
        connection.execute(insert(ApiKey).values(**row, key_sha256=sha256_of_secret(key), created_at=now()))
    return {**next(one for one in list_keys(ledger, member.id) if one["id"] == row["id"]), "key": key}


def list_keys(ledger: Ledger, person_id: str | None = None) -> list[dict[str, Any]]:
    """Keys, oldest first: {"id", "name", "person", "prefix", "created_at", "used_at"}. person_id: only theirs"""
    columns = (ApiKey.id, ApiKey.name, Person.name.label("person"), ApiKey.prefix, ApiKey.created_at, ApiKey.used_at)
    query = select(*columns).join(Person, Person.id == ApiKey.person_id).order_by(ApiKey.created_at, ApiKey.id)
    if person_id is not None:
        query = query.where(ApiKey.person_id == person_id)
    with ledger.engine.connect() as connection:
        return [row._asdict() for row in connection.execute(query)]


def revoke_key(ledger: Ledger, id: str, person_id: str | None = None) -> None:
    """person_id: only if it is theirs. Raises RefusedError if there is no such key."""
    wanted = [ApiKey.id == id] + ([ApiKey.person_id == person_id] if person_id else [])
    with writing(ledger.engine) as connection:
        if connection.execute(delete(ApiKey).where(*wanted)).rowcount == 0:
            raise missing("key", id, "malmoi keys list shows their ids")


def member_of_key(ledger: Ledger, key: str) -> Member | None:
    """To whose name a program answers; None if there is no such key."""
    sha256 = sha256_of_secret(key)
    with ledger.engine.connect() as connection:
        row = connection.execute(_OF_KEY, {"sha256": sha256}).first()
    if row is None:
        return None
    if row.noted_at is None or row.noted_at < now() - NOTED_EVERY:
        with suppress(WorkspaceError), writing(ledger.engine) as connection:
            connection.execute(update(ApiKey).where(ApiKey.key_sha256 == sha256).values(used_at=now()))
    return Member(row.id, row.name, row.role)
