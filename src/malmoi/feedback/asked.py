"""What an answer of a chat was asked: the conversation of then, with the documents that its prompt had.

What is learned from the answer is trained on this, so that a model reads in training what it reads in service.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from malmoi.feedback.chats import conversation
from malmoi.feedback.refusals import missing
from malmoi.inference.grounded import with_documents
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Answer
from malmoi.workspace.service_schema import ChatMessage

N_DROPPED = "n_dropped"
IMPORTED = " (imported)"
"""How the voice of an answer ends that was given elsewhere: only its question is recorded with it."""


@dataclass(frozen=True)
class Asked:
    """messages: the last one is the question; n_dropped: how many of the oldest did not fit into the prompt"""

    messages: list[dict[str, Any]]
    n_dropped: int = 0

    def to_row(self) -> dict[str, Any]:
        """As part of a row to learn from."""
        return {"messages": self.messages} | ({N_DROPPED: self.n_dropped} if self.n_dropped else {})


def asked_of(ledger: Ledger, person_id: str, chat_id: str, message_id: str) -> Asked:
    """What an answer was asked. Raises RefusedError if it is no answer in a chat of this person."""
    query = select(ChatMessage.parent_id, ChatMessage.figures, Answer.messages, Answer.documents, Answer.voice)
    query = query.join(Answer, Answer.id == ChatMessage.answer_id, isouter=True)
    with ledger.engine.connect() as connection:
        row = connection.execute(query.where(ChatMessage.id == message_id, ChatMessage.chat_id == chat_id)).first()
    if row is None or row.parent_id is None:
        raise missing("message")
    said = None if (row.voice or "").endswith(IMPORTED) else row.messages
    return _asked(conversation(ledger, person_id, chat_id, row.parent_id), said, row.documents, row.figures)


def asked_in_comparison(
    ledger: Ledger, person_id: str, chat_id: str, parent: str, answers: Sequence[Mapping[str, Any]]
) -> Asked:
    """What two answers of a comparison were asked. Where only one looked up, what that one read: so it is in service.

    answers: as `Comparison` has them
    """
    first = max(answers, key=lambda one: (one["answer"] or {}).get("documents") is not None)
    said = first["answer"] or {}
    plain = conversation(ledger, person_id, chat_id, parent)
    return _asked(plain, said.get("messages"), said.get("documents"), first["figures"])


def _asked(
    plain: Sequence[Mapping[str, Any]], said: Sequence[Mapping[str, Any]] | None,
    documents: Sequence[Mapping[str, str]] | None, figures: Mapping[str, Any] | None,
) -> Asked:  # fmt: skip
    """plain: the conversation as the chat has it now; said: as it was recorded with the answer, if it was given here"""
    if not said or said[-1]["content"] != plain[-1]["content"]:
        said = plain
    return Asked([dict(one) for one in with_documents(said, documents)], int((figures or {}).get(N_DROPPED, 0)))
