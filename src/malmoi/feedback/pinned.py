"""Pinned questions: every version is asked them, and a candidate must not lose what the version in service knows.

A question may say what a right answer holds. What only people can judge is shown, and counts for nothing.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update

from malmoi.feedback.chats import checked_text
from malmoi.feedback.refusals import invalid, missing
from malmoi.text import canonical_question
from malmoi.workspace.database import writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.ring_schema import PinnedQuestion, VersionAnswer
from malmoi.workspace.schema import now
from malmoi.workspace.versions import Version, people_names

MARGIN = 0.05
"""Share of the pinned questions that a candidate may lose, net of those that it wins, and still be put in service."""
LONGEST, MOST, MOST_WORDS = 1000, 200, 8


@dataclass(frozen=True)
class Regression:
    """A candidate next to the version in service on the pinned questions that say what a right answer holds.

    n: questions that both were asked; candidate, in_service: how many each answers correctly
    lost, won: [{"question", "must", "candidate", "in_service"}]
    unasked: pinned questions that one of them was not asked
    """

    n: int
    candidate: int
    in_service: int
    lost: list[dict[str, Any]]
    won: list[dict[str, Any]]
    unasked: int

    @property
    def fell(self) -> bool:
        """Whether the candidate loses more than the margin."""
        return self.in_service - self.candidate > MARGIN * self.n

    def to_row(self) -> dict[str, Any]:
        return {**vars(self), "margin": MARGIN, "fell": self.fell}


def pin(ledger: Ledger, text: str, must: Iterable[str] = (), person_id: str | None = None) -> dict[str, Any]:
    """Pin a question. must: words that a right answer holds, all of them; none: it is only shown

    Raises RefusedError for a question without a word, or one that is pinned already.
    """
    text = checked_text(text, "text", may_be_empty=False).strip()
    words = [word for one in must if (word := checked_text(one, "must").strip())]
    if len(text) > LONGEST or len(words) > MOST_WORDS or any(len(word) > LONGEST for word in words):
        raise invalid("text", f"expected at most {LONGEST} characters, and {MOST_WORDS} words to hold")
    known = pinned_questions(ledger)
    if any(canonical_question(one["text"]) == canonical_question(text) for one in known):
        raise invalid("text", "this question is pinned already")
    if len(known) >= MOST:
        raise invalid("text", f"at most {MOST} questions are pinned; take some out first")
    row: dict[str, Any] = {"id": f"q-{secrets.token_hex(8)}", "text": text, "must": words, "person_id": person_id}
    with writing(ledger.engine) as connection:
        connection.execute(insert(PinnedQuestion), row)
    return find_pinned(ledger, row["id"])


def unpin(ledger: Ledger, id: str) -> None:
    """Take a question out; it counts no more. Raises RefusedError if it is not pinned."""
    find_pinned(ledger, id)
    with writing(ledger.engine) as connection:
        connection.execute(update(PinnedQuestion).where(PinnedQuestion.id == id).values(withdrawn_at=now()))


def find_pinned(ledger: Ledger, id: str) -> dict[str, Any]:
    """See `pinned_questions`. Raises RefusedError if it is not pinned."""
    for one in pinned_questions(ledger):
        if one["id"] == id:
            return one
    raise missing("pinned question", id, "malmoi versions pinned lists them")


def pinned_questions(ledger: Ledger) -> list[dict[str, Any]]:
    """What is pinned, oldest first: {"id", "text", "must", "by", "created_at"}."""
    query = select(PinnedQuestion.__table__).where(PinnedQuestion.withdrawn_at.is_(None))
    with ledger.engine.connect() as connection:
        names = people_names(connection)
        rows = connection.execute(query.order_by(PinnedQuestion.created_at, PinnedQuestion.id)).all()
    return [
        {"id": row.id, "text": row.text, "must": row.must, "by": names.get(row.person_id, row.person_id),
         "created_at": row.created_at.isoformat()}
        for row in rows
    ]  # fmt: skip


def messages_of(question: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"role": "user", "content": question["text"]}]


def unasked(ledger: Ledger, version: Version) -> list[dict[str, Any]]:
    """Pinned questions that this version has not been asked."""
    known = answers_to_pinned(ledger, version)
    return [one for one in pinned_questions(ledger) if one["id"] not in known]


def record_pinned(ledger: Ledger, version: Version, said: Sequence[tuple[str, str]]) -> None:
    """Record answers of a version. said: [(id of the question, text)]"""
    rows = [{"version": version.number, "question_id": id, "text": text} for id, text in said]
    if rows:
        with writing(ledger.engine) as connection:
            connection.execute(insert(VersionAnswer), rows)


def answers_to_pinned(ledger: Ledger, version: Version) -> dict[str, str]:
    """Question -> what this version answered last."""
    latest = select(func.max(VersionAnswer.id)).where(VersionAnswer.version == version.number)
    query = select(VersionAnswer.question_id, VersionAnswer.text)
    query = query.where(VersionAnswer.id.in_(latest.group_by(VersionAnswer.question_id)))
    with ledger.engine.connect() as connection:
        return {row.question_id: row.text for row in connection.execute(query)}


def is_right(answer: str, must: Sequence[str]) -> bool:
    """Whether an answer holds all these words, in any case and spacing."""
    said = canonical_question(answer)
    return all(canonical_question(word) in said for word in must)


def regression(ledger: Ledger, candidate: Version, against: Version) -> Regression:
    """What a candidate loses and wins on the pinned questions."""
    ours, theirs = (answers_to_pinned(ledger, version) for version in (candidate, against))
    lost: list[dict[str, Any]] = []
    won: list[dict[str, Any]] = []
    n_right, n, n_unasked = [0, 0], 0, 0
    for one in pinned_questions(ledger):
        if one["id"] not in ours or one["id"] not in theirs:
            n_unasked += 1
            continue
        if not one["must"]:
            continue
        n += 1
        right = [is_right(said[one["id"]], one["must"]) for said in (ours, theirs)]
        n_right = [count + is_one for count, is_one in zip(n_right, right, strict=True)]
        if right[0] != right[1]:
            texts = {"candidate": ours[one["id"]], "in_service": theirs[one["id"]]}
            (won if right[0] else lost).append({"question": one["text"], "must": one["must"], **texts})
    return Regression(n, n_right[0], n_right[1], lost, won, n_unasked)
