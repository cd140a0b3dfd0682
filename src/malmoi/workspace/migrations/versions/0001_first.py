"""The first layout: runs, artefacts and their edges; prompts, generations, judgements, snapshots."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXT, INT, BIG, JSON, TIME = sa.Text(), sa.Integer(), sa.BigInteger(), sa.JSON(), sa.DateTime(timezone=True)
REAL: sa.Double[float] = sa.Double()

# A row may be deleted, so that a person can withdraw; it may not be made to say something else.
APPEND_ONLY = {
    "sqlite": [
        "CREATE TRIGGER judgement_append_only BEFORE UPDATE ON judgement "
        "BEGIN SELECT RAISE(ABORT, 'a judgement is never updated; add its next version'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION judgement_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'a judgement is never updated; add its next version' "
        "USING ERRCODE = 'restrict_violation'; END $$",
        "CREATE TRIGGER judgement_append_only BEFORE UPDATE ON judgement "
        "FOR EACH ROW EXECUTE FUNCTION judgement_append_only()",
    ],
}


def columns(kind: Any, *names: str, **options: Any) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, **({"nullable": False} | options)) for name in names]


def key(name: str, kind: Any = TEXT) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True)


def link(name: str, target: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, TEXT, sa.ForeignKey(target), **({"nullable": False, "index": True} | options))


def upgrade() -> None:
    run = [key("id"), *columns(INT, "number", unique=True), *columns(TEXT, "label", "stage", "recipe", "status")]
    run += [*columns(TEXT, "fingerprint", index=True), *columns(JSON, "settings"), *columns(BIG, "seed")]
    run += [*columns(TEXT, "version"), *columns(TIME, "started_at"), *columns(TIME, "finished_at", nullable=True)]
    run += [*columns(REAL, "seconds"), *columns(TEXT, "error", nullable=True)]
    op.create_table("run", *run)
    op.create_table(
        "artefact", key("sha256"), *columns(TEXT, "kind"), *columns(BIG, "n_bytes"), *columns(TIME, "created_at")
    )
    output = [key("id", INT), link("run_id", "run.id"), *columns(TEXT, "name")]
    op.create_table("run_output", *output, link("sha256", "artefact.sha256"), *columns(TEXT, "path"))
    run_id = link("run_id", "run.id", primary_key=True, index=None)
    op.create_table("run_input", run_id, key("role"), link("sha256", "artefact.sha256"))

    person = columns(TEXT, "name", "kind", "description")
    op.create_table("person", key("id"), *person, *columns(TIME, "created_at"))
    prompt = columns(TEXT, "lang", "source", "split", "item", "kind")
    op.create_table("prompt", key("id"), *columns(JSON, "messages"), *prompt)
    generation = [key("id"), link("prompt_id", "prompt.id"), link("run_id", "run.id")]
    generation += [link("model_sha256", "artefact.sha256"), *columns(JSON, "text", "token_ids")]
    generation += [*columns(REAL, "temperature", "top_p"), *columns(BIG, "seed"), *columns(INT, "max_tokens")]
    op.create_table("generation", *generation, *columns(TEXT, "finish_reason"))
    assignment = [key("id"), link("prompt_id", "prompt.id"), link("person_id", "person.id")]
    assignment += [*columns(JSON, "generation_ids"), *columns(TEXT, "guideline_version"), *columns(TIME, "issued_at")]
    op.create_table("assignment", *assignment)
    judgement = [key("id", INT), link("assignment_id", "assignment.id", index=None), *columns(INT, "version")]
    judgement += [*columns(JSON, "ranks"), *columns(sa.Boolean(), "unrankable")]
    judgement += [
        *columns(JSON, "likert", "flags", "notes", nullable=True),
        *columns(REAL, "confidence", nullable=True),
    ]
    judgement += [
        *columns(INT, "active_ms", nullable=True),
        *columns(TEXT, "app_version"),
        *columns(TIME, "created_at"),
    ]
    op.create_table("judgement", *judgement, sa.UniqueConstraint("assignment_id", "version"))
    snapshot = [key("sha256"), *columns(JSON, "filter", "counts"), *columns(TEXT, "path"), *columns(TIME, "created_at")]
    op.create_table("snapshot", *snapshot)
    for statement in APPEND_ONLY[op.get_context().dialect.name]:
        op.execute(statement)
