"""Pinned questions, what versions answer to them, and what the judge says of a candidate."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    text, json, time, whole = sa.Text(), sa.JSON(), sa.DateTime(timezone=True), sa.Integer()
    op.create_table(
        "pinned_question",
        sa.Column("id", text, primary_key=True),
        sa.Column("text", text, nullable=False),
        sa.Column("must", json, nullable=False),
        sa.Column("person_id", text, nullable=True),
        sa.Column("created_at", time, nullable=False),
        sa.Column("withdrawn_at", time, nullable=True),
    )
    op.create_table(
        "version_answer",
        sa.Column("id", whole, primary_key=True),
        sa.Column("version", whole, sa.ForeignKey("version.number"), nullable=False, index=True),
        sa.Column("question_id", text, sa.ForeignKey("pinned_question.id"), nullable=False),
        sa.Column("text", text, nullable=False),
        sa.Column("created_at", time, nullable=False),
    )
    op.create_table(
        "gate_check",
        sa.Column("id", whole, primary_key=True),
        sa.Column("candidate", whole, sa.ForeignKey("version.number"), nullable=False, index=True),
        sa.Column("against", whole, sa.ForeignKey("version.number"), nullable=False),
        sa.Column("judge", json, nullable=False),
        sa.Column("created_at", time, nullable=False),
    )
