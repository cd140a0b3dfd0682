"""Versions, which of them serves, jobs, and blind comparisons of two versions."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

APPEND_ONLY = {
    "version": "a version is never changed; add one",
    "deployment": "a decision is never changed; decide again",
    "gate_comparison": "what was shown is never changed; compare again",
    "gate_judgement": "a judgement is never changed; compare again",
}


def append_only(table: str, says: str, dialect: str) -> list[str]:
    """Statements that make a database refuse updates of a table."""
    name = f"{table}_append_only"
    if dialect == "sqlite":
        return [f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{says}'); END"]
    return [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{says}' USING ERRCODE = 'restrict_violation'; END $$",
        f"CREATE TRIGGER {name} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
    ]


def upgrade() -> None:
    _jobs_and_versions()
    _comparisons()
    for table, says in APPEND_ONLY.items():
        for statement in append_only(table, says, op.get_context().dialect.name):
            op.execute(statement)


def _jobs_and_versions() -> None:
    text, json, time, whole = sa.Text(), sa.JSON(), sa.DateTime(timezone=True), sa.Integer()
    op.create_table(
        "job",
        sa.Column("id", whole, primary_key=True),
        sa.Column("kind", text, nullable=False),
        sa.Column("settings", json, nullable=False),
        sa.Column("status", text, nullable=False, index=True),
        sa.Column("place", sa.Double(), nullable=False),
        sa.Column("asked", text, nullable=True),
        sa.Column("person_id", text, nullable=True),
        sa.Column("n_begun", whole, nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=True),
        sa.Column("progress", json, nullable=False),
        sa.Column("error", text, nullable=True),
        sa.Column("version", whole, nullable=True),
        sa.Column("created_at", time, nullable=False),
        sa.Column("started_at", time, nullable=True),
        sa.Column("finished_at", time, nullable=True),
        sa.Column("heartbeat_at", time, nullable=True),
    )
    op.create_table(
        "version",
        sa.Column("number", whole, primary_key=True),
        sa.Column("how", text, nullable=False),
        sa.Column("model", text, nullable=False),
        sa.Column("policy_sha256", text, nullable=False, index=True),
        sa.Column("policy_path", text, nullable=False),
        sa.Column("reward_sha256", text, nullable=True),
        sa.Column("reward_path", text, nullable=True),
        sa.Column("n", whole, nullable=True),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("index_sha256", text, nullable=True),
        sa.Column("came_from", whole, sa.ForeignKey("version.number"), nullable=True),
        sa.Column("job_id", whole, sa.ForeignKey("job.id"), nullable=True),
        sa.Column("person_id", text, nullable=True),
        sa.Column("learned", json, nullable=True),
        sa.Column("report", json, nullable=True),
        sa.Column("created_at", time, nullable=False),
    )
    op.create_table(
        "deployment",
        sa.Column("id", whole, primary_key=True),
        sa.Column("act", text, nullable=False),
        sa.Column("version", whole, sa.ForeignKey("version.number"), nullable=False, index=True),
        sa.Column("instead_of", whole, sa.ForeignKey("version.number"), nullable=True),
        sa.Column("person_id", text, nullable=True),
        sa.Column("knowingly", sa.Boolean(), nullable=False),
        sa.Column("verdict", json, nullable=True),
        sa.Column("created_at", time, nullable=False),
    )


def _comparisons() -> None:
    text, json, time, whole = sa.Text(), sa.JSON(), sa.DateTime(timezone=True), sa.Integer()
    op.create_table(
        "gate_comparison",
        sa.Column("id", text, primary_key=True),
        sa.Column("candidate", whole, sa.ForeignKey("version.number"), nullable=False, index=True),
        sa.Column("against", whole, sa.ForeignKey("version.number"), nullable=False, index=True),
        sa.Column("prompt", text, nullable=False),
        sa.Column("messages", json, nullable=False),
        sa.Column("shown", json, nullable=False),
        sa.Column("person_id", text, nullable=False),
        sa.Column("alike", sa.Boolean(), nullable=False),
        sa.Column("created_at", time, nullable=False),
    )
    op.create_table(
        "gate_judgement",
        sa.Column("id", whole, primary_key=True),
        sa.Column("comparison_id", text, sa.ForeignKey("gate_comparison.id"), nullable=False),
        sa.Column("answer", text, nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.UniqueConstraint("comparison_id"),
    )
