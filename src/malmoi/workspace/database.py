"""The database: SQLite in the workspace, or a PostgreSQL server. Opened, migrated to the newest layout, written."""

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, func, inspect, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from malmoi.errors import WorkspaceError
from malmoi.files import DISK_FULL, is_disk_full
from malmoi.workspace import ring_schema  # noqa: F401  # tables of the same database
from malmoi.workspace.locks import queueing
from malmoi.workspace.schema import Base

MIGRATIONS = "malmoi.workspace:migrations"
BUSY_TIMEOUT_MS = 30_000
MIGRATION_LOCK = 0x6D616C6D6F69
"""PostgreSQL's advisory locks are numbers. Any constant would do; the bytes of this one are "malmoi"."""


def open_database(url: str | URL, migrations: str = MIGRATIONS, *, only_read: bool = False) -> Engine:
    """Connect to a database, and migrate it if its layout is old.

    only_read: an SQLite file that may not be written, or whose folder may not, is opened too if its layout is not old
    Raises WorkspaceError if the database cannot be reached or read, or if its layout is newer than this Malmoi.
    """
    try:
        parsed = make_url(url)
        frozen = _is_frozen(parsed)
        if frozen and not only_read:
            raise WorkspaceError(f"{parsed.database}: may not be written; choose another workspace")
        engine = _create_engine(parsed, frozen)
    except ArgumentError:
        # The text may contain a password: it is not shown.
        raise WorkspaceError(
            "MALMOI_DATABASE_URL: not a database URL; expected postgresql://user:password@host/name"
        ) from None
    except ModuleNotFoundError as error:
        raise WorkspaceError(f"database: {error.name} is not installed; pip install 'malmoi[postgres]'") from None
    try:
        _migrate(engine, migrations, frozen)
    except DBAPIError as error:
        engine.dispose()
        reason = str(error.orig).strip().splitlines()[0]
        raise WorkspaceError(f"{_name(engine)}: cannot be opened ({reason}); check the database") from error
    except BaseException:
        engine.dispose()
        raise
    event.listen(engine, "handle_error", _explain)
    return engine


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes. On an error, nothing is written. On SQLite, only one such transaction runs at a time.

    Keep it short: nothing is computed in it, and nothing is waited for.
    """
    with engine.connect() as connection, connection.execution_options(malmoi_writes=True).begin():
        yield connection


def lock_table(connection: Connection, table: type[Base]) -> None:
    """Until this transaction ends, no other may write to a table or lock it; others may read it."""
    if connection.dialect.name == "postgresql":  # on SQLite, `writing` is the only one that writes
        connection.exec_driver_sql(f"LOCK TABLE {table.__tablename__} IN EXCLUSIVE MODE")


def insert_missing(connection: Connection, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose primary key is not in the table. Fast also for thousands of rows."""
    if rows:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        keys = [column.name for column in inspect(table).primary_key]
        # Sorted: two transactions that insert the same rows in different orders could wait for each other forever.
        ordered = sorted(rows, key=lambda row: [row[key] for key in keys])
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), ordered)


def chunks(values: Iterable[str], size: int = 5000) -> Iterator[list[str]]:
    """The sorted values, each once, in lists short enough for `IN (…)`: databases limit a statement's parameters."""
    ordered = sorted(set(values))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _is_frozen(url: URL) -> bool:
    """Whether it is an existing SQLite file that this process may not write."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return False
    path = Path(str(url.database))
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _connect_frozen(path: Path) -> sqlite3.Connection:
    """Open without writing any file.

    SQLite's log and the index of the log exist while a process writes, and after one was killed: they are read too.
    If they do not exist, SQLite would create them, unless it is told that the file never changes (`immutable`).
    """
    log, index = (path.with_name(f"{path.name}-{part}") for part in ("wal", "shm"))
    is_logged = log.exists() and log.stat().st_size > 0
    if is_logged and not index.exists():
        raise WorkspaceError(
            f"{path}: its last entries are in {log.name}, which cannot be read in a folder that may not be written; "
            "make the folder writable once, or copy it to where you may write"
        )
    mode = "mode=ro" if is_logged or index.exists() else "mode=ro&immutable=1"
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?{mode}", uri=True, check_same_thread=False)


def _create_engine(url: URL, frozen: bool = False) -> Engine:
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise WorkspaceError(f"database: {url.get_backend_name()} is not supported; use PostgreSQL or SQLite")
    # Korean text stays readable, in a third of the bytes.
    options: dict[str, Any] = {"json_serializer": partial(json.dumps, ensure_ascii=False)}
    if url.get_backend_name() == "postgresql":
        # Hours may pass between two transactions: a connection kept open could break, and the server has few of them.
        options["poolclass"] = NullPool
    if frozen:
        options["creator"] = partial(_connect_frozen, Path(str(url.database)))
    engine = create_engine(url, **options)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        if not frozen:
            event.listen(engine, "connect", _log_ahead)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # `_begin_sqlite` begins transactions; the driver would leave DDL outside of them
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _log_ahead(connection: sqlite3.Connection, _record: object) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            # When two processes switch a new file to WAL, SQLite refuses one of them at once, whatever the timeout.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later is refused, whatever the timeout, if another process has written
    # in between. IMMEDIATE makes it wait at its begin.
    if not connection.get_execution_options().get("malmoi_writes"):
        connection.exec_driver_sql("BEGIN")
        return
    # SQLite lets those who wait ask again ever more rarely, so that one process which writes without pause is nearly
    # always first. Who waits for it holds the queue: it waits for its next turn like everybody else.
    path = Path(str(connection.engine.url.database))
    with queueing(path.with_name(f"{path.name}-queue"), BUSY_TIMEOUT_MS / 1000) as is_next:
        if not is_next:
            raise WorkspaceError(f"{path}: database is locked; check the database, and run the same command again")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _explain(failed: ExceptionContext) -> None:
    """Raises WorkspaceError if the database cannot be reached, stays locked, or has no room: not a mistake of ours."""
    error = failed.original_exception
    if failed.engine is not None and _is_disk_full(error):
        raise WorkspaceError(f"{_name(failed.engine)}: {DISK_FULL}")
    if not isinstance(failed.sqlalchemy_exception, OperationalError) or failed.engine is None:
        return
    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:  # that one is a wrong statement
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WorkspaceError(f"{_name(failed.engine)}: {reason}; check the database, and run the same command again")


def _is_disk_full(error: BaseException) -> bool:
    # SQLite tells a full disk in two ways: its log, and the index of the log.
    code = getattr(error, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_IOERR_SHMSIZE or (isinstance(error, Exception) and is_disk_full(error))


def _migrate(engine: Engine, migrations: str, frozen: bool) -> None:
    config = Config()
    config.set_main_option("script_location", migrations)
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    known = {script.revision for script in scripts.walk_revisions()}
    with engine.connect() as connection:
        if _revision(connection, known) == head:
            return
    if frozen:
        raise WorkspaceError(
            f"{_name(engine)}: has an older layout and may not be written, so it cannot be migrated; "
            "run this once as a user who may write it, or copy the workspace to where you may write"
        )
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
    """Copy the database with SQLite itself: the latest entries may be only in its write-ahead log."""
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
    """The file, or the URL without its password."""
    if engine.dialect.name == "sqlite":
        return engine.url.database or "sqlite"
    return engine.url.render_as_string(hide_password=True)
