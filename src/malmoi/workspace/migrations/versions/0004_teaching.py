"""What people say of answers: votes, better answers, comparisons; items to teach with, and who has them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

APPEND_ONLY = ("vote", "better_answer")


def upgrade() -> None:
    _what_people_say()
    _items_to_teach_with()
    _let_people_write()
    for table in APPEND_ONLY:
        _refuse_updates(table)


def _what_people_say() -> None:
    text, json, time, whole = sa.Text(), sa.JSON(), sa.DateTime(timezone=True), sa.Integer()
    op.create_table(
        "vote",
        sa.Column("id", whole, primary_key=True),
        sa.Column("message_id", text, sa.ForeignKey("chat_message.id"), nullable=False, index=True),
        sa.Column("person_id", text, nullable=False),
        sa.Column("vote", text, nullable=True),
        sa.Column("reasons", json, nullable=False),
        sa.Column("comment", text, nullable=False),
        sa.Column("created_at", time, nullable=False),
    )
    op.create_table(
        "better_answer",
        sa.Column("id", whole, primary_key=True),
        sa.Column("message_id", text, sa.ForeignKey("chat_message.id"), nullable=False, index=True),
        sa.Column("person_id", text, nullable=False),
        sa.Column("text", text, nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("created_at", time, nullable=False),
    )
    op.create_table(
        "comparison",
        sa.Column("id", text, primary_key=True),
        sa.Column("chat_id", text, sa.ForeignKey("chat.id"), nullable=False, index=True),
        sa.Column("parent_id", text, nullable=False),
        sa.Column("answers", json, nullable=False),
        sa.Column("verdict", text, nullable=True),
        sa.Column("judged_at", time, nullable=True),
        sa.Column("created_at", time, nullable=False),
    )


def _items_to_teach_with() -> None:
    text, json, time, whole = sa.Text(), sa.JSON(), sa.DateTime(timezone=True), sa.Integer()
    op.create_table(
        "teach_item",
        sa.Column("id", text, primary_key=True),
        sa.Column("kind", text, nullable=False),
        sa.Column("prompt_id", text, sa.ForeignKey("prompt.id"), nullable=False, index=True),
        sa.Column("generation_ids", json, nullable=False),
        sa.Column("status", text, nullable=False),
        sa.Column("n_people", whole, nullable=False),
        sa.Column("author_id", text, nullable=True),
        sa.Column("chat_id", text, nullable=True),
        sa.Column("created_at", time, nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("id", text, primary_key=True),
        sa.Column("item_id", text, sa.ForeignKey("teach_item.id"), nullable=False, index=True),
        sa.Column("person_id", text, nullable=False, index=True),
        sa.Column("shown", json, nullable=False),
        sa.Column("status", text, nullable=False),
        sa.Column("draft", json, nullable=True),
        sa.Column("said", json, nullable=True),
        sa.Column("assignment_id", text, nullable=True),
        sa.Column("issued_at", time, nullable=False),
        sa.Column("expires_at", time, nullable=False),
        sa.Column("saved_at", time, nullable=True),
    )
    op.create_table(
        "practised",
        sa.Column("person_id", text, primary_key=True),
        sa.Column("number", whole, primary_key=True),
        sa.Column("is_right", sa.Boolean(), nullable=False),
        sa.Column("created_at", time, nullable=False),
    )


def _let_people_write() -> None:
    """A generation may be a person's; a judgement may be taken back."""
    with op.batch_alter_table("generation") as generation:
        generation.alter_column("run_id", existing_type=sa.Text(), nullable=True)
        generation.alter_column("model_sha256", existing_type=sa.Text(), nullable=True)
        generation.add_column(sa.Column("person_id", sa.Text(), nullable=True))
        generation.create_foreign_key("fk_generation_person_id", "person", ["person_id"], ["id"])
        generation.create_index("ix_generation_person_id", ["person_id"])
    op.add_column("judgement", sa.Column("withdrawn", sa.Boolean(), nullable=True))
    op.add_column("judgement", sa.Column("origin", sa.JSON(), nullable=True))


def _refuse_updates(table: str) -> None:
    said = f"a row of {table} is never updated; add another"
    if op.get_context().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{said}'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{said}' "
        "USING ERRCODE = 'restrict_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE ON {table} FOR EACH ROW "
        f"EXECUTE FUNCTION {table}_append_only()"
    )
