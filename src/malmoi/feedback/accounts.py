"""Accounts: who may sign in, with which role. Passwords are stored as Argon2id hashes."""

import hashlib
import secrets
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from threading import Semaphore
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, func, insert, select, update

from malmoi.feedback.deleting import delete_chats
from malmoi.feedback.drawings import delete_drawings, remove_files
from malmoi.feedback.refusals import RefusedError, invalid, missing
from malmoi.text import nfc
from malmoi.workspace.base import now
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.drawing_schema import Drawing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Person
from malmoi.workspace.service_schema import Account, ApiKey, Chat, Invite, SignedIn

OWNER, ADMIN, LABELER, USER = ROLES = ("owner", "admin", "labeler", "user")
LONGEST_NAME = 60
FORGOTTEN = "forgotten"
"""The name of a person who was forgotten, where an old snapshot or version counts them."""
PASSWORD_LENGTHS = (8, 200)
INVITE_HOURS = 72
# What OWASP advises for Argon2id: 19 MiB and two passes. Two at a time, so that logins do not fill the memory.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_HASHING = Semaphore(2)


@dataclass(frozen=True)
class Member:
    """A person with an account."""

    id: str
    name: str
    role: str

    @property
    def leads(self) -> bool:
        return self.role in (OWNER, ADMIN)

    @property
    def chats(self) -> bool:
        """Whether this person may talk with the assistant: those who only rank may not."""
        return self.role != LABELER

    def to_row(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "role": self.role}


def sha256_of_secret(secret: str) -> str:
    """The form in which a secret of many random bits is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def needs_owner(ledger: Ledger) -> bool:
    """Whether nobody has an account yet."""
    with ledger.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Account)) == 0


def members(ledger: Ledger) -> list[dict[str, Any]]:
    """Everybody with an account, by the time of joining: {"id", "name", "role", "created_at", "seen_at"}."""
    query = select(Person.id, Person.name, Account.role, Account.created_at, Account.seen_at).join(
        Account, Account.person_id == Person.id
    )
    with ledger.engine.connect() as connection:
        return [row._asdict() for row in connection.execute(query.order_by(Account.created_at, Person.id))]


def find_member(connection: Connection, person_id: str) -> Member | None:
    query = select(Person.id, Person.name, Account.role).join(Account, Account.person_id == Person.id)
    row = connection.execute(query.where(Person.id == person_id)).first()
    return None if row is None else Member(row.id, row.name, row.role)


def add_member(ledger: Ledger, name: str, password: str, role: str) -> Member:
    """Make an account. Raises RefusedError for a name that is taken or none, a weak password or an unknown role."""
    name, hashed = checked_name(name), hash_password(password)
    with writing(ledger.engine) as connection:
        lock_table(connection, Account)
        return _insert_member(connection, name, hashed, checked_role(role))


def _insert_member(connection: Connection, name: str, hashed: str, role: str) -> Member:
    if connection.scalar(select(Account.person_id).where(Account.name_key == name_key(name))) is not None:
        raise RefusedError("name_taken", f"{name}: somebody has this name; choose another", "name")
    member = Member(f"p-{secrets.token_hex(8)}", name, role)
    connection.execute(insert(Person).values(id=member.id, name=name, kind="human", description="", created_at=now()))
    row = {"person_id": member.id, "name_key": name_key(name), "role": role, "password_hash": hashed}
    connection.execute(insert(Account).values(**row, created_at=now()))
    return member


def remove_member(ledger: Ledger, person_id: str) -> None:
    """Take away an account, with its sessions, keys, chats and drawings. What the person judged stays, with their name.

    Raises RefusedError if there is none, or for the last owner.
    """
    with writing(ledger.engine) as connection:
        pictures = delete_account(connection, person_id)
    remove_files(ledger, pictures)


def delete_account(connection: Connection, person_id: str) -> list[str]:
    """`remove_member` within a transaction; returns the paths of the person's pictures, for `remove_files`."""
    _check_other_owner(connection, person_id)
    for table in (SignedIn, ApiKey):
        connection.execute(delete(table).where(table.person_id == person_id))
    # Nobody else may read them, and so nobody else could delete them.
    delete_chats(connection, Chat.person_id == person_id)
    pictures = delete_drawings(connection, Drawing.person_id == person_id)
    connection.execute(delete(Account).where(Account.person_id == person_id))
    return pictures


