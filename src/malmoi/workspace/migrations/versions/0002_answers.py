"""Answers of chats, with their sources."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    text, json = sa.Text(), sa.JSON()
    op.create_table(
        "answer",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("messages", json, nullable=False),
        sa.Column("text", json, nullable=False),
        sa.Column("voice", text, nullable=False),
        sa.Column("model_sha256", text, nullable=True, index=True),
        sa.Column("index_sha256", text, nullable=True, index=True),
        sa.Column("index_place", text, nullable=True),
        sa.Column("sources", json, nullable=False),
        sa.Column("supported", sa.Boolean(), nullable=True),
        sa.Column("quoted", sa.Boolean(), nullable=False),
        sa.Column("sampling", json, nullable=False),
        sa.Column("version", text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
