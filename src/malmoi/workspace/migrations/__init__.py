"""Alembic migrations, run by `workspace.database` whenever a workspace is opened."""
