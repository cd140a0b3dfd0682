"""The documents that an answer's prompt had, so that what learns from the answer reads them too."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("answer", sa.Column("documents", sa.JSON(), nullable=True))
