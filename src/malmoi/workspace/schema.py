"""The tables of the database, the same on SQLite and PostgreSQL.

Runs and artefacts are a graph with the edges `run_input` and `run_output`; lineage follows these edges. Prompts,
generations, assignments and judgements record what people are asked and answer. A snapshot is a file of judgements
that never changes. An answer is what a person was told in a chat, with the passages that it comes from.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from malmoi.workspace import drawing_schema, label_schema, service_schema  # noqa: F401  # tables of the same database
from malmoi.workspace.base import Base, UtcDateTime, now

__all__ = [
    "Answer", "Artefact", "Assignment", "Base", "Generation", "Judgement", "Person", "Prompt", "Run", "RunInput",
    "RunOutput", "Snapshot", "UtcDateTime", "now",
]  # fmt: skip


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
    """Names the work; a finished stage runs again only if this changes. See `ledger.fingerprint`."""
    settings: Mapped[dict[str, Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[str]
    """Of Malmoi."""
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float] = mapped_column(default=0.0)
    """Time at work, before and after interruptions."""
    error: Mapped[str | None]
    host: Mapped[str | None]
    """Where its process is or was last; None: it ran before this was recorded."""
    pid: Mapped[int | None]
    heartbeat_at: Mapped[datetime | None]
    """When its process was last known to live."""


class Artefact(Base):
    """Contents, named by their hash. Runs that make the same bytes make the same artefact."""

    __tablename__ = "artefact"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    n_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(default=now)


class RunOutput(Base):
    """A run made an artefact, with this name and path. Of several with one name the latest is used."""

    __tablename__ = "run_output"

    id: Mapped[int] = mapped_column(primary_key=True)
    """Increases with time: a run's inputs were recorded before its outputs."""
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), index=True)
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(ForeignKey("artefact.sha256"), index=True)
    path: Mapped[str]
    """Relative to the workspace; absolute if it is outside."""


class RunInput(Base):
    """A run reads an artefact, in this role."""

    __tablename__ = "run_input"

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id"), primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("artefact.sha256"), index=True)


class Person(Base):
    """Someone who judges. A simulated labeler is always marked as one, and `description` gives its rule."""

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
    messages: Mapped[list[dict[str, Any]]]
    """[{"role", "content"}, …], a user's with "documents" if it has some; the last message is the one to answer."""
    lang: Mapped[str]
    """A BCP 47 code; `und` if unknown."""
    source: Mapped[str]
    split: Mapped[str]
    item: Mapped[str]
    kind: Mapped[str]


class Generation(Base):
    """One answer to a prompt, with everything needed to generate it again; or one that a person wrote."""

    __tablename__ = "generation"

    id: Mapped[str] = mapped_column(primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompt.id"), index=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id"), index=True)
    """The run that sampled it; None: it was sampled or written in the service."""
    model_sha256: Mapped[str | None] = mapped_column(ForeignKey("artefact.sha256"), index=True)
    """None: no model wrote it, or one that no run of this workspace made or fetched."""
    person_id: Mapped[str | None] = mapped_column(ForeignKey("person.id"), index=True)
    """Who wrote it, if a person did: a reward model must not learn to tell people from models."""
    text: Mapped[str] = mapped_column(JSON)
    """A JSON string: a byte-level model may write NUL, which PostgreSQL's text cannot contain."""
    token_ids: Mapped[list[int]]
    temperature: Mapped[float]
    top_p: Mapped[float]
    seed: Mapped[int] = mapped_column(BigInteger)
    max_tokens: Mapped[int]
    finish_reason: Mapped[str]
    """stop: the model ended its answer; length: the answer was cut off."""


class Assignment(Base):
    """What one person is shown: a prompt and answers to it, in this order."""

    __tablename__ = "assignment"

    id: Mapped[str] = mapped_column(primary_key=True)
    prompt_id: Mapped[str] = mapped_column(ForeignKey("prompt.id"), index=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    generation_ids: Mapped[list[str]]
    guideline_version: Mapped[str]
    issued_at: Mapped[datetime] = mapped_column(default=now)


class Judgement(Base):
    """What the person said. The database refuses updates: a correction is added as the next version."""

    __tablename__ = "judgement"
    __table_args__ = (UniqueConstraint("assignment_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    assignment_id: Mapped[str] = mapped_column(ForeignKey("assignment.id"))
    version: Mapped[int]
    """1, 2, …; the latest is used."""
    ranks: Mapped[list[int]]
    """Competition ranks of the answers in shown order, 1 = best; empty when unrankable."""
    unrankable: Mapped[bool]
    likert: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """For each answer, 1 to 7."""
    flags: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """For each answer, a list of flag names."""
    notes: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    """For each answer, a remark."""
    confidence: Mapped[float | None]
    """0 to 1."""
    active_ms: Mapped[int | None]
    withdrawn: Mapped[bool | None]
    """Taken back: no snapshot has it from now on."""
    origin: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """How it came about in the service: from which item or message, whether the order was touched, with which keys."""
    app_version: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Snapshot(Base):
    """A file of judgements that never changes. It is an artefact of the run that wrote it."""

    __tablename__ = "snapshot"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    filter: Mapped[dict[str, Any]]
    counts: Mapped[dict[str, Any]]
    """{"judgements", "prompts", "pairs", "people": {person id: judgements}}"""
    path: Mapped[str]
    """Relative to the workspace; absolute if it is outside."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class Answer(Base):
    """An answer of `chat` or `ask`, with its sources and everything needed to give it again.

    The model and the index are named by their hashes. No run of the workspace made them if they are from elsewhere.
    """

    __tablename__ = "answer"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    """People call it answer-12. Once deleted, it is no other answer's."""
    messages: Mapped[list[dict[str, Any]]]
    """The conversation that was answered; the last message is the question."""
    text: Mapped[str] = mapped_column(JSON)
    """A JSON string, as in `Generation`."""
    voice: Mapped[str]
    """Name of the model, or `none`."""
    model_sha256: Mapped[str | None] = mapped_column(index=True)
    index_sha256: Mapped[str | None] = mapped_column(index=True)
    index_place: Mapped[str | None]
    """The folder that is indexed; of an index that a run made, its path in the workspace."""
    sources: Mapped[list[dict[str, Any]]]
    """[{"file", "heading", "line", "place", "sentence", "score", "document"}, …], the best first."""
    documents: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    """[{"title", "text"}, …] of the prompt: what was found; where no model was asked, what one would have read. None:
    nothing was looked up, or it was given before this was recorded."""
    supported: Mapped[bool | None]
    quoted: Mapped[bool]
    sampling: Mapped[dict[str, Any]]
    """With its seed; empty if no model spoke."""
    version: Mapped[str]
    """Of Malmoi."""
    created_at: Mapped[datetime] = mapped_column(default=now)
