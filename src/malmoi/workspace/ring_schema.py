"""The tables of the ring: versions of the assistant, which of them serves, jobs that improve it, blind comparisons.

What was decided and what was said is never updated: a correction is a new row, and the latest counts.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from malmoi.workspace.schema import Base, now


class VersionRow(Base):
    """What can be put in service: weights, or weights with a reward model that picks the best of n answers."""

    __tablename__ = "version"

    number: Mapped[int] = mapped_column(primary_key=True)
    """People call it v3."""
    how: Mapped[str]
    """first | best-of-n | train | added"""
    model: Mapped[str]
    """The policy's name, for people."""
    policy_sha256: Mapped[str] = mapped_column(index=True)
    policy_path: Mapped[str]
    """Relative to the workspace; absolute if it is outside."""
    reward_sha256: Mapped[str | None]
    reward_path: Mapped[str | None]
    n: Mapped[int | None]
    """Answers of which the reward model picks one."""
    temperature: Mapped[float | None]
    """Of the answers after the first; the first is sampled as the policy by itself is."""
    index_sha256: Mapped[str | None]
    """What was looked up in when the version was made; answers always use the workspace's index as it is."""
    came_from: Mapped[int | None] = mapped_column(ForeignKey("version.number"))
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    person_id: Mapped[str | None]
    learned: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """From what: counts of rankings, by the id of each person. No names: nothing here is ever changed."""
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(default=now)


class DeploymentRow(Base):
    """A decision about a version. Which version serves is what the latest `promote` or `rollback` says."""

    __tablename__ = "deployment"

    id: Mapped[int] = mapped_column(primary_key=True)
    act: Mapped[str]
    """promote | rollback | refuse"""
    version: Mapped[int] = mapped_column(ForeignKey("version.number"), index=True)
    instead_of: Mapped[int | None] = mapped_column(ForeignKey("version.number"))
    """The version that was in service before."""
    person_id: Mapped[str | None]
    """None: at the terminal."""
    knowingly: Mapped[bool]
    """Promoted though it was not known whether it is better."""
    verdict: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(default=now)


class JobRow(Base):
    """Work that a process of its own does, one after the other."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """improve"""
    settings: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(index=True)
    """queued | running | stopped | failed | done | thrown_away"""
    place: Mapped[float]
    """The queue is in this order."""
    asked: Mapped[str | None]
    """stop | throw_away: what a person wants of the running job."""
    person_id: Mapped[str | None]
    n_begun: Mapped[int]
    """How often a process has begun or resumed it."""
    pid: Mapped[int | None] = mapped_column(BigInteger)
    progress: Mapped[dict[str, Any]]
    error: Mapped[str | None]
    version: Mapped[int | None]
    """The candidate that it made."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]


class GateComparison(Base):
    """Two answers to one question, of a candidate and of the version in service, in the order in which they are shown.

    The hashes are of the weights that answered.
    """

    __tablename__ = "gate_comparison"

    id: Mapped[str] = mapped_column(primary_key=True)
    candidate: Mapped[int] = mapped_column(ForeignKey("version.number"), index=True)
    against: Mapped[int] = mapped_column(ForeignKey("version.number"), index=True)
    prompt: Mapped[str]
    """Names the question: prompts that are alike have the same name."""
    messages: Mapped[list[dict[str, Any]]]
    """Of the conversation; the last is the question."""
    shown: Mapped[list[dict[str, Any]]]
    """Two: {"version", "text", "policy_sha256", "reward_sha256", "n", "index_sha256", "quoted", "seed"}"""
    person_id: Mapped[str]
    """To whom it is shown."""
    alike: Mapped[bool]
    """Both answered with the same text, so that nobody is asked."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class GateJudgement(Base):
    """What a person said of a comparison."""

    __tablename__ = "gate_judgement"
    __table_args__ = (UniqueConstraint("comparison_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    """Increases with time: the verdict takes comparisons in this order."""
    comparison_id: Mapped[str] = mapped_column(ForeignKey("gate_comparison.id"))
    answer: Mapped[str]
    """a | b | tie | both_bad"""
    created_at: Mapped[datetime] = mapped_column(default=now)


class PinnedQuestion(Base):
    """A question that every version is asked."""

    __tablename__ = "pinned_question"

    id: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    must: Mapped[list[str]]
    """Words that a right answer holds; none: it is only shown."""
    person_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    withdrawn_at: Mapped[datetime | None]


class VersionAnswer(Base):
    """What a version answered to a pinned question. The latest counts."""

    __tablename__ = "version_answer"

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(ForeignKey("version.number"), index=True)
    question_id: Mapped[str] = mapped_column(ForeignKey("pinned_question.id"))
    text: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class GateCheck(Base):
    """What the judge says of a candidate next to the version in service. The latest counts."""

    __tablename__ = "gate_check"

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate: Mapped[int] = mapped_column(ForeignKey("version.number"), index=True)
    against: Mapped[int] = mapped_column(ForeignKey("version.number"))
    judge: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(default=now)
