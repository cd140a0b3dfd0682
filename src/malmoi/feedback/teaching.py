"""Ranking and writing: who is shown what, for how long, and what they say of it.

An item is leased to one person for a while; others get other items. The order of the answers is drawn, and recorded
with the judgement. What is said is kept in versions; the latest counts, and may be withdrawn.
"""

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from malmoi.errors import DataError
from malmoi.feedback.chats import checked_text
from malmoi.feedback.judgements import NewJudgement, append_judgements, check_ranks, withdraw_judgement
from malmoi.feedback.refusals import RefusedError, invalid, missing
from malmoi.feedback.teach_items import add_written, allowed, answers_of
from malmoi.workspace.base import now, read_time
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Prompt
from malmoi.workspace.service_schema import RANK, WRITE, Chat, Lease, TeachItem

LEASE = timedelta(minutes=30)
LONGEST_DRAFT, LONGEST_NOTE = 20_000, 2000
ALL_BAD, CANT_TELL = UNRANKABLE = ("all_bad", "cant_tell")
GUIDELINE = "1"
"""Version of the guideline that people are shown."""
ORIGIN = ("moved", "input", "extra")
"""How a judgement came about."""


def next_item(ledger: Ledger, person_id: str, kind: str = RANK) -> dict[str, Any] | None:
    """The item that this person should judge: the one in their hands, else the oldest that needs people.

    Nobody is shown an item twice, or a question of their own before others have judged it.
    """
    if kind not in (RANK, WRITE):
        raise invalid("kind", f"expected {RANK} or {WRITE}")
    with writing(ledger.engine) as connection:
        lock_table(connection, Lease)
        mine = (Lease.person_id == person_id, Lease.status == "open", Lease.expires_at > now())
        query = select(Lease.id).join(TeachItem, TeachItem.id == Lease.item_id)
        query = query.join(Chat, Chat.id == TeachItem.chat_id, isouter=True)
        open_lease = connection.scalar(query.where(*mine, TeachItem.kind == kind, allowed()).limit(1))
        if open_lease is None:
            waiting = _waiting(connection, person_id, kind)
            if not waiting:
                return None
            open_lease = _lease(connection, person_id, waiting[0])
        return _item(connection, _find(connection, person_id, open_lease))


def keep_draft(ledger: Ledger, person_id: str, lease_id: str, draft: Mapping[str, Any]) -> None:
    """Keep what is not saved yet, and the item in this person's hands. It is kept also if the lease has ended.

    Raises RefusedError then.
    """
    if len(checked_text(json.dumps(draft, ensure_ascii=False), "draft")) > LONGEST_DRAFT:
        raise invalid("draft", f"expected at most {LONGEST_DRAFT} characters", most=LONGEST_DRAFT)
    with writing(ledger.engine) as connection:
        lock_table(connection, Lease)
        lease = _find(connection, person_id, lease_id)
        lost = lease.status == "open" and not _renew(connection, lease)
        connection.execute(update(Lease).where(Lease.id == lease_id).values(draft=dict(draft)))
    if lost:
        raise _lost()


def save_ranks(
    ledger: Ledger, person_id: str, lease_id: str, ranks: Sequence[int], unrankable: str | None = None,
    note: str = "", active_ms: int | None = None, extra: bool = False, **origin: Any,
) -> dict[str, Any]:  # fmt: skip
    """Save a ranking, or that there is none (`UNRANKABLE`). ranks: competition ranks in the order shown, 1 is best.

    extra: an opinion beyond those that are needed, after somebody else took the item over
    Saving the same again changes nothing; anything else is the next version.
    """
    if unrankable is not None and unrankable not in UNRANKABLE:
        raise invalid("unrankable", f"expected one of {', '.join(UNRANKABLE)}")
    note = _note(note)
    with writing(ledger.engine) as connection:
        lock_table(connection, Lease)
        lease = _held(connection, person_id, lease_id, RANK, extra)
        try:
            check_ranks(ranks, 0 if unrankable else len(lease.shown))
        except DataError as error:
            raise invalid("ranks", str(error)) from None
        said = {"ranks": list(ranks), "unrankable": unrankable, "text": None, "note": note}
        flags = [["bad"]] * len(lease.shown) if unrankable == ALL_BAD else None
        kept = {name: value for name, value in {**origin, "extra": extra}.items() if value is not None}
        judgement = NewJudgement(
            person_id=person_id, prompt_id=lease.prompt_id, generation_ids=lease.shown, ranks=list(ranks),
            unrankable=unrankable is not None, flags=flags, active_ms=active_ms, guideline_version=GUIDELINE,
        )  # fmt: skip
        append_judgements(connection, [judgement], {**kept, "item": lease.item_id, "note": note})
        return _save(connection, lease, said, judgement.assignment()["id"])


