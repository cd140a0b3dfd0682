"""The tables of the service: accounts, sessions, keys, invitations; chats with their messages.

Secrets are stored as hashes only. What people wrote is never updated: a correction is a new row, and the latest counts.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from malmoi.workspace.base import Base, now


class Account(Base):
    """A person who may sign in."""

    __tablename__ = "account"

    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), primary_key=True)
    name_key: Mapped[str] = mapped_column(unique=True)
    """The name without differences of case and form: two accounts never look alike."""
    role: Mapped[str]
    """owner | admin | labeler | user"""
    password_hash: Mapped[str]
    """Argon2id, with its parameters."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime | None]


class SignedIn(Base):
    """A browser in which a person is signed in."""

    __tablename__ = "signed_in"

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("account.person_id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    seen_at: Mapped[datetime] = mapped_column(default=now)


class ApiKey(Base):
    """A key with which a program answers to a person's name."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    key_sha256: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("account.person_id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    """The first characters, to tell keys apart."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    used_at: Mapped[datetime | None]


class Invite(Base):
    """A link that makes one account, and is gone then."""

    __tablename__ = "invite"

    id: Mapped[str] = mapped_column(primary_key=True)
    code_sha256: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    name: Mapped[str | None]
    """For whom, if that is known."""
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Setting(Base):
    """A setting of the service that the owner changed."""

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)


class Chat(Base):
    """A conversation of one person; only that person reads it."""

    __tablename__ = "chat"

    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("account.person_id"), index=True)
    title: Mapped[str | None]
    system: Mapped[str]
    sampling: Mapped[dict[str, Any]]
    """What the person chose; the rest is the model's default."""
    may_teach: Mapped[bool]
    """Consent: what is said here may be learned from."""
    head: Mapped[str | None]
    """The last message of the branch that is shown."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, index=True)


class ChatMessage(Base):
    """A message of a chat. The database refuses updates: an edited message, or another answer, is a branch."""

    __tablename__ = "chat_message"

    number: Mapped[int] = mapped_column(primary_key=True)
    """Increases with time."""
    id: Mapped[str] = mapped_column(unique=True)
    """Chosen by the client, so that a message that is sent twice is stored once."""
    chat_id: Mapped[str] = mapped_column(ForeignKey("chat.id"), index=True)
    parent_id: Mapped[str | None]
    """The message that it follows; None: it begins the chat."""
    role: Mapped[str]
    """user | assistant"""
    text: Mapped[str] = mapped_column(JSON)
    """A JSON string, as in `Generation`."""
    finish: Mapped[str | None]
    """Of an answer: stop | length | stopped | error."""
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    answer_id: Mapped[int | None] = mapped_column(ForeignKey("answer.id"))
    figures: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """Of an answer: its counts of tokens and seconds, and the passages of its sources."""
    created_at: Mapped[datetime] = mapped_column(default=now)
