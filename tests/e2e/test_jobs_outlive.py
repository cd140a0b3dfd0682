"""A job outlives the server, and a machine that slept; one whose process is killed is said to be, and goes on."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from malmoi.workspace.base import now
from malmoi.workspace.database import writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import find_job
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.ring_schema import JobRow
from tests.e2e.serving import Server, until

HOW = {"how": "best-of-n", "n": 2}


@pytest.fixture
def server(small_ring: Workspace, tmp_path: Path) -> Iterator[Server]:
    server = Server(small_ring.path, tmp_path / "log")
    server.begin()
    yield server
    server.kill()


@pytest.fixture
def ledger(small_ring: Workspace) -> Iterator[Ledger]:
    with Ledger.open(small_ring) as opened:
        yield opened


@pytest.fixture
def owner(server: Server, ledger: Ledger) -> Iterator[httpx.Client]:
    with server.client(ledger, "Owner") as client:
        server.until_it_answers(client)
        yield client


def improve(owner: httpx.Client) -> int:
    begun = owner.post("/api/improve", json=HOW)
    assert begun.status_code == 201, begun.text
    return int(begun.json()["id"])


def row_of(ledger: Ledger, job: int) -> Any:
    with ledger.engine.connect() as connection:
        return connection.execute(select(JobRow.__table__).where(JobRow.id == job)).one()


def until_it_trains(ledger: Ledger, job: int) -> None:
    def trains() -> bool:
        found = find_job(ledger, job)
        assert found["status"] in ("queued", "running"), found
        return found["stage"] in ("reward", "judge")

    until(trains)


def test_a_job_ends_by_itself_when_the_server_is_killed(server: Server, ledger: Ledger, owner: httpx.Client) -> None:
    job = improve(owner)
    until_it_trains(ledger, job)
    server.kill()
    assert row_of(ledger, job).status == "running"
    until(lambda: find_job(ledger, job)["status"] not in ("queued", "running"))
    server.begin()
    server.until_it_answers(owner)
    shown = owner.get(f"/api/jobs/{job}").json()
    assert (shown["status"], shown["version"], shown["n_begun"], shown["error"]) == ("done", "v2", 1, None)
    assert any("v2 is a candidate" in line for line in shown["log"])
    listed = owner.get("/api/versions").json()["versions"]
    assert [(one["name"], one["state"]) for one in listed] == [("v2", "candidate"), ("v1", "in_service")]


def test_a_job_that_slept_lives_and_one_that_was_killed_goes_on(ledger: Ledger, owner: httpx.Client) -> None:
    job = improve(owner)
    until_it_trains(ledger, job)
    with writing(ledger.engine) as connection:  # so that the process sleeps outside of a transaction
        pid = int(connection.scalar(select(JobRow.pid).where(JobRow.id == job)) or 0)
        os.kill(pid, signal.SIGSTOP)
        hours_ago = now() - timedelta(hours=9)
        connection.execute(update(JobRow).where(JobRow.id == job).values(heartbeat_at=hours_ago))
    try:
        second = improve(owner)  # which would wake a process if nobody worked
        assert owner.get(f"/api/jobs/{job}").json()["status"] == "running"
        assert owner.get(f"/api/jobs/{second}").json()["place"] == 1
    finally:
        os.kill(pid, signal.SIGCONT)
    until(lambda: row_of(ledger, job).heartbeat_at > hours_ago or row_of(ledger, job).status != "running")
    assert (row_of(ledger, job).n_begun, row_of(ledger, second).n_begun) == (1, 0)

    if row_of(ledger, job).status == "running":
        os.kill(pid, signal.SIGKILL)
        until(lambda: owner.get(f"/api/jobs/{job}").json()["status"] != "running", 30)
        assert owner.get(f"/api/jobs/{job}").json()["status"] == "interrupted"
        assert owner.get("/api/status").json()["job"]["status"] == "interrupted"
        assert owner.post(f"/api/jobs/{job}/resume", json={}).status_code == 200
    until(lambda: find_job(ledger, second)["status"] not in ("queued", "running"), 240)
    first = owner.get(f"/api/jobs/{job}").json()
    assert (first["status"], first["version"]) == ("done", "v2"), first
    assert find_job(ledger, second)["version"] == "v3"
