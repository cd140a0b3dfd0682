"""Claims: when several processes want the same piece of work, one of them does it and the others wait for it."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from sqlalchemy import select, update

from malmoi.workspace.advisory import holding_there, is_at_work, until_run_is_free
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.heartbeat import beating, settle
from malmoi.workspace.ledger import Ledger, Made, Work, find_done, insert_run
from malmoi.workspace.locks import InUseError
from malmoi.workspace.schema import Run


class Claim(NamedTuple):
    """The run of a piece of work. made: what it made, where nothing is left to do; resumed: it was interrupted."""

    run_id: str
    made: Made | None = None
    resumed: bool = False


@contextlib.contextmanager
def claimed(ledger: Ledger, work: Work, tell: Callable[[str], None], *, again: bool = False) -> Iterator[Claim]:
    """Find the run of a piece of work, or start one, and hold the run's folder until the block ends.

    If another process is at work on it, wait for that process. Then the work is done, or this process resumes it.
    tell: is given a line before each wait
    again: start a new run in any case
    """
    workspace = Workspace(ledger.root)
    with contextlib.ExitStack() as held:

        def hold(run_id: str) -> None:
            held.enter_context(workspace.running(run_id))
            held.enter_context(holding_there(ledger.engine, run_id))

        while True:
            try:
                claim = _claim(ledger, workspace, work, again, hold)
                break
            except InUseError as error:
                tell(error.waits)
                until_run_is_free(ledger.engine, workspace, error.what)
        if claim.made is None:
            held.enter_context(beating(ledger, claim.run_id))
        yield claim


def _claim(ledger: Ledger, workspace: Workspace, work: Work, again: bool, hold: Callable[[str], None]) -> Claim:
    """One transaction. The folder is locked before it ends: no other process ever sees the run without its lock.

    Raises InUseError if another process is at work on the run.
    """
    with writing(ledger.engine) as connection:
        lock_table(connection, Run)
        if not again:
            if (made := find_done(connection, ledger.root, work.stage, work.fingerprint)) is not None:
                return Claim(made.run_id, made)
            interrupted = (Run.stage == work.stage, Run.fingerprint == work.fingerprint, Run.status != "done")
            runs = connection.scalars(select(Run.id).where(*interrupted).order_by(Run.number.desc())).all()
            # First a run that is at work, if there is one, even if a later run was interrupted.
            for run_id in sorted(runs, key=partial(is_at_work, ledger.engine, workspace), reverse=True)[:1]:
                hold(run_id)
                values = {"status": "running", "error": None, "finished_at": None}
                connection.execute(update(Run).where(Run.id == run_id).values(values))
                settle(connection, run_id)
                return Claim(run_id, resumed=True)
        run_id = insert_run(connection, work)
        settle(connection, run_id)
        hold(run_id)
    return Claim(run_id)