def set_role(ledger: Ledger, person_id: str, role: str) -> Member:
    """Raises RefusedError if there is no such account, for an unknown role, or for the last owner."""
    with writing(ledger.engine) as connection:
        if checked_role(role) != OWNER:
            _check_other_owner(connection, person_id)
        connection.execute(update(Account).where(Account.person_id == person_id).values(role=role))
        found = find_member(connection, person_id)
    if found is None:
        raise missing("person")
    return found


def _check_other_owner(connection: Connection, person_id: str) -> None:
    lock_table(connection, Account)
    roles = {row.person_id: row.role for row in connection.execute(select(Account.person_id, Account.role))}
    if person_id not in roles:
        raise missing("person")
    if roles[person_id] == OWNER and list(roles.values()).count(OWNER) == 1:
        raise RefusedError("conflict", "the last owner stays one; make somebody else an owner first")


def id_of_name(ledger: Ledger, name: str) -> str:
    """The id of the person with this name. Raises RefusedError."""
    with ledger.engine.connect() as connection:
        found = connection.scalar(select(Account.person_id).where(Account.name_key == name_key(name)))
    if found is None:
        raise RefusedError("not_found", f"{name}: nobody here has this name; malmoi users list shows who does")
    return found


def member_of_id(ledger: Ledger, person_id: str) -> Member:
    """Raises RefusedError if there is no such account."""
    with ledger.engine.connect() as connection:
        found = find_member(connection, person_id)
    if found is None:
        raise missing("person")
    return found


def check_login(ledger: Ledger, name: str, password: str) -> Member:
    """Who this is. Raises RefusedError; an unknown name takes as long as a wrong password."""
    with ledger.engine.connect() as connection:
        query = select(Account.person_id, Account.password_hash).where(Account.name_key == name_key(name))
        account = connection.execute(query).first()
        member = None if account is None else find_member(connection, account.person_id)
    is_right = _verify(account.password_hash if account else _nobodys_hash(), password)
    if member is None or not is_right:
        raise RefusedError("wrong_login", "the name or the password is wrong")
    return member


def change_password(ledger: Ledger, member: Member, old: str, new: str) -> None:
    """Raises RefusedError if the old password is wrong or the new one weak."""
    check_login(ledger, member.name, old)
    hashed = hash_password(new, "new")
    with writing(ledger.engine) as connection:
        connection.execute(update(Account).where(Account.person_id == member.id).values(password_hash=hashed))


def set_password(ledger: Ledger, person_id: str, new: str) -> None:
    """Give somebody a new password, who forgot theirs; their sessions end. Raises RefusedError for a weak one."""
    hashed = hash_password(new, "new")
    with writing(ledger.engine) as connection:
        connection.execute(update(Account).where(Account.person_id == person_id).values(password_hash=hashed))
        connection.execute(delete(SignedIn).where(SignedIn.person_id == person_id))


def invite(ledger: Ledger, role: str, name: str | None = None, hours: float = INVITE_HOURS) -> dict[str, Any]:
    """Make an invitation: {"id", "code", "role", "name", "expires_at"}. The code is told once, here."""
    if not 0 < hours <= 24 * 366:
        raise invalid("hours", "expected more than 0, and at most a year")
    code = secrets.token_urlsafe(24)
    row = {"id": f"i-{secrets.token_hex(6)}", "role": checked_role(role), "expires_at": now() + timedelta(hours=hours)}
    row["name"] = None if name is None else checked_name(name)
    with writing(ledger.engine) as connection:
        connection.execute(insert(Invite).values(**row, code_sha256=sha256_of_secret(code), created_at=now()))
    return {**row, "code": code}


