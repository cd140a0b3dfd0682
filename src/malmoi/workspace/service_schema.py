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
    """The first characters, to distinguish keys."""
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


class Vote(Base):
    """What a person thinks of an answer. The latest of a person and a message counts."""

    __tablename__ = "vote"

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("chat_message.id"), index=True)
    person_id: Mapped[str]
    vote: Mapped[str | None]
    """up | down; None: taken back"""
    reasons: Mapped[list[str]]
    comment: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class BetterAnswer(Base):
    """An answer that a person wrote in place of the assistant's. The latest of a person and a message counts."""

    __tablename__ = "better_answer"

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(ForeignKey("chat_message.id"), index=True)
    person_id: Mapped[str]
    text: Mapped[str]
    withdrawn: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Comparison(Base):
    """Two answers to one message, shown without names. Once it is judged, they are messages of the chat."""

    __tablename__ = "comparison"

    id: Mapped[str] = mapped_column(primary_key=True)
    chat_id: Mapped[str] = mapped_column(ForeignKey("chat.id"), index=True)
    parent_id: Mapped[str]
    answers: Mapped[list[dict[str, Any]]]
    """The two, in the order in which they are shown: what is recorded of each answer."""
    verdict: Mapped[str | None]
    """a | b | same | both_bad; set once"""
    judged_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)


RANK, WRITE = "rank", "write"
"""What a `TeachItem` asks for."""


class TeachItem(Base):
    """A question that people are asked to answer, or whose answers they are asked to rank."""

    __tablename__ = "teach_item"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """rank | write"""
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompt.id"), index=True)
    generation_ids: Mapped[list[str]]
    """Of the answers to rank."""
    status: Mapped[str]
    """making: answers are still to be sampled; ready; failed: there are no two answers"""
    n_people: Mapped[int]
    """How many are asked."""
    author_id: Mapped[str | None]
    """Who asked the question: not asked to judge its answers first."""
    chat_id: Mapped[str | None]
    """The chat that it comes from, whose consent counts."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class Lease(Base):
    """An item in one person's hands: nobody else is asked meanwhile. What was saved is a judgement, or an answer."""

    __tablename__ = "lease"

    id: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(ForeignKey("teach_item.id"), index=True)
    person_id: Mapped[str] = mapped_column(index=True)
    shown: Mapped[list[str]]
    """The answers in the random order in which they are shown."""
    status: Mapped[str]
    """open | saved | skipped"""
    draft: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    said: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What was saved last, as the page shows it."""
    assignment_id: Mapped[str | None]
    """Of the judgement."""
    issued_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    saved_at: Mapped[datetime | None]


class Practised(Base):
    """A person has done an item of the practice."""

    __tablename__ = "practised"

    person_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    is_right: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=now)
