"""Jobs: long work in a process of its own. Two that are asked for at once are done one after the other.

A process that works holds the lock of `jobs/`; who takes the lock next takes the next job. A job that is recorded as
running while nobody holds the lock was killed: it goes on where it was as soon as a process works again.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import func, insert, select, update

from malmoi.errors import WorkspaceError
from malmoi.files import read_jsonl
from malmoi.workspace.database import lock_table, writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.locks import LOCK, InUseError, holding, is_held, until_free
from malmoi.workspace.ring_schema import JobRow
from malmoi.workspace.schema import now
from malmoi.workspace.versions import people_names

Asked = Literal["stop", "throw_away"]
OPEN = ("queued", "running")
RESUMABLE = ("stopped", "failed", "interrupted")
LOG_LINES = 50
_begun: list["subprocess.Popen[bytes]"] = []
"""Processes that this one has started: a server that runs for weeks asks now and then which of them have ended."""
NICE = 10
"""Chat goes first on a machine that both use."""
CURVES = ("loss", "accuracy", "score")
IMPROVE = "improve"
ANSWERS = "answers.jsonl"
"""In a job's folder: what it answered to its questions at each checkpoint."""


def folder_of(workspace: Workspace, job: int | None = None) -> Path:
    """Of all jobs, or of one: its log is there."""
    return workspace.path / "jobs" / ("" if job is None else f"{job:04d}")


def arriving_of(workspace: Workspace, job: int) -> Path:
    """What a job has fetched so far; it goes when the job is done or thrown away."""
    return folder_of(workspace, job) / "arriving"


def is_at_work(workspace: Workspace) -> bool:
    """Whether a process works on jobs."""
    lock = folder_of(workspace) / LOCK
    return lock.exists() and is_held(lock)


def add_job(ledger: Ledger, kind: str, settings: dict[str, Any], person_id: str | None = None) -> int:
    """Queue a job; returns its number. `wake` starts a process that does it."""
    row = {"kind": kind, "settings": settings, "status": "queued", "person_id": person_id, "progress": {}, "n_begun": 0}
    with writing(ledger.engine) as connection:
        lock_table(connection, JobRow)
        place = (connection.scalar(select(func.max(JobRow.place))) or 0.0) + 1
        made = connection.execute(insert(JobRow), row | {"place": place})
    assert made.inserted_primary_key is not None
    return int(made.inserted_primary_key[0])


def wake(ledger: Ledger) -> None:
    """See to it that a process works on the queue: a detached one, which no end of this process touches."""
    workspace = Workspace(ledger.root)
    waiting = [job for job in list_jobs(ledger) if job["status"] in ("queued", "interrupted")]
    if not waiting or is_at_work(workspace):
        return
    folder = folder_of(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "malmoi", "jobs", "work", "--workspace", str(workspace.path)]
    _begun[:] = [process for process in _begun if process.poll() is None]
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICE))
    _begun.append(process)


@contextlib.contextmanager
def working(workspace: Workspace) -> Iterator[bool]:
    """Work on the queue, as the only process. Gives whether this process may: false if another one does."""
    lock = folder_of(workspace) / LOCK
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(holding(lock, "the queue of jobs"))
            is_ours = True
        except InUseError:
            is_ours = False
        yield is_ours


def wait_for_turn(workspace: Workspace) -> None:
    """Wait until no process works on the queue."""
    until_free(folder_of(workspace) / LOCK)


def take_next(ledger: Ledger) -> dict[str, Any] | None:
    """The next job, now running: first one that was killed, then those of the queue. The caller is `working`."""
    with writing(ledger.engine) as connection:
        lock_table(connection, JobRow)
        query = select(JobRow.id).where(JobRow.status.in_(OPEN)).order_by(JobRow.status.desc(), JobRow.place)
        number = connection.scalar(query.limit(1))
        if number is None:
            return None
        begun = {"status": "running", "pid": os.getpid(), "heartbeat_at": now(), "error": None, "finished_at": None}
        begun |= {"n_begun": JobRow.n_begun + 1, "started_at": func.coalesce(JobRow.started_at, now())}
        connection.execute(update(JobRow).where(JobRow.id == number).values(begun))
    return find_job(ledger, number)


