"""Answers that people were given in `chat` and `ask`: recorded with their sources, and followed down to the text."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy.orm import Session

from malmoi import __version__
from malmoi.errors import UserError, WorkspaceError
from malmoi.workspace.database import writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Answer

INSERT = insert(Answer)
"""Made once: to make it costs as much as to use it."""
NAMED = re.compile(r"answer-([1-9][0-9]{0,17})")


@dataclass(frozen=True)
class NewAnswer:
    """An answer to record; see `schema.Answer`."""

    messages: Sequence[Mapping[str, Any]]
    text: str
    voice: str
    model_sha256: str | None = None
    index_sha256: str | None = None
    index_place: str | None = None
    sources: Sequence[Mapping[str, Any]] = ()
    supported: bool | None = None
    quoted: bool = False
    sampling: Mapping[str, Any] = field(default_factory=dict)
    documents: Sequence[Mapping[str, str]] | None = None


def record_answer(ledger: Ledger, answer: NewAnswer) -> str:
    """Record an answer; returns its name, such as answer-12. Raises WorkspaceError if the ledger cannot be written."""
    with writing(ledger.engine) as connection:
        return name_of(insert_answer(connection, answer))


def name_of(number: int) -> str:
    """What an answer is called."""
    return f"answer-{number}"


def insert_answer(connection: Connection, answer: NewAnswer) -> int:
    """Record an answer within a transaction; returns its number."""
    row = vars(answer) | {"messages": [*map(dict, answer.messages)], "sources": [*map(dict, answer.sources)]}
    row["documents"] = None if answer.documents is None else [*map(dict, answer.documents)]
    made = connection.execute(INSERT, row | {"sampling": dict(answer.sampling), "version": __version__})
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


def is_answer(name: str) -> bool:
    """Whether this is how an answer is called."""
    return NAMED.fullmatch(name) is not None


def find_answer(ledger: Ledger, name: str) -> Answer:
    """A recorded answer by its name. Raises WorkspaceError."""
    named = NAMED.fullmatch(name)
    with Session(ledger.engine, expire_on_commit=False) as session:
        found = session.get(Answer, int(named[1])) if named else None
        if found is None:
            last = session.scalar(select(Answer.id).order_by(Answer.id.desc()).limit(1))
            known = f"the latest is answer-{last}" if last else "no answer is recorded here yet"
            raise WorkspaceError(f"{name}: no such answer in this workspace; {known}")
    return found


class Recorder:
    """Records answers in a workspace's ledger. Where that is impossible, `problem` says why, and nothing is recorded.

    The ledger is opened at the first answer.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.problem = "" if workspace.exists else "there is no workspace here"
        if not self.problem and not os.access(workspace.path, os.W_OK):
            self.problem = f"{workspace.path} may not be written"

    def record(self, answer: NewAnswer) -> str | None:
        """The answer's name; None if it could not be recorded."""
        if self.problem:
            return None
        try:
            with Ledger.open(self.workspace) as ledger:
                return record_answer(ledger, answer)
        except UserError as error:
            self.problem = str(error)
            return None
