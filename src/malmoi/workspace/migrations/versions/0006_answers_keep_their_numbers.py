"""The number of an answer that was deleted is never another answer's: SQLite gave the highest one again."""

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"

TRIGGER = "chat_message_append_only"


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        return
    guard = op.get_bind().scalar(text(f"SELECT sql FROM sqlite_master WHERE name = '{TRIGGER}'"))
    op.execute(f"DROP TRIGGER {TRIGGER}")
    # Nothing may refer to a table that is made again, and links cannot be switched off within a transaction.
    op.execute("CREATE TEMPORARY TABLE answered AS SELECT number, answer_id FROM chat_message WHERE answer_id NOT NULL")
    op.execute("UPDATE chat_message SET answer_id = NULL")
    with op.batch_alter_table("answer", recreate="always", table_kwargs={"sqlite_autoincrement": True}):
        pass
    linked = "answered.answer_id FROM answered WHERE answered.number = chat_message.number"
    op.execute(f"UPDATE chat_message SET answer_id = {linked}")
    op.execute("DROP TABLE answered")
    op.execute(guard)
