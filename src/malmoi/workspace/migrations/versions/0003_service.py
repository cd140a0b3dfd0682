"""Accounts, sessions, keys, invitations, settings; chats and their messages."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# A row may be deleted with its chat; it may not be made to say something else.
APPEND_ONLY = {
    "sqlite": [
        "CREATE TRIGGER chat_message_append_only BEFORE UPDATE ON chat_message "
        "BEGIN SELECT RAISE(ABORT, 'a message is never updated; add a branch'); END"
    ],
    "postgresql": [
        "CREATE FUNCTION chat_message_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'a message is never updated; add a branch' USING ERRCODE = 'restrict_violation'; "
        "END $$",
        "CREATE TRIGGER chat_message_append_only BEFORE UPDATE ON chat_message "
        "FOR EACH ROW EXECUTE FUNCTION chat_message_append_only()",
    ],
}


def upgrade() -> None:
    _accounts()
    _settings_and_chats()
    for statement in APPEND_ONLY[op.get_context().dialect.name]:
        op.execute(statement)


def _accounts() -> None:
    text, time = sa.Text(), sa.DateTime(timezone=True)
    op.create_table(
        "account",
        sa.Column("person_id", text, sa.ForeignKey("person.id"), primary_key=True),
        sa.Column("name_key", text, nullable=False, unique=True),
        sa.Column("role", text, nullable=False),
        sa.Column("password_hash", text, nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("seen_at", time, nullable=True),
    )
    op.create_table(
        "signed_in",
        sa.Column("token_sha256", text, primary_key=True),
        sa.Column("person_id", text, sa.ForeignKey("account.person_id"), nullable=False, index=True),
        sa.Column("created_at", time, nullable=False),
        sa.Column("seen_at", time, nullable=False),
    )
    op.create_table(
        "api_key",
        sa.Column("id", text, primary_key=True),
        sa.Column("key_sha256", text, nullable=False, unique=True),
        sa.Column("person_id", text, sa.ForeignKey("account.person_id"), nullable=False, index=True),
        sa.Column("name", text, nullable=False),
        sa.Column("prefix", text, nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("used_at", time, nullable=True),
    )
    op.create_table(
        "invite",
        sa.Column("id", text, primary_key=True),
        sa.Column("code_sha256", text, nullable=False, unique=True),
        sa.Column("role", text, nullable=False),
        sa.Column("name", text, nullable=True),
        sa.Column("expires_at", time, nullable=False),
        sa.Column("created_at", time, nullable=False),
    )


def _settings_and_chats() -> None:
    text, json, time, whole = sa.Text(), sa.JSON(), sa.DateTime(timezone=True), sa.Integer()
    op.create_table("setting", sa.Column("name", text, primary_key=True), sa.Column("value", json, nullable=False))
    op.create_table(
        "chat",
        sa.Column("id", text, primary_key=True),
        sa.Column("person_id", text, sa.ForeignKey("account.person_id"), nullable=False, index=True),
        sa.Column("title", text, nullable=True),
        sa.Column("system", text, nullable=False),
        sa.Column("sampling", json, nullable=False),
        sa.Column("may_teach", sa.Boolean(), nullable=False),
        sa.Column("head", text, nullable=True),
        sa.Column("created_at", time, nullable=False),
        sa.Column("updated_at", time, nullable=False, index=True),
    )
    op.create_table(
        "chat_message",
        sa.Column("number", whole, primary_key=True),
        sa.Column("id", text, nullable=False, unique=True),
        sa.Column("chat_id", text, sa.ForeignKey("chat.id"), nullable=False, index=True),
        sa.Column("parent_id", text, nullable=True),
        sa.Column("role", text, nullable=False),
        sa.Column("text", json, nullable=False),
        sa.Column("finish", text, nullable=True),
        sa.Column("error", json, nullable=True),
        sa.Column("answer_id", whole, sa.ForeignKey("answer.id"), nullable=True),
        sa.Column("figures", json, nullable=True),
        sa.Column("created_at", time, nullable=False),
    )
