"""What the database holds, the same on SQLite and PostgreSQL.

Runs and artefacts form a graph: `run_input` and `run_output` are its edges, and lineage is a walk along them.
Prompts, generations, assignments and judgements are what people do; a snapshot freezes judgements into a file.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Double, ForeignKey, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


def now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always with its time zone. SQLite keeps none, so it is UTC that is written and read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value}: a time without a time zone; use datetime.now(UTC)")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # A list or a mapping is JSON; `Text` and not VARCHAR, since no length here has a meaning.
    type_annotation_map = {  # noqa: RUF012
        str: Text,
        float: Double,
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        list[str]: JSON,
        list[int]: JSON,
        list[dict[str, str]]: JSON,
    }


class Run(Base):
    """One execution of one stage; its folder is `runs/<id>`."""

    __tablename__ = "run"

    id: Mapped[str] = mapped_column(primary_key=True)
    """For example 0007-ppo."""
    number: Mapped[int] = mapped_column(unique=True)
    label: Mapped[str]
    stage: Mapped[str]
    recipe: Mapped[str]
    status: Mapped[str]
    """running | done | failed | stopped"""
    fingerprint: Mapped[str] = mapped_column(index=True)
    """What would have to change for the stage to run again: see `ledger.fingerprint`."""
    settings: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[str]
    """Of Malmoi."""
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float] = mapped_column(default=0.0)
    """Time at work, over all sittings of a run that was interrupted and resumed."""
    error: Mapped[str | None]


class Artefact(Base):
    """Contents, named by their hash. Two runs that make the same bytes make the same artefact."""

    __tablename__ = "artefact"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    n_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now)


class RunOutput(Base):
    """A run made an artefact, under this name and at this place. The latest of a name is the one to use."""

    __tablename__ = "run_output"

    id: Mapped[int] = mapped_column(primary_key=True)
    """Grows with time: what a run takes in was always recorded before what it makes."""
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), index=True)
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(ForeignKey("artefact.sha256"), index=True)
    path: Mapped[str]
    """Relative to the workspace; absolute for what lies outside it."""


class RunInput(Base):
    """A run took in an artefact, in this role."""

    __tablename__ = "run_input"

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("artefact.sha256"), index=True)


class Person(Base):
    """Someone who judges. A simulated labeler is named as one, and its rule is written down."""

    __tablename__ = "person"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    """human | simulated"""
    description: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Prompt(Base):
    __tablename__ = "prompt"

    id: Mapped[str] = mapped_column(primary_key=True)
    messages: Mapped[list[dict[str, str]]]
    """[{"role", "content"}, …], ending with what is to be answered."""
    lang: Mapped[str]
    """BCP 47; `und` where nobody said."""
    source: Mapped[str]
    split: Mapped[str]
    item: Mapped[str]
    kind: Mapped[str]


class Generation(Base):
    """One answer to a prompt, with all that is needed to make it again."""

    __tablename__ = "generation"

    id: Mapped[str] = mapped_column(primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompt.id"), index=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), index=True)
    model_sha256: Mapped[str] = mapped_column(ForeignKey("artefact.sha256"), index=True)
    text: Mapped[str] = mapped_column(JSON)
    """As a JSON string: a byte-level model may write NUL, which PostgreSQL's text cannot hold."""
    token_ids: Mapped[list[int]]
    temperature: Mapped[float]
    top_p: Mapped[float]
    seed: Mapped[int] = mapped_column(BigInteger)
    max_tokens: Mapped[int]
    finish_reason: Mapped[str]
    """stop: the model ended its turn; length: it was cut off."""


class Assignment(Base):
    """What one person was shown: a prompt and its answers, in this order."""

    __tablename__ = "assignment"

    id: Mapped[str] = mapped_column(primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompt.id"), index=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    generation_ids: Mapped[list[str]]
    guideline_version: Mapped[str]
    issued_at: Mapped[datetime] = mapped_column(default=now)


class Judgement(Base):
    """What the person said. Never updated, and the database sees to it: a correction is the next version."""

    __tablename__ = "judgement"
    __table_args__ = (UniqueConstraint("assignment_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    assignment_id: Mapped[str] = mapped_column(ForeignKey("assignment.id"))
    version: Mapped[int]
    """1, 2, …; the latest counts."""
    ranks: Mapped[list[int]]
    """Competition ranks of the answers in shown order, 1 = best; empty when unrankable."""
    unrankable: Mapped[bool]
    likert: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """1 to 7 for each answer."""
    flags: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """A list of flag names for each answer."""
    notes: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """A remark for each answer."""
    confidence: Mapped[float | None]
    """0 to 1."""
    active_ms: Mapped[int | None]
    app_version: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Snapshot(Base):
    """Judgements frozen into a file; the file is an artefact of the run that froze them."""

    __tablename__ = "snapshot"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    filter: Mapped[dict[str, Any]]
    counts: Mapped[dict[str, Any]]
    """{"judgements", "prompts", "pairs", "people": {person id: judgements}}"""
    path: Mapped[str]
    """Relative to the workspace; absolute for what lies outside it."""
    created_at: Mapped[datetime] = mapped_column(default=now)
