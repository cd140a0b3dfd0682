"""Pages of a corpus that people are asked about, keep or drop, and what they said."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

SAID = "a row of page_label is never updated; add another"


def upgrade() -> None:
    text, time, whole = sa.Text(), sa.DateTime(timezone=True), sa.Integer()
    op.create_table(
        "label_corpus",
        sa.Column("name", text, primary_key=True),
        sa.Column("n_asked", whole, nullable=False),
        sa.Column("n_found", whole, nullable=False),
    )
    op.create_table(
        "label_page",
        sa.Column("id", text, primary_key=True),
        sa.Column("corpus", text, sa.ForeignKey("label_corpus.name"), nullable=False, index=True),
        *(sa.Column(name, text, nullable=False) for name in ("page_id", "place")),
        sa.Column("text", sa.JSON(), nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("title", "source", "language")),
        sa.Column("held_by", text, nullable=True),
        sa.Column("held_until", time, nullable=True),
        sa.Column("created_at", time, nullable=False),
    )
    op.create_table(
        "page_label",
        sa.Column("id", whole, primary_key=True),
        sa.Column("page_id", text, sa.ForeignKey("label_page.id"), nullable=False, index=True),
        sa.Column("person_id", text, sa.ForeignKey("person.id"), nullable=False, index=True),
        sa.Column("version", whole, nullable=False),
        sa.Column("label", whole, nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("active_ms", whole, nullable=True),
        sa.Column("input", text, nullable=True),
        sa.Column("app_version", text, nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.UniqueConstraint("page_id", "person_id", "version"),
    )
    _refuse_updates()


def _refuse_updates() -> None:
    name = "page_label_append_only"
    if op.get_context().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {name} BEFORE UPDATE ON page_label BEGIN SELECT RAISE(ABORT, '{SAID}'); END")
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{SAID}' "
        "USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(f"CREATE TRIGGER {name} BEFORE UPDATE ON page_label FOR EACH ROW EXECUTE FUNCTION {name}()")
