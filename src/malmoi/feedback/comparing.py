"""Two answers to one message, shown without names and in random order. Afterwards both are messages of the chat."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert, select, update

from malmoi.feedback.chats import NewMessage, checked_id, get_chat, store_message
from malmoi.feedback.refusals import RefusedError, invalid, missing
from malmoi.workspace.answers import NewAnswer
from malmoi.workspace.base import now
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import Chat, Comparison

VERDICTS = ("a", "b", "same", "both_bad")


def as_stored(message: NewMessage) -> dict[str, Any]:
    """A message that is not of the chat yet, as JSON."""
    answer: dict[str, Any] | None = None
    if (said := message.answer) is not None:
        answer = {**vars(said), "messages": [*map(dict, said.messages)], "sources": [*map(dict, said.sources)]}
        answer["sampling"] = dict(said.sampling)
    names = ("id", "parent", "role", "text", "finish")
    own = {name: getattr(message, name) for name in names}
    return {**own, "figures": message.figures and dict(message.figures), "answer": answer}


def _as_message(row: Mapping[str, Any]) -> NewMessage:
    answer = row["answer"] and NewAnswer(**row["answer"])
    return NewMessage(row["id"], row["parent"], row["role"], row["text"], row["finish"], None, row["figures"], answer)


def add_comparison(
    ledger: Ledger, person_id: str, chat_id: str, id: str, parent: str, answers: Sequence[NewMessage]
) -> dict[str, Any]:
    """Keep two answers, in an order that is drawn here. Raises RefusedError if the chat is not this person's."""
    get_chat(ledger, person_id, chat_id)
    shown = [as_stored(message) for message in random.sample(answers, 2)]
    row = {"id": checked_id(id), "chat_id": chat_id, "parent_id": parent, "answers": shown, "created_at": now()}
    with writing(ledger.engine) as connection:
        lock_table(connection, Comparison)
        if connection.scalar(select(Comparison.id).where(Comparison.id == id)) is not None:
            raise RefusedError("conflict", "another comparison has this id", "id")
        connection.execute(insert(Comparison).values(row))
    return get_comparison(ledger, person_id, id)


def get_comparison(ledger: Ledger, person_id: str, id: str) -> dict[str, Any]:
    """A comparison; who answered is told only once it is judged. Raises RefusedError if it is not this person's."""
    found = _find(ledger, person_id, Comparison.id == id)
    if not found:
        raise missing("comparison")
    return found[0]


def open_comparisons(ledger: Ledger, person_id: str, chat_id: str) -> list[dict[str, Any]]:
    """Those of a chat that are not judged yet."""
    return _find(ledger, person_id, (Comparison.chat_id == chat_id) & Comparison.verdict.is_(None))


def judge(ledger: Ledger, person_id: str, id: str, verdict: str) -> dict[str, Any]:
    """Say which answer is better. Both become messages of the chat; the better one, or the first, is shown.

    The same verdict again changes nothing. Raises RefusedError for another verdict on what was judged before.
    """
    if verdict not in VERDICTS:
        raise invalid("verdict", f"expected one of {', '.join(VERDICTS)}")
    own = select(Comparison.chat_id, Comparison.answers, Comparison.verdict)
    own = own.join(Chat, Chat.id == Comparison.chat_id).where(Comparison.id == id, Chat.person_id == person_id)
    with writing(ledger.engine) as connection:
        before = connection.execute(own.with_for_update(of=Comparison)).first()
        if before is None:
            raise missing("comparison")
        if before.verdict not in (None, verdict):
            raise RefusedError("conflict", f"it was judged before: {before.verdict}", "verdict")
        if before.verdict is None:
            # The better one is stored last: the branch that ends with it is shown.
            for row in reversed(before.answers) if verdict != "b" else before.answers:
                store_message(connection, person_id, before.chat_id, _as_message(row))
            judged = update(Comparison).where(Comparison.id == id)
            connection.execute(judged.values(verdict=verdict, judged_at=now()))
    return get_comparison(ledger, person_id, id)


def _find(ledger: Ledger, person_id: str, which: Any) -> list[dict[str, Any]]:
    query = select(*Comparison.__table__.c).join(Chat, Chat.id == Comparison.chat_id)
    with ledger.engine.connect() as connection:
        rows = connection.execute(query.where(which, Chat.person_id == person_id).order_by(Comparison.created_at))
        return [_row(row) for row in rows]


def _row(row: Any) -> dict[str, Any]:
    found = {"id": row.id, "chat": row.chat_id, "parent": row.parent_id, "verdict": row.verdict, "revealed": None}
    for pane, answer in zip("ab", row.answers, strict=True):
        found[pane] = {"text": answer["text"]}
    if row.verdict is not None:
        found["revealed"] = {pane: _who(answer) for pane, answer in zip("ab", row.answers, strict=True)}
    return found


def _who(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Who really answered: the hash is of the weights that did."""
    recorded = answer["answer"] or {}
    figures = answer["figures"] or {}
    return {
        "voice": recorded.get("voice"), "hash": recorded.get("model_sha256"), "message": answer["id"],
        "temperature": (recorded.get("sampling") or {}).get("temperature"), "looked_up": figures.get("looked_up", True),
    }  # fmt: skip