def has_waiting(ledger: Ledger) -> bool:
    """Whether a job waits in the queue."""
    with ledger.engine.connect() as connection:
        return connection.scalar(select(JobRow.id).where(JobRow.status == "queued").limit(1)) is not None


def report_job(ledger: Ledger, job: int, progress: dict[str, Any] | None = None) -> Asked | None:
    """Record that the job's process lives, and what it does; returns what a person asks of it."""
    values: dict[str, Any] = {"heartbeat_at": now()} | ({} if progress is None else {"progress": progress})
    with writing(ledger.engine) as connection:
        connection.execute(update(JobRow).where(JobRow.id == job).values(values))
        asked: Asked | None = connection.scalar(select(JobRow.asked).where(JobRow.id == job))
    return asked


def end_job(
    ledger: Ledger, job: int, status: str, error: str | None = None, version: int | None = None,
    n_begun: int | None = None,
) -> bool:  # fmt: skip
    """Record how a job ended: stopped | failed | done | thrown_away. Returns whether that is recorded.

    n_begun: only if no process has begun or resumed it since
    """
    values = {"status": status, "error": error, "version": version, "finished_at": now(), "asked": None, "pid": None}
    ended = update(JobRow).where(JobRow.id == job)
    if n_begun is not None:
        ended = ended.where(JobRow.n_begun == n_begun)
    with writing(ledger.engine) as connection:
        is_recorded = connection.execute(ended.values(values)).rowcount == 1
    if is_recorded and status in ("done", "thrown_away"):
        shutil.rmtree(arriving_of(Workspace(ledger.root), job), ignore_errors=True)
    return is_recorded


def ask(ledger: Ledger, job: int, what: Asked) -> dict[str, Any]:
    """Stop a job and keep what it did, or throw it away. A running one ends after its step.

    Raises WorkspaceError if it has ended.
    """
    found = find_job(ledger, job)
    if found["status"] in ("queued", "interrupted") or (what == "throw_away" and found["status"] in RESUMABLE):
        ended = end_job(ledger, job, "stopped" if what == "stop" else "thrown_away", n_begun=found["n_begun"])
    else:
        ended = False
    if not ended:
        running = (JobRow.id == job, JobRow.status == "running")
        with writing(ledger.engine) as connection:
            if not connection.execute(update(JobRow).where(*running).values(asked=what)).rowcount:
                raise WorkspaceError(f"job {job}: is {found['status']}; there is nothing to stop")
    return find_job(ledger, job)


def resume(ledger: Ledger, job: int) -> dict[str, Any]:
    """Queue a job again that was stopped or killed, or that failed; it goes on where it was.

    Raises WorkspaceError if it is done, thrown away, or still to come.
    """
    found = find_job(ledger, job)
    if found["status"] not in RESUMABLE:
        raise WorkspaceError(f"job {job}: is {found['status']}; only one that was stopped or failed goes on")
    with writing(ledger.engine) as connection:
        values = {"status": "queued", "asked": None, "error": None, "finished_at": None}
        connection.execute(update(JobRow).where(JobRow.id == job).values(values))
    wake(ledger)
    return find_job(ledger, job)


def earlier(ledger: Ledger, job: int) -> dict[str, Any]:
    """Put a job before the others of the queue."""
    with writing(ledger.engine) as connection:
        lock_table(connection, JobRow)
        first = connection.scalar(select(func.min(JobRow.place)).where(JobRow.status == "queued"))
        queued = (JobRow.id == job, JobRow.status == "queued")
        connection.execute(update(JobRow).where(*queued).values(place=(first or 0.0) - 1))
    return find_job(ledger, job)