def save_text(ledger: Ledger, person_id: str, lease_id: str, text: str, note: str = "") -> dict[str, Any]:
    """Save an answer that this person wrote."""
    text, note = checked_text(text, "text", may_be_empty=False).strip(), _note(note)
    with writing(ledger.engine) as connection:
        lock_table(connection, Lease)
        lease = _held(connection, person_id, lease_id, WRITE, extra=True)
        add_written(connection, lease.prompt_id, person_id, text)
        return _save(connection, lease, {"ranks": [], "unrankable": None, "text": text, "note": note}, None)


def skip(ledger: Ledger, person_id: str, lease_id: str) -> None:
    """Give an item back; this person is not asked again."""
    with writing(ledger.engine) as connection:
        lease = _find(connection, person_id, lease_id)
        if lease.status == "open":
            connection.execute(update(Lease).where(Lease.id == lease_id).values(status="skipped"))


def withdraw(ledger: Ledger, person_id: str, lease_id: str) -> None:
    """Take back what was said: nothing learns from it. The item is open again, with its last draft."""
    with writing(ledger.engine) as connection:
        lock_table(connection, Lease)
        lease = _find(connection, person_id, lease_id)
        if lease.status != "saved":
            return
        if lease.assignment_id is not None:
            withdraw_judgement(connection, lease.assignment_id)
        values = {"status": "open", "said": None, "expires_at": now() + LEASE}
        connection.execute(update(Lease).where(Lease.id == lease_id).values(values))


def mine(
    ledger: Ledger, person_id: str, before: str | None = None, limit: int = 50
) -> tuple[list[dict[str, Any]], str | None]:
    """What this person has saved, newest first, and where to go on."""
    query = _leases().where(Lease.person_id == person_id, Lease.status == "saved")
    if before is not None:
        if (time := read_time(before)) is None:
            raise invalid("before", "is not where a list goes on")
        query = query.where(Lease.saved_at < time)
    with ledger.engine.connect() as connection:
        rows = connection.execute(query.order_by(Lease.saved_at.desc()).limit(limit + 1)).all()
        items = [_item(connection, row) for row in rows[:limit]]
    return items, rows[limit - 1].saved_at.isoformat() if len(rows) > limit else None


def overview(ledger: Ledger, person_id: str) -> dict[str, int]:
    """How much waits for this person, and how much they have done.

    {"waiting": rankings, "to_write": questions that wait for a written answer, "done_today", "n_saved"}
    """
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    saved = (Lease.person_id == person_id, Lease.status == "saved")
    with ledger.engine.connect() as connection:
        counts = select(func.count()).select_from(Lease)
        held = counts.join(TeachItem, TeachItem.id == Lease.item_id)
        held = held.join(Chat, Chat.id == TeachItem.chat_id, isouter=True).where(allowed())
        held = held.where(Lease.person_id == person_id, Lease.status == "open", Lease.expires_at > now())
        waiting = {
            kind: len(_waiting(connection, person_id, kind))
            + (connection.scalar(held.where(TeachItem.kind == kind)) or 0)
            for kind in (RANK, WRITE)
        }
        return {
            "waiting": waiting[RANK],
            "to_write": waiting[WRITE],
            "done_today": connection.scalar(counts.where(*saved, Lease.saved_at >= today)) or 0,
            "n_saved": connection.scalar(counts.where(*saved)) or 0,
        }


def _waiting(connection: Connection, person_id: str, kind: str) -> list[Any]:
    """Items that still need this person, oldest first; their own questions last."""
    taken: dict[str, int] = {}
    seen = set()
    query = select(Lease.item_id, Lease.person_id, Lease.status, Lease.expires_at)
    for row in connection.execute(query):
        if row.person_id == person_id and (row.status != "open" or row.expires_at > now()):
            seen.add(row.item_id)
        if row.status == "saved" or (row.status == "open" and row.expires_at > now()):
            taken[row.item_id] = taken.get(row.item_id, 0) + 1
    columns = (TeachItem.id, TeachItem.generation_ids, TeachItem.n_people, TeachItem.author_id)
    items = select(*columns).join(Chat, Chat.id == TeachItem.chat_id, isouter=True)
    items = items.where(TeachItem.kind == kind, TeachItem.status == "ready", allowed())
    rows = [
        row
        for row in connection.execute(items.order_by(TeachItem.created_at, TeachItem.id))
        if row.id not in seen and taken.get(row.id, 0) < row.n_people
    ]
    return sorted(rows, key=lambda row: row.author_id == person_id)


