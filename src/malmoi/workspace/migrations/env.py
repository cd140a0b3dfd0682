"""Run inside the connection, and so inside the one transaction, that `workspace.database` opened."""

from alembic import context

from malmoi.workspace.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
context.run_migrations()
