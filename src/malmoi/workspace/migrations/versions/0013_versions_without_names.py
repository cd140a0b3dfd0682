"""A version keeps the ids of those from whom it learned, not their names: who is forgotten is named nowhere."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

GUARD = "version_append_only"
VERSION = sa.table("version", sa.column("number", sa.Integer()), sa.column("learned", sa.JSON(none_as_null=True)))


def upgrade() -> None:
    database, is_sqlite = op.get_bind(), op.get_context().dialect.name == "sqlite"
    rows = database.execute(sa.select(VERSION).where(VERSION.c.learned.is_not(None))).all()
    guard = f"ALTER TABLE version ENABLE TRIGGER {GUARD}"
    if is_sqlite:
        guard = str(database.scalar(sa.text(f"SELECT sql FROM sqlite_master WHERE name = '{GUARD}'")))
    op.execute(f"DROP TRIGGER {GUARD}" if is_sqlite else f"ALTER TABLE version DISABLE TRIGGER {GUARD}")
    for number, learned in rows:
        people = [{key: value for key, value in one.items() if key != "name"} for one in learned.get("people", [])]
        kept = learned | ({"people": people} if "people" in learned else {})
        database.execute(sa.update(VERSION).where(VERSION.c.number == number).values(learned=kept))
    op.execute(guard)
