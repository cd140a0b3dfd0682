"""Locks in a PostgreSQL ledger: they hold between machines whose disk knows none.

A run at work has a lock on a connection of its own, whose name tells process and host. The server frees the lock when
the connection ends, or is not heard of for half a minute: the connection is the run's heartbeat. An SQLite ledger has
none of this; where one machine writes it, the lock files of `locks.py` are enough.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator

from sqlalchemy import Engine, text

from malmoi.workspace.folder import Workspace
from malmoi.workspace.locks import LOCK, InUseError, until_free

ASK_EVERY_S = 0.5
KEEPALIVE = {"tcp_keepalives_idle": 15, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
"""Seconds, seconds, times: after which the server takes a silent machine to be gone."""
_KEY = "hashtextextended(current_schema() || '/' || :run_id, 0)"
_HOLDER = text(
    f"""SELECT activity.application_name FROM pg_locks AS locks JOIN pg_stat_activity AS activity USING (pid)
    WHERE locks.locktype = 'advisory' AND locks.granted AND locks.objsubid = 1
    AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND locks.classid::bigint = (({_KEY} >> 32) & 4294967295) AND locks.objid::bigint = ({_KEY} & 4294967295)"""
)


def _is_server(engine: Engine) -> bool:
    return engine.dialect.name == "postgresql"


@contextlib.contextmanager
def holding_there(engine: Engine, run_id: str) -> Iterator[None]:
    """Hold the lock of a run in the ledger's server. Raises InUseError that names the process and the host."""
    if not _is_server(engine):
        yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(
            text("SELECT set_config('application_name', :name, false)"),
            {"name": f"process {os.getpid()} on {socket.gethostname()}"[:63]},
        )
        for name, value in KEEPALIVE.items():
            connection.execute(text(f"SET {name} = {value}"))
        if not connection.scalar(text(f"SELECT pg_try_advisory_lock({_KEY})"), {"run_id": run_id}):
            raise InUseError(run_id, holder_there(engine, run_id) or "another process")
        try:
            yield
        finally:
            with contextlib.suppress(Exception):  # the server may be gone, and the lock with it
                connection.execute(text(f"SELECT pg_advisory_unlock({_KEY})"), {"run_id": run_id})


def holder_there(engine: Engine, run_id: str) -> str:
    """The process and the host that hold a run's lock in the ledger's server; "" if none does."""
    if not _is_server(engine):
        return ""
    with engine.connect() as connection:
        return connection.scalar(_HOLDER, {"run_id": run_id}) or ""


def is_at_work(engine: Engine, workspace: Workspace, run_id: str) -> bool:
    """Whether a process of this machine or another one is at work on a run."""
    return workspace.is_running(run_id) or bool(holder_there(engine, run_id))


def until_run_is_free(engine: Engine, workspace: Workspace, run_id: str) -> None:
    """Wait until nobody is at work on a run."""
    until_free(workspace.runs / run_id / LOCK)
    while holder_there(engine, run_id):
        time.sleep(ASK_EVERY_S)
