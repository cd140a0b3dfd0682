"""Delete chats with everything that was made of them: answers, votes, and what others said when they were asked."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select

from malmoi.workspace.database import chunks
from malmoi.workspace.schema import Answer, Assignment, Generation, Judgement, Prompt
from malmoi.workspace.service_schema import BetterAnswer, Chat, ChatMessage, Comparison, Lease, TeachItem, Vote


def delete_chats(connection: Connection, which: ColumnElement[bool]) -> None:
    """Delete chats. which: a condition on `Chat`"""
    chats = select(Chat.id).where(which)
    messages = select(ChatMessage.id).where(ChatMessage.chat_id.in_(chats))
    answers = select(ChatMessage.answer_id).where(ChatMessage.chat_id.in_(chats), ChatMessage.answer_id.is_not(None))
    ids = [str(id) for id in connection.scalars(answers)]
    _delete_items(connection, chats)
    for table in (Vote, BetterAnswer):
        connection.execute(delete(table).where(table.message_id.in_(messages)))
    connection.execute(delete(Comparison).where(Comparison.chat_id.in_(chats)))
    connection.execute(delete(ChatMessage).where(ChatMessage.chat_id.in_(chats)))
    for part in chunks(ids):
        connection.execute(delete(Answer).where(Answer.id.in_([int(id) for id in part])))
    connection.execute(delete(Chat).where(which))


def _delete_items(connection: Connection, chats: Any) -> None:
    """Delete what people were asked about chats, with what they said of it. chats: a query of their ids"""
    items = select(TeachItem.id).where(TeachItem.chat_id.in_(chats))
    prompts = [*connection.scalars(select(TeachItem.prompt_id).where(TeachItem.chat_id.in_(chats)))]
    connection.execute(delete(Lease).where(Lease.item_id.in_(items)))
    connection.execute(delete(TeachItem).where(TeachItem.chat_id.in_(chats)))
    for part in chunks(prompts):
        assignments = select(Assignment.id).where(Assignment.prompt_id.in_(part))
        connection.execute(delete(Judgement).where(Judgement.assignment_id.in_(assignments)))
        connection.execute(delete(Assignment).where(Assignment.prompt_id.in_(part)))
        connection.execute(delete(Generation).where(Generation.prompt_id.in_(part)))
        connection.execute(delete(Prompt).where(Prompt.id.in_(part)))
