"""Delete chats with everything that was made of them: answers, votes, and what others said when they were asked."""

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
    delete_items(connection, TeachItem.chat_id.in_(chats))
    for table in (Vote, BetterAnswer):
        connection.execute(delete(table).where(table.message_id.in_(messages)))
    connection.execute(delete(Comparison).where(Comparison.chat_id.in_(chats)))
    connection.execute(delete(ChatMessage).where(ChatMessage.chat_id.in_(chats)))
    for part in chunks(ids):
        connection.execute(delete(Answer).where(Answer.id.in_([int(id) for id in part])))
    connection.execute(delete(Chat).where(which))


def delete_items(connection: Connection, which: ColumnElement[bool]) -> None:
    """Delete what people were asked, with what they said of it. which: a condition on `TeachItem`"""
    items = [*connection.scalars(select(TeachItem.id).where(which))]
    prompts = [*connection.scalars(select(TeachItem.prompt_id).where(which))]
    for part in chunks(items):
        connection.execute(delete(Lease).where(Lease.item_id.in_(part)))
        connection.execute(delete(TeachItem).where(TeachItem.id.in_(part)))
    # A prompt that others ask about too stays, with what was said of it.
    prompts = [*{*prompts} - {*connection.scalars(select(TeachItem.prompt_id))}]
    for part in chunks(prompts):
        assignments = select(Assignment.id).where(Assignment.prompt_id.in_(part))
        connection.execute(delete(Judgement).where(Judgement.assignment_id.in_(assignments)))
        connection.execute(delete(Assignment).where(Assignment.prompt_id.in_(part)))
        connection.execute(delete(Generation).where(Generation.prompt_id.in_(part)))
        connection.execute(delete(Prompt).where(Prompt.id.in_(part)))
