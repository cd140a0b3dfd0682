"""Delete chats with everything that was made of them: answers, votes, and what others said when they were asked."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select

from malmoi.workspace.database import chunks
from malmoi.workspace.ring_schema import GateComparison, GateJudgement
from malmoi.workspace.schema import Answer, Assignment, Generation, Judgement, Prompt
from malmoi.workspace.service_schema import BetterAnswer, Chat, ChatMessage, Comparison, Lease, TeachItem, Vote
from malmoi.workspace.versions import prompt_name


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
    asked: list[Any] = []
    for part in chunks(ids):
        these = Answer.id.in_([int(id) for id in part])
        asked += connection.scalars(select(Answer.messages).where(these))
        connection.execute(delete(Answer).where(these))
    connection.execute(delete(Chat).where(which))
    _delete_comparisons(connection, asked)


def delete_items(connection: Connection, which: ColumnElement[bool]) -> None:
    """Delete what people were asked, with what they said of it. which: a condition on `TeachItem`"""
    items = [*connection.scalars(select(TeachItem.id).where(which))]
    prompts = [*connection.scalars(select(TeachItem.prompt_id).where(which))]
    for part in chunks(items):
        connection.execute(delete(Lease).where(Lease.item_id.in_(part)))
        connection.execute(delete(TeachItem).where(TeachItem.id.in_(part)))
    # A prompt that others ask about too stays, with what was said of it.
    prompts = [*{*prompts} - {*connection.scalars(select(TeachItem.prompt_id))}]
    asked: list[Any] = []
    for part in chunks(prompts):
        asked += connection.scalars(select(Prompt.messages).where(Prompt.id.in_(part)))
        assignments = select(Assignment.id).where(Assignment.prompt_id.in_(part))
        connection.execute(delete(Judgement).where(Judgement.assignment_id.in_(assignments)))
        connection.execute(delete(Assignment).where(Assignment.prompt_id.in_(part)))
        connection.execute(delete(Generation).where(Generation.prompt_id.in_(part)))
        connection.execute(delete(Prompt).where(Prompt.id.in_(part)))
    _delete_comparisons(connection, asked)


def _delete_comparisons(connection: Connection, asked: Iterable[Sequence[Mapping[str, Any]]]) -> None:
    """Delete blind comparisons that ask deleted questions, with their judgements, unless others ask the same."""
    names, gone = {prompt_name(messages) for messages in asked}, set[str]()
    for part in chunks([*names]):
        gone |= {*connection.scalars(select(GateComparison.prompt).where(GateComparison.prompt.in_(part)))}
    if gone:
        for table in (Answer, Prompt):
            gone -= {prompt_name(messages) for messages in connection.scalars(select(table.messages))}
    for part in chunks([*gone]):
        comparisons = select(GateComparison.id).where(GateComparison.prompt.in_(part))
        connection.execute(delete(GateJudgement).where(GateJudgement.comparison_id.in_(comparisons)))
        connection.execute(delete(GateComparison).where(GateComparison.prompt.in_(part)))
