"""Chats: conversations of one person, as trees of messages. An edited message, or another answer, is a branch.

Only the person whose chat it is reads it; to everybody else it does not exist.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from malmoi.feedback.chat_rows import (
    chat_query,
    chat_row,
    contains,
    cursor,
    excerpt_of,
    message_query,
    message_row,
    read_cursor,
    says,
)
from malmoi.feedback.deleting import delete_chats
from malmoi.feedback.refusals import RefusedError, invalid, missing
from malmoi.text import nfc
from malmoi.workspace.answers import NewAnswer, insert_answer
from malmoi.workspace.base import now
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import Chat, ChatMessage

ID = re.compile(r"[0-9a-f-]{32,36}")
LONGEST_TEXT = 200_000
"""Characters of a message or a system prompt."""
LONGEST_TITLE = 200
FROM_TEXT = 60
"""Characters of a title that is made of the first message."""
MOST_LISTED = 200
MOST_MESSAGES = 10_000
"""In one chat: what a page can still show."""
CHANGEABLE = ("title", "system", "sampling", "may_teach", "head")


@dataclass(frozen=True)
class NewMessage:
    """A message to store. id: chosen by the client; parent: the message that it follows, None for the first"""

    id: str
    parent: str | None
    role: str
    text: str
    finish: str | None = None
    error: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] | None = None
    answer: NewAnswer | None = field(default=None, compare=False)


def new_id() -> str:
    return secrets.token_hex(16)


def checked_id(id: str, param: str = "id") -> str:
    if ID.fullmatch(id) is None:
        raise invalid(param, "expected 32 hexadecimal digits, with or without hyphens")
    return id


def create_chat(
    ledger: Ledger, person_id: str, *, may_teach: bool, id: str | None = None, title: str | None = None,
    system: str = "", sampling: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], bool]:  # fmt: skip
    """A chat, and whether it is new: one that has the same id and owner is given back as it is."""
    row = {"id": checked_id(id or new_id()), "person_id": person_id, "may_teach": may_teach, "head": None}
    row |= {"title": checked_title(title), "system": checked_text(system, "system"), "sampling": dict(sampling or {})}
    row |= {"created_at": now(), "updated_at": now()}
    with writing(ledger.engine) as connection:
        lock_table(connection, Chat)
        owner = connection.scalar(select(Chat.person_id).where(Chat.id == row["id"]))
        if owner is None:
            connection.execute(insert(Chat).values(row))
        elif owner != person_id:
            raise RefusedError("conflict", "another chat has this id", "id")
    return get_chat(ledger, person_id, str(row["id"])), owner is None


def get_chat(ledger: Ledger, person_id: str, chat_id: str) -> dict[str, Any]:
    """A chat without its messages. Raises RefusedError if it is not this person's."""
    with ledger.engine.connect() as connection:
        return _chat(connection, person_id, chat_id)


def list_chats(
    ledger: Ledger, person_id: str, search: str = "", before: str | None = None, limit: int = 50
) -> tuple[list[dict[str, Any]], str | None]:
    """A person's chats, newest first, and where to go on (None: that was all).

    search: only chats with this in their title or in a message; then each has an `excerpt`
    """
    limit = min(max(limit, 1), MOST_LISTED)
    query = chat_query().where(Chat.person_id == person_id).order_by(Chat.updated_at.desc(), Chat.id.desc())
    if before is not None:
        time, id = read_cursor(before)
        query = query.where(or_(Chat.updated_at < time, (Chat.updated_at == time) & (Chat.id < id)))
    words = nfc(search).strip()
    if words:
        inside = select(ChatMessage.chat_id).where(says(ChatMessage.text, words))
        query = query.where(or_(contains(Chat.title, words), Chat.id.in_(inside)))
    with ledger.engine.connect() as connection:
        rows = [chat_row(row) for row in connection.execute(query.limit(limit + 1))]
        more, rows = len(rows) > limit, rows[:limit]
        if words:
            for row in rows:
                row["excerpt"] = excerpt_of(connection, row["id"], words) or row["title"] or ""
    return rows, cursor(rows[-1]) if more else None