def _lease(connection: Connection, person_id: str, item: Any) -> str:
    # One that ended without a word is taken up again, in the same order and with its draft.
    ended = (Lease.item_id == item.id, Lease.person_id == person_id, Lease.status == "open")
    before = connection.scalar(select(Lease.id).where(*ended).limit(1))
    if before is not None:
        connection.execute(update(Lease).where(Lease.id == before).values(expires_at=now() + LEASE))
        return str(before)
    shown = random.sample(item.generation_ids, len(item.generation_ids))
    row = {"id": f"l-{secrets.token_hex(12)}", "item_id": item.id, "person_id": person_id, "shown": shown}
    row |= {"status": "open", "issued_at": now(), "expires_at": now() + LEASE}
    connection.execute(insert(Lease).values(row))
    return str(row["id"])


def _leases() -> Any:
    query = select(
        *Lease.__table__.c, TeachItem.kind, TeachItem.prompt_id, TeachItem.n_people, Prompt.messages, Prompt.lang
    )
    return query.join(TeachItem, TeachItem.id == Lease.item_id).join(Prompt, Prompt.id == TeachItem.prompt_id)


def _find(connection: Connection, person_id: str, lease_id: str) -> Any:
    row = connection.execute(_leases().where(Lease.id == lease_id, Lease.person_id == person_id)).first()
    if row is None:
        raise missing("item")
    return row


def _held(connection: Connection, person_id: str, lease_id: str, kind: str, extra: bool) -> Any:
    """The lease, to be saved. Raises RefusedError if it has ended, others took the item over, and it is no extra."""
    lease = _find(connection, person_id, lease_id)
    if lease.kind != kind:
        raise invalid("kind", f"this item is to {lease.kind}")
    if lease.status != "saved" and not _renew(connection, lease) and not extra:
        raise _lost()
    return lease


def _renew(connection: Connection, lease: Any) -> bool:
    """Keep an item in a person's hands; whether that is possible: it has not ended, or nobody took it over."""
    if lease.expires_at <= now():
        others = select(func.count()).select_from(Lease).where(
            Lease.item_id == lease.item_id, Lease.id != lease.id,
            (Lease.status == "saved") | ((Lease.status == "open") & (Lease.expires_at > now())),
        )  # fmt: skip
        if (connection.scalar(others) or 0) >= lease.n_people:
            return False
    connection.execute(update(Lease).where(Lease.id == lease.id).values(expires_at=now() + LEASE))
    return True


def _save(connection: Connection, lease: Any, said: Mapping[str, Any], assignment_id: str | None) -> dict[str, Any]:
    before = {name: value for name, value in (lease.said or {}).items() if name in said}
    if before != said:
        version = int((lease.said or {}).get("version", 0)) + 1
        kept = {**said, "saved_at": now().isoformat(), "version": version}
        values = {"status": "saved", "said": kept, "assignment_id": assignment_id, "saved_at": now()}
        connection.execute(update(Lease).where(Lease.id == lease.id).values(values))
    return _item(connection, _find(connection, lease.person_id, lease.id))


def _item(connection: Connection, lease: Any) -> dict[str, Any]:
    """An item as a page shows it: without the names of who answered."""
    texts = answers_of(connection, lease.shown)
    return {
        "id": lease.id, "kind": lease.kind, "messages": _shown(lease.messages), "lang": lease.lang,
        "answers": [{"id": str(place), "text": texts[id]} for place, id in enumerate(lease.shown)],
        "expires_at": lease.expires_at, "practice": None, "saved": lease.said,
        "draft": lease.draft if lease.status == "open" else None,
    }  # fmt: skip


def _shown(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": one["role"], "content": one["content"]} for one in messages]


def _note(note: str) -> str:
    if len(checked_text(note, "note")) > LONGEST_NOTE:
        raise invalid("note", f"expected at most {LONGEST_NOTE} characters", most=LONGEST_NOTE)
    return note


def _lost() -> RefusedError:
    return RefusedError("lease_lost", "somebody took this over; save it as an extra opinion")
