"""Blind comparisons of a candidate with the version in service: what is shown, what is said, and the verdict.

A person sees two answers without names, in a random order. Where both versions answer alike nobody is asked: the
verdict is about the questions that they answer differently.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import insert, select

from malmoi.feedback.gate import Compared, Outcome, Verdict, verdict
from malmoi.feedback.pinned import regression
from malmoi.feedback.refusals import RefusedError, missing
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.ring_schema import GateCheck, GateComparison, GateJudgement
from malmoi.workspace.schema import Person
from malmoi.workspace.versions import Version, prompt_name

Answer = Literal["a", "b", "tie", "both_bad"]
ANSWERS: tuple[Answer, ...] = ("a", "b", "tie", "both_bad")
N_EXAMPLES = 5
HELD_OUT_PEOPLE = 2
"""People from whom the candidate did not learn: if so many compare, it is better only if they find so too."""


@dataclass(frozen=True)
class Spoken:
    """An answer of a version. quoted: the words are the look-up's"""

    version: Version
    text: str
    quoted: bool
    seed: int

    def to_row(self) -> dict[str, Any]:
        version = self.version
        return {
            "version": version.number, "text": self.text, "policy_sha256": version.policy_sha256,
            "reward_sha256": version.reward_sha256, "n": version.n, "quoted": self.quoted, "seed": self.seed,
        }  # fmt: skip


@dataclass(frozen=True)
class GateVerdict:
    """A verdict with what it rests on: see `Verdict`.

    ties, both_bad: of the comparisons; alike: questions that both answered alike
    people: [{"name", "n", "taught"}]; taught: the candidate learned from this person's rankings
    length: mean characters of the answers of both; wins, losses: some to read
    others: what people say from whom the candidate did not learn, {"people", "n", "win_rate", "low", "high"}; None if
    they are too few
    judge: what a reward model says that learned from other prompts than the policy, with its agreement with people. It
    decides nothing
    regression: see `feedback/pinned.py`
    """

    against: str
    verdict: Verdict
    ties: int
    both_bad: int
    alike: int
    people: list[dict[str, Any]]
    length: dict[str, float | None]
    wins: list[dict[str, str]]
    losses: list[dict[str, str]]
    others: dict[str, Any] | None
    judge: dict[str, Any] | None
    regression: dict[str, Any]

    @property
    def outcome(self) -> Outcome:
        """People's, unless it is "better" and only those say so from whom the candidate learned."""
        is_doubted = self.others is not None and self.others["win_rate"] <= 0.5
        return "not known yet" if self.verdict.outcome == "better" and is_doubted else self.verdict.outcome

    def to_row(self) -> dict[str, Any]:
        rest = {name: value for name, value in vars(self).items() if name != "verdict"}
        return {**self.verdict.to_row(), "outcome": self.outcome, **rest}

    def to_record(self) -> dict[str, Any]:
        """What history always keeps: without the words of anybody, who may have them deleted."""
        return {name: value for name, value in self.to_row().items() if name not in ("wins", "losses", "people")}


def record_comparison(
    ledger: Ledger, messages: Sequence[Mapping[str, Any]], candidate: Spoken, against: Spoken, person_id: str
) -> dict[str, Any]:
    """Record two answers, in a random order; returns the row of the comparison as it is shown."""
    shown = [candidate.to_row(), against.to_row()]
    random.SystemRandom().shuffle(shown)
    alike = candidate.text.strip() == against.text.strip()
    row = {
        "id": digest_of([random.SystemRandom().getrandbits(128)])[:32], "candidate": candidate.version.number,
        "against": against.version.number, "prompt": prompt_name(messages), "messages": [dict(one) for one in messages],
        "shown": shown, "person_id": person_id, "alike": alike,
    }  # fmt: skip
    with writing(ledger.engine) as connection:
        connection.execute(insert(GateComparison), row)
    return row


def record_answer(ledger: Ledger, comparison_id: str, answer: str, person_id: str) -> tuple[int, int]:
    """Record what the person said; returns the numbers of the candidate and of the other. The same again adds nothing.

    Raises RefusedError for an unknown comparison or answer, and if it was answered otherwise before.
    """
    if answer not in ANSWERS:
        raise RefusedError("invalid", f"answer: expected {', '.join(ANSWERS)}, got {answer!r}", "answer")
    with writing(ledger.engine) as connection:
        lock_table(connection, GateJudgement)
        asked = select(GateComparison.candidate, GateComparison.against)
        asked = asked.where(GateComparison.id == comparison_id, GateComparison.alike.is_(False))
        pair = connection.execute(asked.where(GateComparison.person_id == person_id)).first()
        if pair is None:
            raise missing("comparison")
        said = connection.scalar(select(GateJudgement.answer).where(GateJudgement.comparison_id == comparison_id))
        if said is None:
            connection.execute(insert(GateJudgement), {"comparison_id": comparison_id, "answer": answer})
        elif said != answer:
            raise RefusedError("conflict", f"this comparison was answered before: {said}")
    return pair.candidate, pair.against


