"""Better answers at work: looked up before the documents, from the next message on, until they are withdrawn."""

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from malmoi.feedback.settings import get_settings
from malmoi.retrieval.taught import Taught
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Person
from malmoi.workspace.service_schema import BetterAnswer, Chat, ChatMessage


def taught_answers(ledger: Ledger) -> list[Taught]:
    """What people taught and may be used now, oldest first; nothing if the owner has switched it off."""
    if not get_settings(ledger)["taught_answers"]:
        return []
    answer, question = aliased(ChatMessage), aliased(ChatMessage)
    latest = select(func.max(BetterAnswer.id)).group_by(BetterAnswer.message_id, BetterAnswer.person_id)
    query = (
        select(BetterAnswer.id, BetterAnswer.text, BetterAnswer.created_at, question.text.label("asked"), Person.name)
        .join(answer, answer.id == BetterAnswer.message_id)
        .join(question, question.id == answer.parent_id)
        .join(Chat, Chat.id == answer.chat_id)
        .join(Person, Person.id == BetterAnswer.person_id)
        .where(BetterAnswer.id.in_(latest), BetterAnswer.withdrawn.is_(False), Chat.may_teach.is_(True))
        .order_by(BetterAnswer.id)
    )
    with ledger.engine.connect() as connection:
        return [
            Taught(f"better-{row.id}", row.asked, row.text, row.name, row.created_at.isoformat())
            for row in connection.execute(query)
        ]