def find_job(ledger: Ledger, job: int) -> dict[str, Any]:
    """See `list_jobs`. Raises WorkspaceError if there is no such job."""
    for row in list_jobs(ledger):
        if row["id"] == job:
            return row
    raise WorkspaceError(f"job {job}: there is no such job here; malmoi jobs list")


def list_jobs(ledger: Ledger) -> list[dict[str, Any]]:
    """Every job, newest first, as plain values. A job whose process was killed is `interrupted`."""
    workspace, place = Workspace(ledger.root), 0
    at_work = is_at_work(workspace)
    with ledger.engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(select(JobRow.__table__).order_by(JobRow.place)).mappings()]
        names = people_names(connection)
    # A process may have begun after the first look, or ended after the rows were read.
    at_work = at_work or is_at_work(workspace)
    found = []
    for row in rows:
        if row["status"] == "running" and not at_work:
            row["status"] = "interrupted"
        place += row["status"] == "queued"
        found.append(_row(row, place if row["status"] == "queued" else 0, names))
    return sorted(found, key=lambda job: -job["id"])


def open_job(ledger: Ledger) -> dict[str, Any] | None:
    """The job that runs, else the next of the queue, in short; None if there is nothing to do."""
    rows = [row for row in list_jobs(ledger) if row["status"] in ("running", "queued", "interrupted")]
    first = min(rows, key=lambda row: (row["status"] != "running", row["place"]), default=None)
    return first and {name: first[name] for name in ("id", "kind", "status", "stage", "percent", "eta_s")}


def log_of(workspace: Workspace, job: int) -> list[str]:
    """The last lines of a job's log."""
    path = folder_of(workspace, job) / "log.txt"
    return path.read_text("utf-8", "replace").splitlines()[-LOG_LINES:] if path.exists() else []


def pinned_of(workspace: Workspace, job: dict[str, Any]) -> dict[str, Any] | None:
    """A job's questions with its answers so far: {"questions", "rows": [{"stage", "step", "answers"}]}, or None."""
    questions = job["settings"].get("questions")
    if not questions:
        return None
    path = folder_of(workspace, job["id"]) / ANSWERS
    return {"questions": questions, "rows": read_jsonl(path) if path.exists() else []}


def curves_of(root: Path, job: dict[str, Any]) -> dict[str, list[list[float]]]:
    """At most three curves of the stage that trains or trained last: name -> [[step, value], …]."""
    trained = [stage["run"] for stage in job["stages"] if stage.get("run")]
    paths = [root / "runs" / run / "metrics.jsonl" for run in reversed(trained)]
    path = next((path for path in paths if path.exists()), None)
    lines = path.read_bytes().split(b"\n")[:-1] if path is not None else []  # the last line may still be written
    rows = [json.loads(line) for line in lines]
    found = {name: [[row["step"], row[name]] for row in rows if name in row] for name in CURVES}
    return {name: points for name, points in found.items() if points}


def _row(row: dict[str, Any], place: int, names: dict[str, str]) -> dict[str, Any]:
    settings, progress = row["settings"], row["progress"]
    times = {name: row[name] and row[name].isoformat() for name in ("created_at", "started_at", "finished_at")}
    return {
        "id": row["id"], "kind": row["kind"], **{name: settings.get(name) for name in ("how", "n", "algorithm")},
        "status": row["status"], "place": place, "by": names.get(row["person_id"], row["person_id"]), **times,
        "heartbeat_at": row["heartbeat_at"] and row["heartbeat_at"].isoformat(), "stages": progress.get("stages", []),
        "stage": progress.get("stage"), "percent": progress.get("percent"), "eta_s": progress.get("eta_s"),
        "error": row["error"], "version": row["version"] and f"v{row['version']}", "asked": row["asked"],
        "n_begun": row["n_begun"], "settings": settings, "person_id": row["person_id"],
        "command": f"malmoi jobs show {row['id']}",
    }  # fmt: skip
