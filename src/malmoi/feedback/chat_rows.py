"""Chats and messages as rows for a page, and the search in them."""

import json
import unicodedata
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, cast, func, or_, select

from malmoi.feedback.refusals import invalid
from malmoi.workspace.base import read_time
from malmoi.workspace.schema import Answer
from malmoi.workspace.service_schema import Chat, ChatMessage

CHAT = ("id", "title", "created_at", "updated_at", "may_teach", "system", "sampling", "head", "n_messages")
MESSAGE = ("id", "chat_id", "parent_id", "role", "text", "finish", "error", "answer_id", "figures", "created_at")
ANSWER = ("voice", "model_sha256", "quoted", "supported", "sources", "sampling", "documents")
EXCERPT = 80
"""Characters of an excerpt before and after what was searched for, together."""


def chat_query() -> Select[Any]:
    """Chats with the number of their messages."""
    counted = select(func.count()).where(ChatMessage.chat_id == Chat.id).correlate(Chat).scalar_subquery()
    own = [getattr(Chat, name) for name in CHAT[:-1]]
    return select(*own, counted.label("n_messages"))


def chat_row(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in CHAT}


def message_query() -> Select[Any]:
    """Messages with what is recorded of their answers."""
    own = [getattr(ChatMessage, name) for name in MESSAGE]
    answer = [getattr(Answer, name).label(f"answer_{name}") for name in ANSWER]
    return select(*own, *answer).join(Answer, Answer.id == ChatMessage.answer_id, isouter=True)


def message_row(row: Any, *, whole: bool = False) -> dict[str, Any]:
    """A message as a page shows it; `answer` says how an answer came about, None for a person's words.

    whole: with the documents of its prompt
    """
    found = {"id": row.id, "parent": row.parent_id, "role": row.role, "text": row.text, "finish": row.finish}
    found |= {"error": row.error, "created_at": row.created_at, "answer": None}
    found |= {"vote": None, "better": None}
    if row.role != "assistant":
        return found
    figures = dict(row.figures or {})
    passages = figures.pop("passages", [])
    sources = [dict(source) for source in row.answer_sources or []]
    for source, passage in zip(sources, passages, strict=False):
        source["passage"] = passage
    recorded: dict[str, Any] = {"declined": figures.pop("declined", False), "nearest": figures.pop("nearest", [])}
    recorded |= {"name": None if row.answer_id is None else f"answer-{row.answer_id}"}
    recorded |= {"voice": row.answer_voice or figures.pop("voice", None), "hash": row.answer_model_sha256}
    recorded |= {"quoted": bool(row.answer_quoted), "supported": row.answer_supported, "sources": sources}
    recorded["seed"] = (row.answer_sampling or {}).get("seed")
    if whole:
        recorded["documents"] = row.answer_documents
    return found | {"answer": figures | recorded}


def contains(column: ColumnElement[Any] | Any, words: str) -> ColumnElement[bool]:
    """Whether a text has these words in it, in any case, and in either form in which keyboards write Korean."""
    return or_(*(column.ilike(f"%{_like(form)}%", escape="!") for form in _forms(words)))


def says(column: ColumnElement[Any] | Any, words: str) -> ColumnElement[bool]:
    """The same for a text that is stored as a JSON string."""
    return contains(cast(column, Text), json.dumps(words, ensure_ascii=False)[1:-1])


def _forms(words: str) -> list[str]:
    return sorted({unicodedata.normalize(form, words) for form in ("NFC", "NFD")})


def _like(words: str) -> str:
    for special in "!%_":
        words = words.replace(special, "!" + special)
    return words


def excerpt_of(connection: Connection, chat_id: str, words: str) -> str:
    """The text around the words in the newest message that has them; "" if none has."""
    query = select(ChatMessage.text).where(ChatMessage.chat_id == chat_id, says(ChatMessage.text, words))
    text = connection.scalar(query.order_by(ChatMessage.number.desc()).limit(1))
    if text is None:
        return ""
    at = max(0, *(text.lower().find(form.lower()) for form in _forms(words)))
    start = max(0, at - EXCERPT // 2)
    end = start + EXCERPT + len(words)
    return ("…" if start else "") + " ".join(text[start:end].split()) + ("…" if end < len(text) else "")


def cursor(row: dict[str, Any]) -> str:
    """Where a list goes on after this chat."""
    return f"{row['updated_at'].isoformat()}~{row['id']}"


def read_cursor(given: str) -> tuple[datetime, str]:
    time, _, id = given.partition("~")
    found = read_time(time)
    if found is None or not id:
        raise invalid("before", "is not where a list goes on")
    return found, id