def change_chat(ledger: Ledger, person_id: str, chat_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Change some of `CHANGEABLE`. Raises RefusedError if the chat is not this person's, or has no such message."""
    changed = {name: value for name, value in values.items() if name in CHANGEABLE}
    if "title" in changed:
        changed["title"] = checked_title(changed["title"])
    if "system" in changed:
        changed["system"] = checked_text(changed["system"], "system")
    with writing(ledger.engine) as connection:
        _chat(connection, person_id, chat_id)
        if (head := changed.get("head")) is not None:
            _check_in(connection, chat_id, head, "head")
        if changed:
            connection.execute(update(Chat).where(Chat.id == chat_id).values(changed))
        return _chat(connection, person_id, chat_id)


def delete_chat(ledger: Ledger, person_id: str, chat_id: str) -> None:
    with writing(ledger.engine) as connection:
        _chat(connection, person_id, chat_id)
        delete_chats(connection, Chat.id == chat_id)


def add_message(ledger: Ledger, person_id: str, chat_id: str, message: NewMessage) -> tuple[dict[str, Any], bool]:
    """Store a message, and whether it is new: the same message again changes nothing.

    The branch that ends with it is shown from now on. Raises RefusedError if the chat is not this person's, has not
    the parent, or if the id is already another message's.
    """
    with writing(ledger.engine) as connection:
        return store_message(connection, person_id, chat_id, message)


def store_message(
    connection: Connection, person_id: str, chat_id: str, message: NewMessage
) -> tuple[dict[str, Any], bool]:
    """`add_message` within a transaction."""
    checked_id(message.id)
    text = checked_text(message.text, "text", may_be_empty=False) if message.role == "user" else message.text
    # Who sends the same message at the same time waits here, and then finds it stored.
    connection.execute(select(Chat.id).where(Chat.id == chat_id).with_for_update())
    chat = _chat(connection, person_id, chat_id)
    if (stored := _stored(connection, chat_id, message.id)) is not None:
        if (stored["parent"], stored["role"]) != (message.parent, message.role) or (
            message.role == "user" and stored["text"] != text
        ):
            raise RefusedError("conflict", "another message has this id", "id")
        return stored, False
    if message.parent is not None:
        _check_in(connection, chat_id, message.parent, "parent", not_of=message.role)
    elif message.role != "user":
        raise invalid("parent", "an answer follows a person's message")
    if chat["n_messages"] >= MOST_MESSAGES:
        raise invalid("chat", f"has {MOST_MESSAGES} messages; begin a new one", most=MOST_MESSAGES)
    values: dict[str, Any] = {"head": message.id, "updated_at": now()}
    if chat["title"] is None and message.role == "user":
        values["title"] = title_of(text)
    insert_message(connection, chat_id, message, text)
    connection.execute(update(Chat).where(Chat.id == chat_id).values(values))
    added = _stored(connection, chat_id, message.id)
    assert added is not None
    return added, True


def insert_message(
    connection: Connection, chat_id: str, message: NewMessage, text: str, at: datetime | None = None
) -> None:
    answer_id = None if message.answer is None else insert_answer(connection, message.answer)
    row: dict[str, Any] = {
        "id": message.id,
        "chat_id": chat_id,
        "parent_id": message.parent,
        "role": message.role,
        "text": text,
    }
    row |= {"finish": message.finish, "error": message.error and dict(message.error), "answer_id": answer_id}
    row |= {"figures": message.figures and dict(message.figures), "created_at": at or now()}
    connection.execute(insert(ChatMessage).values(row))


def messages_of(ledger: Ledger, person_id: str, chat_id: str, *, whole: bool = False) -> list[dict[str, Any]]:
    """All messages of a chat, oldest first. Raises RefusedError if it is not this person's.

    whole: with the documents that answers were given, which a page does not show
    """
    with ledger.engine.connect() as connection:
        _chat(connection, person_id, chat_id)
        query = message_query().where(ChatMessage.chat_id == chat_id).order_by(ChatMessage.number)
        return [message_row(row, whole=whole) for row in connection.execute(query)]


def get_message(ledger: Ledger, person_id: str, message_id: str) -> dict[str, Any]:
    """A message of one of this person's chats, with the chat's id as `chat`. Raises RefusedError."""
    with ledger.engine.connect() as connection:
        query = message_query().join(Chat, Chat.id == ChatMessage.chat_id)
        row = connection.execute(query.where(ChatMessage.id == message_id, Chat.person_id == person_id)).first()
    if row is None:
        raise missing("message")
    return {**message_row(row), "chat": row.chat_id}


def find_message(ledger: Ledger, person_id: str, chat_id: str, message_id: str) -> dict[str, Any] | None:
    """A message of a chat, None if it has no such message. Raises RefusedError if the chat is not this person's."""
    with ledger.engine.connect() as connection:
        _chat(connection, person_id, chat_id)
        return _stored(connection, chat_id, message_id)


def conversation(
    ledger: Ledger, person_id: str, chat_id: str, last: str, new: NewMessage | None = None
) -> list[dict[str, str]]:
    """What is to be answered: the system prompt, and the messages down to `last`, as {"role", "content"}.

    A question whose answer failed without a word is left out together with that answer.
    new: the last message, if it is not stored yet
    Raises RefusedError if the chat is not this person's, or if `last` is not a person's message in it.
    """
    chat = get_chat(ledger, person_id, chat_id)
    by_id = {message["id"]: message for message in messages_of(ledger, person_id, chat_id)}
    if new is not None and new.id not in by_id:
        text = checked_text(new.text, "text", may_be_empty=False)
        by_id[new.id] = {"id": new.id, "parent": new.parent, "role": new.role, "text": text}
        if new.parent is not None and by_id.get(new.parent, {}).get("role") != "assistant":
            raise invalid("parent", "is not an answer of this chat")
    if last not in by_id or by_id[last]["role"] != "user":
        raise invalid("parent", "is not a person's message of this chat")
    path, at = [], by_id.get(last)
    while at is not None:
        path.append(at)
        at = by_id.get(at["parent"])
    said = [{"role": "system", "content": chat["system"]}] if chat["system"].strip() else []
    path.reverse()
    for asked, answered in zip(path[::2], path[1::2], strict=False):
        if answered["text"]:
            said += [{"role": one["role"], "content": one["text"]} for one in (asked, answered)]
    return [*said, {"role": "user", "content": path[-1]["text"]}]


def title_of(text: str) -> str:
    """The beginning of a message, at a word's end."""
    line = " ".join(text.split())
    if len(line) <= FROM_TEXT:
        return line
    cut = line[:FROM_TEXT].rpartition(" ")[0]
    return (cut if len(cut) > FROM_TEXT // 2 else line[: FROM_TEXT - 1]) + "…"


def _chat(connection: Connection, person_id: str, chat_id: str) -> dict[str, Any]:
    row = connection.execute(chat_query().where(Chat.id == chat_id, Chat.person_id == person_id)).first()
    if row is None:
        raise missing("chat")
    return chat_row(row)


def _stored(connection: Connection, chat_id: str, message_id: str) -> dict[str, Any] | None:
    """The message of this id. Raises RefusedError if it is in another chat."""
    row = connection.execute(message_query().where(ChatMessage.id == message_id)).first()
    if row is not None and row.chat_id != chat_id:
        raise RefusedError("conflict", "another message has this id", "id")
    return None if row is None else message_row(row)


def _check_in(connection: Connection, chat_id: str, message_id: str, param: str, not_of: str = "") -> None:
    """Raises RefusedError unless the chat has this message, by somebody else than the role `not_of`."""
    role = connection.scalar(
        select(ChatMessage.role).where(ChatMessage.id == message_id, ChatMessage.chat_id == chat_id)
    )
    if role is None:
        raise invalid(param, "is not a message of this chat")
    if role == not_of:
        raise invalid(param, f"is a message of the same role ({role})")


def checked_title(title: str | None) -> str | None:
    if title is None:
        return None
    title = " ".join(checked_text(title, "title").split())
    if len(title) > LONGEST_TITLE:
        raise invalid("title", f"expected at most {LONGEST_TITLE} characters", most=LONGEST_TITLE)
    return title or None


def checked_text(text: str, param: str, may_be_empty: bool = True) -> str:
    """The text. Raises RefusedError if it is too long, or has half a character or a zero in it."""
    if len(text) > LONGEST_TEXT:
        raise invalid(param, f"expected at most {LONGEST_TEXT} characters", most=LONGEST_TEXT)
    if re.search("[\0\ud800-\udfff]", text):
        raise invalid(param, "has a character that is none (a zero, or half of one)")
    if not may_be_empty and not text.strip():
        raise invalid(param, "is empty")
    return text
