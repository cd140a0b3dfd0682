"""Chats that Open WebUI exported, as ours.

Its file is a list of {"title", "chat": {"title", "history": {"messages": {id: message}, "currentId"}}}; a message has
`id`, `parentId`, `role`, `content`, `timestamp` in seconds and, if it is an answer, `model`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from malmoi.feedback.refusals import invalid


def is_open_webui(rows: Any) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) and "chat" in row for row in rows)


def from_open_webui(rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """Chats in the form of our own file, and how many messages cannot be kept: those without words or of other roles,
    and what follows them. Raises RefusedError that names the chat which cannot be read."""
    read = [_chat(number, row) for number, row in enumerate(rows)]
    return [chat for chat, _ in read], sum(left_out for _, left_out in read)


def _chat(number: int, row: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    inside = row["chat"]
    history = inside.get("history") if isinstance(inside, dict) else None
    messages = history.get("messages") if isinstance(history, dict) else None
    if not isinstance(history, dict) or not isinstance(messages, dict):
        raise invalid(f"chats.{number}.chat.history", "expected the messages of a chat of Open WebUI")
    children: dict[Any, list[str]] = {}
    for id, message in messages.items():
        if not isinstance(message, dict) or not isinstance(message.get("parentId"), str | None):
            raise invalid(f"chats.{number}.chat.history.messages.{id}", "expected a message")
        children.setdefault(message.get("parentId"), []).append(id)
    kept: list[dict[str, Any]] = []
    # Parents before children, and siblings in their order; a message is visited once, whatever the file says.
    waiting: list[tuple[str, str | None, str | None]] = [(id, None, None) for id in reversed(children.pop(None, []))]
    while waiting:
        id, parent, parent_role = waiting.pop()
        message = messages[id]
        role, text = message.get("role"), message.get("content")
        if role not in ("user", "assistant") or role == (parent_role or "assistant") or not isinstance(text, str):
            continue
        if role == "user" and not text.strip():
            continue
        about = {"voice": str(message.get("model") or "")} if role == "assistant" else None
        kept.append({"id": id, "parent": parent, "role": role, "text": text, "answer": about,
                     "finish": "stop" if role == "assistant" else None, "created_at": _time(message)})  # fmt: skip
        waiting += [(child, id, role) for child in reversed(children.pop(id, []))]
    title = row.get("title") or inside.get("title")
    chat = {"title": title if isinstance(title, str) else None, "messages": kept, "head": history.get("currentId")}
    times = [message["created_at"] for message in kept if message["created_at"]]
    chat |= {"created_at": times[0] if times else None, "updated_at": max(times, default=None)}
    return chat, len(messages) - len(kept)


def _time(message: Mapping[str, Any]) -> str | None:
    stamp = message.get("timestamp")
    if not isinstance(stamp, int | float) or isinstance(stamp, bool) or not 0 < stamp < 1e11:
        return None
    return datetime.fromtimestamp(stamp, UTC).isoformat()
