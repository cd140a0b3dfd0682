"""The id that a client chose for a drawing is one of a person's own: two people may have chosen the same."""

from alembic import op
from sqlalchemy import text

revision = "0012"
down_revision = "0011"

LAST = "FROM sqlite_sequence WHERE name = 'drawing'"


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        _change()
        return
    # SQLite makes the table again: nothing may refer to it meanwhile, and the last number is forgotten.
    last = op.get_bind().scalar(text(f"SELECT seq {LAST}"))
    op.execute("CREATE TEMPORARY TABLE drawn AS SELECT * FROM drawn_picture")
    op.execute("DELETE FROM drawn_picture")
    _change(table_kwargs={"sqlite_autoincrement": True})
    op.execute("INSERT INTO drawn_picture SELECT * FROM drawn")
    op.execute("DROP TABLE drawn")
    if last is not None:  # the number of a drawing that was deleted is no other one's
        op.execute(f"DELETE {LAST}")
        op.execute(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('drawing', {last:d})")


def _change(**how: object) -> None:
    with op.batch_alter_table("drawing", **how) as table:  # type: ignore[arg-type]
        table.drop_constraint("uq_drawing_request_id", type_="unique")
        table.create_unique_constraint("uq_drawing_person_id", ["person_id", "request_id"])
