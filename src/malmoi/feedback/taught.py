"""Better answers at work: looked up before the documents, from the next message on, until they are withdrawn."""

from sqlalchemy import select

from malmoi.feedback.settings import get_settings
from malmoi.feedback.signals import better_answers
from malmoi.retrieval.taught import Taught
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Person
from malmoi.workspace.service_schema import ChatMessage


def taught_answers(ledger: Ledger) -> list[Taught]:
    """What people taught and may be used now, oldest first; nothing if the owner has switched it off."""
    if not get_settings(ledger)["taught_answers"]:
        return []
    rows = better_answers(ledger)
    if not rows:
        return []
    with ledger.engine.connect() as connection:
        people = {row.id: row.name for row in connection.execute(select(Person.id, Person.name))}
        answered = select(ChatMessage.parent_id).where(ChatMessage.id.in_([row["message"] for row in rows]))
        pairs = connection.execute(
            select(ChatMessage.id, ChatMessage.parent_id).where(ChatMessage.id.in_([row["message"] for row in rows]))
        )
        parents = {row.id: row.parent_id for row in pairs}
        asked = connection.execute(select(ChatMessage.id, ChatMessage.text).where(ChatMessage.id.in_(answered)))
        questions = {row.id: row.text for row in asked}
    return [
        Taught(
            f"better-{row['id']}", questions[parents[row["message"]]], row["text"], people[row["person"]],
            row["created_at"].isoformat(),
        )
        for row in rows
    ]  # fmt: skip
