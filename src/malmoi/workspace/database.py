"""Opening the database: SQLite in the workspace or a PostgreSQL server, brought to the newest layout."""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError

from malmoi.errors import WorkspaceError
from malmoi.workspace.schema import Base

MIGRATIONS = "malmoi.workspace:migrations"
BUSY_TIMEOUT_MS = 30_000
MIGRATION_LOCK = 0x6D616C6D6F69
"""Any constant would do: PostgreSQL's advisory locks are numbers. This one spells malmoi."""


def open_database(url: str | URL, migrations: str = MIGRATIONS) -> Engine:
    """Connect and migrate. Raises WorkspaceError when the database cannot be reached, read, or is newer."""
    try:
        engine = _create_engine(make_url(url))
    except ArgumentError:
        # The text may hold a password, so it is not repeated.
        raise WorkspaceError(
            "MALMOI_DATABASE_URL: not a database URL; expected postgresql://user:password@host/name"
        ) from None
    except ModuleNotFoundError as error:
        raise WorkspaceError(f"database: {error.name} is not installed; pip install 'malmoi[postgres]'") from None
    try:
        _migrate(engine, migrations)
    except DBAPIError as error:
        engine.dispose()
        reason = str(error.orig).strip().splitlines()[0]
        raise WorkspaceError(f"{_name(engine)}: cannot be opened ({reason}); check the database") from error
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: all of it happens, or none. Writers wait for each other from its first line."""
    with engine.connect() as connection, connection.execution_options(malmoi_writes=True).begin():
        yield connection


def insert_missing(connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert those rows whose primary key is not there yet; thousands take a fraction of a second."""
    if rows:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def chunks(values: Iterable[str], size: int = 5000) -> Iterator[list[str]]:
    """Sorted, each once, in lists short enough for one `IN (…)`: databases limit the parameters of a statement."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _create_engine(url: URL) -> Engine:
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise WorkspaceError(f"database: {url.get_backend_name()} is not supported; use PostgreSQL or SQLite")
    # Korean stays readable in the file, and takes a third of the room.
    engine = create_engine(url, json_serializer=partial(json.dumps, ensure_ascii=False))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins; the driver's own way leaves DDL outside
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            # Two that both want to make a new file a WAL file: SQLite fails one of them at once, whatever the timeout.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer while another wrote fails at once, whatever the timeout: writers say so first.
    writes = connection.get_execution_options().get("malmoi_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(engine: Engine, migrations: str) -> None:
    config = Config()
    config.set_main_option("script_location", migrations)
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    known = {script.revision for script in scripts.walk_revisions()}
    with engine.connect() as connection:
        if _revision(connection, known) == head:
            return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        found = _revision(connection, known)
        if found == head:  # another process was faster
            return
        if found is not None and engine.dialect.name == "sqlite":
            _back_up(Path(engine.url.database or ""), found)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: Connection, known: set[str]) -> str | None:
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in known:
        raise WorkspaceError(
            f"{_name(connection.engine)}: database revision {found} is newer than this Malmoi knows; upgrade Malmoi"
        )
    return found


def _back_up(database: Path, revision: str) -> None:
    """Copy through SQLite itself: what was written last may still lie in the write-ahead log."""
    backup = database.with_name(f"{database.name}.bak-{revision}")
    partial_copy = backup.with_name(f"{backup.name}.partial")
    partial_copy.unlink(missing_ok=True)
    with (
        contextlib.closing(sqlite3.connect(database)) as source,
        contextlib.closing(sqlite3.connect(partial_copy)) as copy,
    ):
        source.backup(copy)
    os.replace(partial_copy, backup)


def _name(engine: Engine) -> str:
    """For error messages: the file, or the URL without its password."""
    if engine.dialect.name == "sqlite":
        return engine.url.database or "sqlite"
    return engine.url.render_as_string(hide_password=True)
