"""What there is to learn from: what people said by one moment, with a cap for each person.

The same moment gives the same rows, however much is said later; what somebody withdrew is gone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select

from malmoi.data.comparisons import EDITED
from malmoi.data.formats import tree_of
from malmoi.feedback.asked import N_DROPPED
from malmoi.feedback.judgements import SnapshotFilter, answer_pairs, judged_rows
from malmoi.feedback.said import (
    COMPARED,
    better_rows,
    compared_pairs,
    edited_pairs,
    n_waiting_votes,
    voted_rows,
    written_rows,
)
from malmoi.workspace.base import now
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.service_schema import Chat, TeachItem
from malmoi.workspace.versions import people_names

Whose = Literal["people", "simulated", "all"]
SIMULATED: dict[Whose, bool | None] = {"people": False, "simulated": True, "all": None}
HELD_OUT = 0.2
"""Share of the prompts whose rankings measure the reward model."""
LEAST_CAP = 20
USUAL_RANKINGS = 50
"""Rankings that usually make a difference."""
GATE = "gate"
"""Split of prompts that only the gate may use."""


RANKED = "rankings"
"""Source of what was ranked under Teach, or by a program."""


@dataclass(frozen=True)
class Lesson:
    """What to learn from.

    train, heldout: rankings as `freeze` writes them, with their source; a question is on one side only
    demonstrations: answers that people wrote, {"messages", "person", …}; votes: see `voted_rows`; none is of a question
    that is held out
    people: [{"id", "name", "n", "n_left_out", "simulated"}], of rankings, most first
    cap: most rankings of one person, None: no cap
    n_withheld_chats: chats that may not teach; n_waiting_votes: 👎 that nobody has ranked yet
    """

    train: list[dict[str, Any]]
    heldout: list[dict[str, Any]]
    people: list[dict[str, Any]]
    cap: int | None
    until: datetime
    whose: Whose
    demonstrations: list[dict[str, Any]] = field(default_factory=list)
    votes: list[dict[str, Any]] = field(default_factory=list)
    n_withheld_chats: int = 0
    n_waiting_votes: int = 0

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [*self.train, *self.heldout]

    @property
    def is_empty(self) -> bool:
        """Whether nothing says that one answer is better than another."""
        return not any(len(set(row["ranks"])) > 1 for row in self.train)

    def to_row(self) -> dict[str, Any]:
        """Counts, as pages and commands show them. n_rankings: all comparisons, with those of better answers"""
        of = Counter(row["source"] for row in self.rows)
        n_up = sum(row["label"] for row in self.votes)
        return {
            "n_rankings": len(self.rows), "n_heldout": len(self.heldout),
            "n_pairs": sum(len(answer_pairs(row["ranks"]).ordered) for row in self.rows),
            "n_prompts": len({row["prompt_id"] for row in self.rows}), "people": self.people, "cap": self.cap,
            "n_better": of[EDITED], "n_compared": of[COMPARED], "n_demonstrations": len(self.demonstrations),
            "votes": {"up": n_up, "down": len(self.votes) - n_up}, "n_waiting_votes": self.n_waiting_votes,
            "n_withheld_chats": self.n_withheld_chats, "whose": self.whose, "until": self.until.isoformat(),
        }  # fmt: skip

    @property
    def digest(self) -> str:
        return digest_of([self.train, self.heldout, self.demonstrations, self.votes])


def lesson(ledger: Ledger, whose: Whose, until: datetime) -> Lesson:
    """What these people, or simulated labelers, had said by then. Only people write, compare in chats, and vote."""
    withheld = withheld_prompts(ledger)
    rows = [
        row | {"source": RANKED}
        for row in judged_rows(ledger, SnapshotFilter(simulated=SIMULATED[whose]), until)
        if row["split"] != GATE and row["prompt_id"] not in withheld
    ]
    better, written, votes = [], [], []
    if whose != "simulated":
        better, written, votes = (read(ledger, until) for read in (better_rows, written_rows, voted_rows))
        rows += [*edited_pairs([*better, *written]), *compared_pairs(ledger, until)]
    cap = cap_of(Counter(row["person"] for row in rows))
    kept = capped(rows, cap)
    heldout = held_out(kept)

    def learned(others: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        within = capped(others, cap_of(Counter(row["person"] for row in others)))
        return [row for row in within if not (tree_of(row["messages"]) in heldout or is_held_out(row["messages"]))]

    return Lesson(
        [row for row in kept if tree_of(row["messages"]) not in heldout],
        [row for row in kept if tree_of(row["messages"]) in heldout],
        _people(ledger, rows, kept), cap, until, whose,
        [_demonstration(row) for row in learned([*better, *written])], learned(votes),
        n_withheld_chats(ledger), n_waiting_votes(ledger),
    )  # fmt: skip


def _people(ledger: Ledger, rows: Sequence[dict[str, Any]], kept: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    used = Counter(row["person"] for row in kept)
    simulated = {row["person"] for row in rows if row["simulated"]}
    with ledger.engine.connect() as connection:
        names = people_names(connection)
    return [
        {"id": id, "name": names.get(id, id), "n": used[id], "n_left_out": n - used[id], "simulated": id in simulated}
        for id, n in Counter(row["person"] for row in rows).most_common()
    ]


def _demonstration(row: Mapping[str, Any]) -> dict[str, Any]:
    """A conversation with the answer that a person wrote."""
    # Earlier answers were not written by this person, and are only read.
    read = [{**one, "trained": False} if one["role"] == "assistant" else one for one in row["messages"]]
    said = [*read, {"role": "assistant", "content": row["answer"]}]
    kept = {name: row[name] for name in ("prompt_id", "person", N_DROPPED) if name in row}
    return {**kept, "messages": said, "origin": "human"}


def withheld_prompts(ledger: Ledger) -> set[str]:
    """Ids of questions that come from chats which may not teach."""
    query = select(TeachItem.prompt_id).join(Chat, Chat.id == TeachItem.chat_id).where(Chat.may_teach.is_(False))
    with ledger.engine.connect() as connection:
        return set(connection.scalars(query))


def n_withheld_chats(ledger: Ledger) -> int:
    """Chats that may not teach."""
    with ledger.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Chat).where(Chat.may_teach.is_(False))) or 0


def n_rankings(ledger: Ledger) -> int:
    """How many rankings of people there are to learn from now: what Improve would learn from, and says."""
    return len(lesson(ledger, "people", now()).rows)


def cap_of(counts: Mapping[str, int]) -> int | None:
    """Most rankings of one person: as many as all others have made together, so that nobody decides for all.

    None if only one person ranked: there is nobody else to be heard.
    """
    if len(counts) < 2:
        return None
    most = max(counts.values())
    return max(LEAST_CAP, sum(counts.values()) - most)


def capped(rows: Sequence[dict[str, Any]], cap: int | None) -> list[dict[str, Any]]:
    """At most `cap` rows of each person. Which ones depends on their contents, and not on when they were made."""
    if cap is None:
        return list(rows)
    order = sorted(range(len(rows)), key=lambda i: digest_of([rows[i]["prompt_id"], rows[i].get("generation_ids")]))
    n_of: Counter[str] = Counter()
    kept = set()
    for place in order:
        n_of[rows[place]["person"]] += 1
        if n_of[rows[place]["person"]] <= cap:
            kept.add(place)
    return [row for place, row in enumerate(rows) if place in kept]


def held_out(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Questions to measure on, as `tree_of` names them: those held out before, and a fixed share of the others.

    The same question is always on the same side, whatever is ranked later.
    """
    return {
        tree_of(row["messages"]) for row in rows if row["split"] == "heldout" or is_held_out(row["messages"])
    }  # fmt: skip


def is_held_out(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a question is of the share that is held out, by its hash."""
    return int(digest_of(tree_of(messages))[:8], 16) < int(HELD_OUT * 16**8)
