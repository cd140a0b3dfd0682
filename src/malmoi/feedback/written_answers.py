"""Answers that people wrote and that may be learned from: better answers in chats, answers under Teach, and from files.

A row is {"messages" (they end with the answer), "person", "kind": better | written, "instead_of": the answer that it
replaces, or None}. Earlier answers in it have `"weight": 0`: they were not written by this person, and are only read.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from malmoi.feedback.said import better_rows
from malmoi.feedback.teach_items import allowed
from malmoi.workspace.ledger import Ledger, canonical_json
from malmoi.workspace.schema import Prompt, now
from malmoi.workspace.service_schema import WRITE, Chat, Lease, TeachItem

BETTER, WRITTEN = "better", "written"


def written_answers(ledger: Ledger, until: datetime | None = None) -> list[dict[str, Any]]:
    """Every answer that people wrote, by then, in an order of its own: the same answers give the same rows."""
    rows = [*_better(ledger, until), *_written(ledger, until)]
    return sorted(rows, key=canonical_json)


def _better(ledger: Ledger, until: datetime | None) -> list[dict[str, Any]]:
    return [
        _row(row["messages"], row["answer"], row["person"], BETTER, row["original"] or None)
        for row in better_rows(ledger, until or now())
    ]


def _written(ledger: Ledger, until: datetime | None) -> list[dict[str, Any]]:
    query = select(Lease.person_id, Lease.said, Prompt.messages).join(TeachItem, TeachItem.id == Lease.item_id)
    query = query.join(Prompt, Prompt.id == TeachItem.prompt_id).join(Chat, Chat.id == TeachItem.chat_id, isouter=True)
    query = query.where(TeachItem.kind == WRITE, Lease.status == "saved", allowed())
    if until is not None:
        query = query.where(Lease.saved_at <= until)
    with ledger.engine.connect() as connection:
        return [
            _row(
                row.messages, row.said["text"], row.person_id, row.said.get("kind", WRITTEN), row.said.get("instead_of")
            )
            for row in connection.execute(query)
        ]


def _row(
    messages: Sequence[Mapping[str, Any]], text: str, person: str, kind: str, instead_of: str | None
) -> dict[str, Any]:
    read = [{**one, "weight": 0} if one["role"] == "assistant" else dict(one) for one in messages]
    whole = [*read, {"role": "assistant", "content": text}]
    return {"messages": whole, "person": person, "kind": kind, "instead_of": instead_of}