def waiting_comparisons(ledger: Ledger, candidate: Version, against: Version, person_id: str) -> list[dict[str, Any]]:
    """The comparisons that this person was shown and has not answered, the oldest first."""
    query = (
        select(GateComparison.__table__)
        .outerjoin(GateJudgement, GateJudgement.comparison_id == GateComparison.id)
        .where(GateComparison.candidate == candidate.number, GateComparison.against == against.number)
        .where(GateComparison.person_id == person_id, GateComparison.alike.is_(False), GateJudgement.id.is_(None))
        .order_by(GateComparison.created_at)
    )
    with ledger.engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def compared_prompts(ledger: Ledger, candidate: Version, against: Version) -> set[str]:
    """Names of the questions that were shown to somebody, or that both answered alike."""
    query = select(GateComparison.prompt)
    query = query.where(GateComparison.candidate == candidate.number, GateComparison.against == against.number)
    with ledger.engine.connect() as connection:
        return set(connection.scalars(query))


def verdict_of(ledger: Ledger, candidate: Version, against: Version) -> GateVerdict:
    """What all comparisons of two versions say."""
    rows = _answered(ledger, candidate, against)
    found = verdict([Compared(row["prompt"], row["score"]) for row in rows])
    named = compared_prompts(ledger, candidate, against)
    n_alike = len(named - {row["prompt"] for row in _shown(ledger, candidate, against)})
    lengths = {side: [len(row[side]) for row in rows] for side in ("candidate", "in_service")}
    mean = {side: sum(values) / len(values) if values else None for side, values in lengths.items()}
    answers = Counter(row["answer"] for row in rows)
    taught = {one["id"] for one in (candidate.learned or {}).get("people", [])}
    people = Counter((row["person_id"], row["name"]) for row in rows)
    said = [{"name": name, "n": n, "taught": person in taught} for (person, name), n in people.most_common()]
    wins, losses = ([_to_read(row) for row in rows if row["score"] == score][-N_EXAMPLES:] for score in (1, 0))
    return GateVerdict(
        against.name, found, answers["tie"], answers["both_bad"], n_alike, said, mean, wins, losses,
        _others([row for row in rows if row["person_id"] not in taught]), _judged(ledger, candidate, against),
        regression(ledger, candidate, against).to_row(),
    )  # fmt: skip


def _others(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The verdict of people from whom the candidate did not learn; None if they are fewer than `HELD_OUT_PEOPLE`."""
    people = {row["person_id"] for row in rows}
    if len(people) < HELD_OUT_PEOPLE:
        return None
    found = verdict([Compared(row["prompt"], row["score"]) for row in rows]).to_row()
    return {"people": len(people), **{name: found[name] for name in ("n", "win_rate", "low", "high")}}


def _judged(ledger: Ledger, candidate: Version, against: Version) -> dict[str, Any] | None:
    """The judge's verdict, next to how far it agrees with people. counts: whether it knows more than its baselines"""
    about = (candidate.report or {}).get("judge")
    query = select(GateCheck.judge).where(GateCheck.candidate == candidate.number, GateCheck.against == against.number)
    with ledger.engine.connect() as connection:
        found = connection.scalar(query.order_by(GateCheck.id.desc()).limit(1))
    if not about or not found:
        return None
    return {**found, **{name: about[name] for name in ("accuracy", "n_pairs", "baselines", "alarm", "counts")}}


def _answered(ledger: Ledger, candidate: Version, against: Version) -> list[dict[str, Any]]:
    """Every answered comparison in the order of the answers, with the candidate's score and both texts."""
    query = (
        select(GateJudgement.answer, GateComparison.__table__, Person.name)
        .join(GateComparison, GateComparison.id == GateJudgement.comparison_id)
        .outerjoin(Person, Person.id == GateComparison.person_id)
        .where(GateComparison.candidate == candidate.number, GateComparison.against == against.number)
        .order_by(GateJudgement.id)
    )
    with ledger.engine.connect() as connection:
        found = [dict(row) for row in connection.execute(query).mappings()]
    return [_scored(row, candidate.number) for row in found]


def _shown(ledger: Ledger, candidate: Version, against: Version) -> list[dict[str, Any]]:
    query = select(GateComparison.prompt).where(GateComparison.alike.is_(False))
    query = query.where(GateComparison.candidate == candidate.number, GateComparison.against == against.number)
    with ledger.engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _scored(row: dict[str, Any], candidate: int) -> dict[str, Any]:
    place = 0 if row["shown"][0]["version"] == candidate else 1
    score = 0.5 if row["answer"] in ("tie", "both_bad") else float(row["answer"] == "ab"[place])
    texts = {"candidate": row["shown"][place]["text"], "in_service": row["shown"][1 - place]["text"]}
    return {**row, **texts, "score": score, "name": row["name"] or row["person_id"]}


def _to_read(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "question": row["messages"][-1]["content"], "candidate": row["candidate"], "in_service": row["in_service"]
    }  # fmt: skip
