"""What was drawn: requests with their settings, and their pictures."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    text, whole = sa.Text(), sa.Integer()
    op.create_table(
        "drawing",
        sa.Column("id", whole, primary_key=True),
        sa.Column("request_id", text, nullable=False, unique=True),
        sa.Column("person_id", text, sa.ForeignKey("account.person_id"), nullable=True, index=True),
        sa.Column("prompt", text, nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("model", text, nullable=False),
        sa.Column("model_sha256", text, nullable=True, index=True),
        sa.Column("start_sha256", text, nullable=True),
        sa.Column("mask_sha256", text, nullable=True),
        sa.Column("version", text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "drawn_picture",
        sa.Column("id", text, primary_key=True),
        sa.Column("drawing_id", whole, sa.ForeignKey("drawing.id"), nullable=False, index=True),
        sa.Column("sha256", text, nullable=False, index=True),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("path", text, nullable=False),
    )
