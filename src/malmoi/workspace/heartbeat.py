"""The heartbeat of a run: every few seconds its process records in the ledger that it lives, and on which host.

The locks of `locks.py` and `advisory.py` decide who works on a run. A machine that was cut off has lost its lock in the
ledger's server without knowing it: when it comes back, its next heartbeat finds another process in its place.
"""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import SQLAlchemyError

from malmoi.errors import UserError
from malmoi.workspace.database import writing
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Run, now

HEARTBEAT_S = 5.0


def settle(connection: Connection, run_id: str) -> None:
    """Record that this process is at work on a run from now on."""
    values = {"host": socket.gethostname(), "pid": os.getpid(), "heartbeat_at": now()}
    connection.execute(update(Run).where(Run.id == run_id).values(values))


@contextlib.contextmanager
def beating(ledger: Ledger, run_id: str) -> Iterator[None]:
    """Record every few seconds, until the block ends, that this process is at work on a run."""
    ended, me = threading.Event(), (socket.gethostname(), os.getpid())

    def beat() -> None:
        while not ended.wait(HEARTBEAT_S):
            with contextlib.suppress(
                UserError, SQLAlchemyError
            ):  # the database is busy or away: the next one will tell
                if (other := _beat(ledger, run_id, me)) is not None:
                    _leave(run_id, *other)

    thread = threading.Thread(target=beat, name=f"heartbeat of {run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(ledger: Ledger, run_id: str, me: tuple[str, int]) -> tuple[str, int] | None:
    """One heartbeat; gives the host and process that have taken the run over, if any have."""
    own = (Run.id == run_id, Run.host == me[0], Run.pid == me[1])
    with writing(ledger.engine) as connection:
        if connection.execute(update(Run).where(*own).values(heartbeat_at=now())).rowcount:
            return None
        found: Any = connection.execute(select(Run.host, Run.pid).where(Run.id == run_id)).one_or_none()
    return None if found is None or found.pid is None else (found.host, found.pid)


def _leave(run_id: str, host: str, pid: int) -> None:
    """End this process at once: what it would still write, even a checkpoint, is now another's."""
    said = f"error: {run_id}: process {pid} on {host} goes on with it, since nothing was heard of this one for too long"
    print(f"\n{said}; ended here", file=sys.stderr, flush=True)
    os._exit(2)
