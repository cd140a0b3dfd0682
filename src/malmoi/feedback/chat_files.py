"""Chats as files: everything that a person's chats hold, to keep or to bring into another workspace."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import insert

from malmoi.data.documents import documents_of
from malmoi.errors import DataError
from malmoi.feedback import chats
from malmoi.feedback.asked import IMPORTED, N_DROPPED
from malmoi.feedback.chats import NewMessage, insert_message
from malmoi.feedback.open_webui import from_open_webui, is_open_webui
from malmoi.feedback.refusals import invalid
from malmoi.retrieval.prompt import MAX_DOCUMENTS
from malmoi.tokenizer.documents import check_documents
from malmoi.workspace.answers import NewAnswer
from malmoi.workspace.base import now, read_time
from malmoi.workspace.database import writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import Chat

FORMAT, VERSION = "malmoi-chats", 1
FINISHES = (None, "stop", "length", "stopped", "error")
LONGEST_DOCUMENTS = 20_000
SAMPLING = {"temperature": (int, float), "top_p": (int, float), "top_k": (int,), "max_tokens": (int,), "seed": (int,)}


def export_chats(ledger: Ledger, person_id: str, chat_id: str | None = None) -> dict[str, Any]:
    """A person's chats, or one of them, with all branches. Raises RefusedError if the chat is not theirs."""
    found: list[dict[str, Any]] = []
    if chat_id is not None:
        found = [chats.get_chat(ledger, person_id, chat_id)]
    else:
        before: str | None = None
        while True:
            rows, before = chats.list_chats(ledger, person_id, before=before, limit=chats.MOST_LISTED)
            found += rows
            if before is None:
                break
    whole = [
        {
            **_plain(chat),
            "messages": [_plain(one) for one in chats.messages_of(ledger, person_id, chat["id"], whole=True)],
        }
        for chat in found
    ]
    return {"format": FORMAT, "version": VERSION, "chats": whole}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON has it."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def import_chats(ledger: Ledger, person_id: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Add exported chats, of ours or of Open WebUI, under new ids; all of them, or none. They teach nothing until their
    person says so.

    Returns {"n_chats", "n_messages", "n_left_out"}. Raises RefusedError that names the chat and the message which
    cannot be read.
    """
    n_left_out = 0
    if rows and is_open_webui(rows):
        rows, n_left_out = from_open_webui(rows)
    read = [_read_chat(number, row) for number, row in enumerate(rows)]
    with writing(ledger.engine) as connection:
        for chat, messages in read:
            connection.execute(insert(Chat).values(**chat, person_id=person_id))
            for message, at in messages:
                insert_message(connection, chat["id"], message, message.text, at)
    n_messages = sum(len(messages) for _, messages in read)
    return {"n_chats": len(read), "n_messages": n_messages, "n_left_out": n_left_out}


def _read_chat(number: int, row: Any) -> tuple[dict[str, Any], list[tuple[NewMessage, datetime]]]:
    where = f"chats.{number}"
    if not isinstance(row, dict):
        raise invalid(where, "expected a chat")
    messages = row.get("messages")
    if not isinstance(messages, list) or len(messages) > chats.MOST_MESSAGES:
        raise invalid(f"{where}.messages", f"expected a list of at most {chats.MOST_MESSAGES} messages")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise invalid(where, "has half of a character") from None
    ids: dict[str, str] = {}
    said: dict[str, tuple[str, str]] = {}
    read = [_read_message(f"{where}.messages.{place}", one, ids, said) for place, one in enumerate(messages)]
    title, system, sampling = row.get("title"), row.get("system", ""), row.get("sampling", {})
    if not (title is None or isinstance(title, str)) or not isinstance(system, str) or not isinstance(sampling, dict):
        raise invalid(where, "title and system are texts, sampling is an object")
    kept = {name: value for name, value in sampling.items() if type(value) in SAMPLING.get(name, ())}
    head = ids.get(str(row.get("head"))) or (read[-1][0].id if read else None)
    made: dict[str, Any] = {
        "id": chats.new_id(),
        "title": chats.checked_title(title),
        "system": chats.checked_text(system, "system"),
    }
    made |= {"sampling": kept, "may_teach": False, "head": head}
    return made | {"created_at": _time(row.get("created_at")), "updated_at": _time(row.get("updated_at"))}, read


def _read_message(
    where: str, row: Any, ids: dict[str, str], said: dict[str, tuple[str, str]]
) -> tuple[NewMessage, datetime]:
    """A message with a new id. ids, said: of the messages before it, and then of it too; said: role and text"""
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not isinstance(row.get("id"), str):
        raise invalid(where, "expected a message with id, role and text")
    role, parent = row.get("role"), row.get("parent")
    if role not in ("user", "assistant"):
        raise invalid(f"{where}.role", "expected user or assistant")
    if parent is not None and (not isinstance(parent, str) or parent not in ids or said[parent][0] == role):
        raise invalid(f"{where}.parent", "is no earlier message of the other role")
    if parent is None and role != "user":
        raise invalid(f"{where}.parent", "an answer follows a person's message")
    if row.get("finish") not in FINISHES or row["id"] in ids:
        raise invalid(where, "an unknown finish, or an id that an earlier message has")
    if role == "user":
        chats.checked_text(row["text"], f"{where}.text", may_be_empty=False)
    ids[row["id"]], said[row["id"]] = chats.new_id(), (role, row["text"])
    answer, figures = None, None
    if role == "assistant" and row["text"]:
        answer, figures = _read_answer(where, row, said[str(parent)][1])
    message = NewMessage(
        ids[row["id"]], parent and ids[parent], role, row["text"], row.get("finish"), None, figures, answer
    )
    return message, _time(row.get("created_at"))


def _read_answer(where: str, row: Mapping[str, Any], question: str) -> tuple[NewAnswer, dict[str, int] | None]:
    """What the file says of an answer, and its figures. It was given elsewhere: no model of this workspace is held to
    have said it, and what it was asked is what the chat has before it."""
    about: Any = row.get("answer")
    about = about if isinstance(about, dict) else {}
    sources: Any = about.get("sources")
    sources = sources if isinstance(sources, list) else []
    kept = [
        {name: source.get(name) for name in ("file", "heading", "line", "place", "sentence", "score", "document")}
        for source in sources[:20]
        if isinstance(source, dict)
    ]
    voice = str(about.get("voice") or "unknown").replace("\0", " ").removesuffix(IMPORTED)
    documents = _read_documents(f"{where}.answer.documents", about.get("documents"))
    asked = [{"role": "user", "content": question}]
    answer = NewAnswer(asked, row["text"], f"{voice}{IMPORTED}", sources=kept, documents=documents)
    n_dropped = about.get(N_DROPPED)
    return answer, {N_DROPPED: n_dropped} if type(n_dropped) is int and 0 < n_dropped < chats.MOST_MESSAGES else None


def _read_documents(where: str, given: Any) -> list[dict[str, str]] | None:
    """The documents of an answer's prompt. Raises RefusedError if they are none, or more than a prompt has."""
    if given is None:
        return None
    try:
        documents = documents_of(given)
        check_documents(0, {"role": "user", "documents": documents})
    except DataError as error:
        raise invalid(where, str(error)) from None
    if len(documents) > MAX_DOCUMENTS or sum(len(one["title"] + one["text"]) for one in documents) > LONGEST_DOCUMENTS:
        raise invalid(where, f"expected at most {MAX_DOCUMENTS} documents, of {LONGEST_DOCUMENTS} characters together")
    return documents


def _time(given: Any) -> datetime:
    """The time that a file tells; now, if it tells none."""
    return read_time(given) or now()
