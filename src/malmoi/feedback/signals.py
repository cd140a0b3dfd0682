"""What people say of answers in their chats: 👍 and 👎 with reasons, and better answers that they write.

Nothing here is copied elsewhere: whether it may be learned from is asked of its chat whenever something learns, so that
consent that is taken back, and a chat that is deleted, count at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from malmoi.feedback import chats
from malmoi.feedback.chats import checked_text, get_chat, get_message
from malmoi.feedback.refusals import RefusedError, invalid
from malmoi.feedback.teach_items import add_disliked
from malmoi.workspace.base import now
from malmoi.workspace.database import writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.service_schema import BetterAnswer, ChatMessage, Vote

UP, DOWN = "up", "down"
REASONS = ("wrong", "off_topic", "unclear", "too_long", "unsafe")
LONGEST_COMMENT = 2000


def vote(
    ledger: Ledger, person_id: str, message_id: str, vote: str | None, reasons: Sequence[str] = (), comment: str = ""
) -> dict[str, Any]:
    """Say what one thinks of an answer; None takes it back. Returns the message as the page shows it.

    With consent, a 👎 brings the question to those who teach. The same again changes nothing.
    Raises RefusedError if the message is no answer in one of this person's chats.
    """
    if vote not in (UP, DOWN, None):
        raise invalid("vote", "expected up, down or nothing")
    if unknown := [reason for reason in reasons if reason not in REASONS]:
        raise invalid("reasons", f"{unknown[0]}: expected some of {', '.join(REASONS)}")
    if len(checked_text(comment, "comment")) > LONGEST_COMMENT:
        raise invalid("comment", f"expected at most {LONGEST_COMMENT} characters", most=LONGEST_COMMENT)
    message = _answer(ledger, person_id, message_id)
    said = {"vote": vote, "reasons": [*dict.fromkeys(reasons)] if vote else [], "comment": comment if vote else ""}
    with writing(ledger.engine) as connection:
        before = _latest(connection, Vote, person_id, Vote.message_id == message_id).get(message_id)
        if {name: getattr(before, name, None) for name in said} != said and (vote or before is not None):
            row = {**said, "message_id": message_id, "person_id": person_id, "created_at": now()}
            connection.execute(insert(Vote).values(row))
    if vote == DOWN and get_chat(ledger, person_id, message["chat"])["may_teach"]:
        add_disliked(ledger, person_id, message["chat"], message)
    return signalled(ledger, person_id, message["chat"], [_answer(ledger, person_id, message_id)])[0]


def write_better(ledger: Ledger, person_id: str, message_id: str, text: str) -> dict[str, Any]:
    """Write the answer that should have been given. Raises RefusedError as `vote`, or if there is no text."""
    text = checked_text(text, "text", may_be_empty=False)
    return _add_better(ledger, person_id, message_id, text.strip(), withdrawn=False)


def withdraw_better(ledger: Ledger, person_id: str, message_id: str) -> dict[str, Any]:
    """Take the better answer back: it works and teaches no more."""
    return _add_better(ledger, person_id, message_id, "", withdrawn=True)


def _add_better(ledger: Ledger, person_id: str, message_id: str, text: str, withdrawn: bool) -> dict[str, Any]:
    message = _answer(ledger, person_id, message_id)
    with writing(ledger.engine) as connection:
        before = _latest(connection, BetterAnswer, person_id, BetterAnswer.message_id == message_id).get(message_id)
        is_same = before is not None and (before.text, before.withdrawn) == (text, withdrawn)
        if not is_same and not (withdrawn and before is None):
            row = {"message_id": message_id, "person_id": person_id, "text": text, "withdrawn": withdrawn}
            connection.execute(insert(BetterAnswer).values(**row, created_at=now()))
    return signalled(ledger, person_id, message["chat"], [message])[0]


def signalled(
    ledger: Ledger, person_id: str, chat_id: str, messages: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Messages of a chat with what this person said of them: `vote` and `better`."""
    may_teach = get_chat(ledger, person_id, chat_id)["may_teach"]
    inside = select(ChatMessage.id).where(ChatMessage.chat_id == chat_id)
    with ledger.engine.connect() as connection:
        votes = _latest(connection, Vote, person_id, Vote.message_id.in_(inside))
        better = _latest(connection, BetterAnswer, person_id, BetterAnswer.message_id.in_(inside))
    found = []
    for message in messages:
        one, other = votes.get(message["id"]), better.get(message["id"])
        said = {name: getattr(one, name) for name in ("vote", "reasons", "comment")} if one and one.vote else None
        if said is not None:
            said["goes_to"] = "teach" if may_teach and said["vote"] == DOWN else "nowhere"
        wrote = {"text": other.text, "created_at": other.created_at} if other and not other.withdrawn else None
        if wrote is not None:
            wrote |= {"withdrawn": False, "teaches": may_teach}
        found.append({**message, "vote": said, "better": wrote})
    return found


def change_chat(ledger: Ledger, person_id: str, chat_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """As `chats.change_chat`; questions whose answers were disliked come to those who teach once the chat may teach."""
    changed = chats.change_chat(ledger, person_id, chat_id, values)
    if values.get("may_teach"):
        for message in signalled(ledger, person_id, chat_id, chats.messages_of(ledger, person_id, chat_id)):
            if message["vote"] is not None and message["vote"]["vote"] == DOWN:
                add_disliked(ledger, person_id, chat_id, message)
    return changed


def _answer(ledger: Ledger, person_id: str, message_id: str) -> dict[str, Any]:
    message = get_message(ledger, person_id, message_id)
    if message["role"] != "assistant":
        raise RefusedError("invalid", "only answers are judged", "id")
    return message


def _latest(connection: Connection, table: Any, person_id: str, which: Any) -> dict[str, Any]:
    """Message -> the latest row of this person."""
    query = select(*table.__table__.c).where(table.person_id == person_id, which).order_by(table.id)
    return {row.message_id: row for row in connection.execute(query)}
