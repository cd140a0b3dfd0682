"""What there is to learn from: rankings by people, with a cap for each person, as they were said by one moment.

The same moment gives the same rows, however much is said later; what somebody withdrew is gone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select

from malmoi.feedback.judgements import SnapshotFilter, answer_pairs, judged_rows
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.schema import Assignment, Judgement, Person
from malmoi.workspace.service_schema import Chat, TeachItem
from malmoi.workspace.versions import people_names

Whose = Literal["people", "simulated", "all"]
SIMULATED: dict[Whose, bool | None] = {"people": False, "simulated": True, "all": None}
HELD_OUT = 0.2
"""Share of the prompts whose rankings measure the reward model."""
LEAST_CAP = 20
GATE = "gate"
"""Split of prompts that only the gate may use."""


@dataclass(frozen=True)
class Lesson:
    """Rankings to learn from.

    train, heldout: rows as `freeze` writes them; no prompt is in both
    n_withheld_chats: chats that may not teach
    people: [{"id", "name", "n", "n_left_out", "simulated"}], most first; cap: most rankings of one person, None: no cap
    """

    train: list[dict[str, Any]]
    heldout: list[dict[str, Any]]
    people: list[dict[str, Any]]
    cap: int | None
    until: datetime
    whose: Whose
    n_withheld_chats: int = 0

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [*self.train, *self.heldout]

    @property
    def is_empty(self) -> bool:
        """Whether nothing says that one answer is better than another."""
        return not any(len(set(row["ranks"])) > 1 for row in self.train)

    def to_row(self) -> dict[str, Any]:
        """Counts, as pages and commands show them."""
        return {
            "n_rankings": len(self.rows), "n_heldout": len(self.heldout),
            "n_pairs": sum(len(answer_pairs(row["ranks"]).ordered) for row in self.rows),
            "n_prompts": len({row["prompt_id"] for row in self.rows}), "people": self.people, "cap": self.cap,
            "n_withheld_chats": self.n_withheld_chats, "whose": self.whose, "until": self.until.isoformat(),
        }  # fmt: skip

    @property
    def digest(self) -> str:
        return digest_of([self.train, self.heldout])


def lesson(ledger: Ledger, whose: Whose, until: datetime) -> Lesson:
    """What these people, or simulated labelers, had said by then."""
    rows = judged_rows(ledger, SnapshotFilter(simulated=SIMULATED[whose]), until)
    withheld = _withheld_prompts(ledger)
    rows = [row for row in rows if row["split"] != GATE and row["prompt_id"] not in withheld]
    counts = Counter(row["person"] for row in rows)
    cap = cap_of(counts)
    kept = capped(rows, cap)
    used = Counter(row["person"] for row in kept)
    with ledger.engine.connect() as connection:
        names = people_names(connection)
    simulated = {row["person"] for row in rows if row["simulated"]}
    people = [
        {"id": id, "name": names[id], "n": used[id], "n_left_out": n - used[id], "simulated": id in simulated}
        for id, n in counts.most_common()
    ]
    heldout = held_out_prompts(kept)
    return Lesson(
        [row for row in kept if row["prompt_id"] not in heldout], [row for row in kept if row["prompt_id"] in heldout],
        people, cap, until, whose, n_withheld_chats(ledger),
    )  # fmt: skip


def _withheld_prompts(ledger: Ledger) -> set[str]:
    """Questions that come from chats which may not teach."""
    query = select(TeachItem.prompt_id).join(Chat, Chat.id == TeachItem.chat_id).where(Chat.may_teach.is_(False))
    with ledger.engine.connect() as connection:
        return set(connection.scalars(query))


def n_withheld_chats(ledger: Ledger) -> int:
    """Chats that may not teach."""
    with ledger.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Chat).where(Chat.may_teach.is_(False))) or 0


def n_rankings(ledger: Ledger) -> int:
    """How many rankings people have made."""
    query = (
        select(func.count(func.distinct(Judgement.assignment_id)))
        .join(Assignment, Assignment.id == Judgement.assignment_id)
        .join(Person, Person.id == Assignment.person_id)
        .where(Person.kind == "human", Judgement.unrankable.is_(False))
    )
    with ledger.engine.connect() as connection:
        return connection.scalar(query) or 0


def cap_of(counts: Mapping[str, int]) -> int | None:
    """Most rankings of one person: as many as all others have made together, so that nobody decides alone.

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
    order = sorted(range(len(rows)), key=lambda i: digest_of([rows[i]["prompt_id"], rows[i]["generation_ids"]]))
    n_of: Counter[str] = Counter()
    kept = set()
    for place in order:
        n_of[rows[place]["person"]] += 1
        if n_of[rows[place]["person"]] <= cap:
            kept.add(place)
    return [row for place, row in enumerate(rows) if place in kept]


def held_out_prompts(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """Prompts to measure on: those that were held out before, and a fixed share of the others by their names' hash.

    The same prompt is always on the same side, whatever is ranked later.
    """
    prompts = {row["prompt_id"]: row["split"] for row in rows}
    share = int(HELD_OUT * 16**8)
    return {
        prompt for prompt, split in prompts.items() if split == "heldout" or int(digest_of(prompt)[:8], 16) < share
    }  # fmt: skip
