"""What people said outside of the rankings under Teach, as rows to learn from: better answers, comparisons, votes.

Nothing is here of a chat that may not teach, nothing that was withdrawn, and nothing that was said after `until`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from malmoi.data.comparisons import EDITED
from malmoi.feedback.asked import N_DROPPED, Asked, asked_in_comparison, asked_of
from malmoi.feedback.teach_items import allowed
from malmoi.text import canonical
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Prompt
from malmoi.workspace.service_schema import (
    RANK,
    WRITE,
    BetterAnswer,
    Chat,
    ChatMessage,
    Comparison,
    Lease,
    TeachItem,
    Vote,
)

Row = dict[str, Any]
COMPARED = "comparisons in chats"
BETTER_AS, COMPARED_AS, VOTED_AS = "better-", "compared-", "vote-"
"""How the `prompt_id` of such a row begins, before the id of the better answer, the comparison or the message."""
RANKS = {"a": [1, 2], "b": [2, 1], "same": [1, 1]}


def better_rows(ledger: Ledger, until: datetime) -> list[Row]:
    """Better answers, oldest first: {"prompt_id", "messages", "answer", "original", "person"}.

    Here and below, the last of the messages has the documents that the prompt had, and a row has "n_dropped" where
    messages did not fit into it.
    """
    latest = select(func.max(BetterAnswer.id)).where(BetterAnswer.created_at <= until)
    latest = latest.group_by(BetterAnswer.message_id, BetterAnswer.person_id)
    columns = (BetterAnswer.id, BetterAnswer.text, BetterAnswer.person_id)
    query = select(*columns, ChatMessage.id.label("message"), ChatMessage.text.label("original"))
    query = query.select_from(BetterAnswer).where(BetterAnswer.id.in_(latest), BetterAnswer.withdrawn.is_(False))
    return [
        {"prompt_id": f"{BETTER_AS}{row.id}", **asked.to_row(), "answer": row.text, "original": row.original,
         "person": row.person_id}
        for row, asked in _asked(ledger, query, BetterAnswer.message_id, BetterAnswer.id)
    ]  # fmt: skip


def edited_pairs(better: Sequence[Row]) -> list[Row]:
    """Rankings of better answers above the answers that they replace. better: see `better_rows`"""
    return [
        _ranking(row, [row["answer"], row["original"]], [1, 2], EDITED)
        for row in better
        if row["original"].strip() and canonical(row["original"]) != canonical(row["answer"])
    ]


def compared_pairs(ledger: Ledger, until: datetime) -> list[Row]:
    """Rankings of two answers that were compared in a chat without names; none of two that are both bad."""
    query = select(Comparison.id, Comparison.chat_id, Comparison.parent_id, Comparison.answers, Comparison.verdict)
    query = query.add_columns(Chat.person_id).join(Chat, Chat.id == Comparison.chat_id)
    query = query.where(Chat.may_teach.is_(True), Comparison.verdict.in_(RANKS), Comparison.judged_at <= until)
    with ledger.engine.connect() as connection:
        rows = connection.execute(query.order_by(Comparison.judged_at, Comparison.id)).all()
    found = []
    for row in rows:
        texts = [one["text"] for one in row.answers]
        if all(text.strip() for text in texts) and canonical(texts[0]) != canonical(texts[1]):
            asked = asked_in_comparison(ledger, row.person_id, row.chat_id, row.parent_id, row.answers)
            about = {"prompt_id": f"{COMPARED_AS}{row.id}", **asked.to_row(), "person": row.person_id}
            found.append(_ranking(about, texts, RANKS[row.verdict], COMPARED))
    return found


def written_rows(ledger: Ledger, until: datetime) -> list[Row]:
    """Answers that people wrote under Teach, or that came in a file: {"prompt_id", "messages", "answer", "original",
    "person"}; original: the answer that it replaces, "" if it replaces none."""
    query = select(TeachItem.prompt_id, Prompt.messages, Lease.said, Lease.person_id)
    query = query.join(TeachItem, TeachItem.id == Lease.item_id).join(Prompt, Prompt.id == TeachItem.prompt_id)
    query = query.join(Chat, Chat.id == TeachItem.chat_id, isouter=True).where(allowed())
    query = query.where(TeachItem.kind == WRITE, Lease.status == "saved", Lease.saved_at <= until)
    with ledger.engine.connect() as connection:
        rows = connection.execute(query.order_by(Lease.saved_at, Lease.id)).all()
    return [
        {"prompt_id": row.prompt_id, "messages": row.messages, "answer": row.said["text"], "person": row.person_id,
         "original": row.said.get("instead_of") or ""}
        for row in rows
    ]  # fmt: skip


def voted_rows(ledger: Ledger, until: datetime) -> list[Row]:
    """The latest vote of each person on each answer: {"prompt_id", "messages", "label", "person"}.

    messages: the last one is the answer; label: whether it is 👍. Nothing is learned of an answer that only offered
    what is nearest: it is none, and its words are no voice's.
    """
    latest = select(func.max(Vote.id)).where(Vote.created_at <= until).group_by(Vote.message_id, Vote.person_id)
    columns = (Vote.id, Vote.vote, Vote.person_id)
    query = select(*columns, ChatMessage.id.label("message"), ChatMessage.text.label("answer"), ChatMessage.figures)
    query = query.select_from(Vote)
    query = query.where(Vote.id.in_(latest), Vote.vote.is_not(None))
    return [
        {"prompt_id": f"{VOTED_AS}{row.message}", **asked.to_row(),
         "messages": [*asked.messages, {"role": "assistant", "content": row.answer}],
         "label": row.vote == "up", "person": row.person_id}
        for row, asked in _asked(ledger, query, Vote.message_id, Vote.id)
        if row.answer and not (row.figures or {}).get("nearest")
    ]  # fmt: skip


def n_waiting_votes(ledger: Ledger) -> int:
    """Answers with 👎 whose question waits under Teach: nobody has ranked its answers yet."""
    saved = select(Lease.id).where(Lease.item_id == TeachItem.id, Lease.status == "saved").exists()
    query = select(func.count()).select_from(TeachItem).join(Chat, Chat.id == TeachItem.chat_id)
    query = query.where(TeachItem.kind == RANK, TeachItem.status != "failed", Chat.may_teach.is_(True), ~saved)
    with ledger.engine.connect() as connection:
        return connection.scalar(query) or 0


def _asked(ledger: Ledger, query: Any, message_id: Any, order: Any) -> Iterator[tuple[Any, Asked]]:
    """Rows of a query, each with what its message was asked; only of chats that may teach."""
    query = query.add_columns(Chat.id.label("chat"), Chat.person_id.label("owner"))
    query = query.join(ChatMessage, ChatMessage.id == message_id).join(Chat, Chat.id == ChatMessage.chat_id)
    with ledger.engine.connect() as connection:
        rows = connection.execute(query.where(Chat.may_teach.is_(True)).order_by(order)).all()
    for row in rows:
        yield row, asked_of(ledger, row.owner, row.chat, row.message)


def _ranking(about: Row, answers: list[str], ranks: list[int], source: str) -> Row:
    """A row as `freeze` writes it."""
    row = {
        "prompt_id": about["prompt_id"], "messages": about["messages"], "answers": answers, "generation_ids": [],
        "ranks": ranks, "person": about["person"], "simulated": False, "split": "", "source": source,
    }  # fmt: skip
    return row | {name: about[name] for name in (N_DROPPED,) if name in about}