def invite_owner(ledger: Ledger) -> str:
    """The code with which the first account is made; it replaces those before it."""
    with writing(ledger.engine) as connection:
        connection.execute(delete(Invite).where(Invite.role == OWNER))
    return str(invite(ledger, OWNER, hours=24)["code"])


def invites(ledger: Ledger) -> list[dict[str, Any]]:
    """Invitations that nobody has used yet."""
    query = select(Invite.id, Invite.role, Invite.name, Invite.expires_at).where(Invite.expires_at > now())
    with ledger.engine.connect() as connection:
        return [row._asdict() for row in connection.execute(query.order_by(Invite.created_at))]


def find_invite(ledger: Ledger, code: str) -> dict[str, Any]:
    """What an invitation is for. Raises RefusedError if it was used, is wrong or too old."""
    with ledger.engine.connect() as connection:
        return _open_invite(connection, code)


def withdraw_invite(ledger: Ledger, id: str) -> None:
    with writing(ledger.engine) as connection:
        if connection.execute(delete(Invite).where(Invite.id == id)).rowcount == 0:
            raise missing("invitation")


def accept_invite(ledger: Ledger, code: str, name: str, password: str, roles: Collection[str] = ROLES) -> Member:
    """Make the account that an invitation is for, and use the invitation up.

    roles: for which it may be. Raises RefusedError as `find_invite` and `add_member`; then it is not used up
    """
    name, hashed = checked_name(name), hash_password(password)
    with writing(ledger.engine) as connection:
        lock_table(connection, Account)
        found = _open_invite(connection, code)
        if found["role"] not in roles:
            raise _wrong_link()
        connection.execute(delete(Invite).where(Invite.id == found["id"]))
        return _insert_member(connection, name, hashed, found["role"])


def _open_invite(connection: Connection, code: str) -> dict[str, Any]:
    query = select(Invite.id, Invite.role, Invite.name, Invite.expires_at)
    fitting = (Invite.code_sha256 == sha256_of_secret(code), Invite.expires_at > now())
    row = connection.execute(query.where(*fitting)).first()
    if row is None:
        raise _wrong_link()
    return row._asdict()


def _wrong_link() -> RefusedError:
    return RefusedError("wrong_setup_link", "this link was used, has expired, or is incomplete; ask for a new one")


def checked_name(name: str) -> str:
    """The name in its usual form. Raises RefusedError."""
    name = " ".join(nfc(name).split())
    if not 1 <= len(name) <= LONGEST_NAME:
        raise invalid("name", f"expected 1 to {LONGEST_NAME} characters", most=LONGEST_NAME)
    if name_key(name) == FORGOTTEN:
        raise invalid("name", "people who were forgotten are called so; choose another")
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co") for character in name):
        raise invalid("name", "has a character that cannot be seen")
    return name


def checked_role(role: str) -> str:
    if role not in ROLES:
        raise invalid("role", f"expected one of {', '.join(ROLES)}")
    return role


def name_key(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def hash_password(password: str, param: str = "password") -> str:
    """Raises RefusedError for a password that is too short or too long."""
    low, high = PASSWORD_LENGTHS
    if not low <= len(password) <= high:
        raise invalid(param, f"expected {low} to {high} characters", least=low, most=high)
    with _HASHING:
        return _HASHER.hash(_password_bytes(password))


def _verify(hashed: str, password: str) -> bool:
    try:
        with _HASHING:
            return _HASHER.verify(hashed, _password_bytes(password[: PASSWORD_LENGTHS[1]]))
    except (VerificationError, InvalidHashError):
        return False


def _password_bytes(password: str) -> bytes:
    # Keyboards write the same Korean or accented letters in one or several characters.
    return nfc(password).encode(errors="surrogatepass")


@cache
def _nobodys_hash() -> str:
    return _HASHER.hash(secrets.token_hex())
