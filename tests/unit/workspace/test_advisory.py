"""Two machines, one ledger on PostgreSQL, and a disk without locks: one of them works on a run, the other waits."""

import subprocess
import sys
from pathlib import Path

import pytest

from malmoi.workspace.advisory import holder_there, is_at_work
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.runs import list_runs
from tests.unit.workspace.test_claims import CLAIM

# Another host name, and a disk on which everybody gets every lock.
ELSEWHERE = "import fcntl, socket, sys; fcntl.flock = lambda *_: None; socket.gethostname = lambda: sys.argv[3]\n"


def claimer(root: Path, url: str, host: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ELSEWHERE + CLAIM, str(root), url, host]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdin and process.stdout and process.stdout.readline() == "ready\n"
    return process


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_run_of_another_machine_is_waited_for_and_goes_on_when_that_is_killed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database_url.startswith("postgresql"):
        pytest.skip("SQLite has no locks between machines: only files do")
    monkeypatch.delenv("MALMOI_DATABASE_URL", raising=False)
    workspace = Workspace.open(tmp_path)
    with Ledger.open(workspace, database_url) as ledger:
        first, second = (claimer(tmp_path, database_url, host) for host in ("first-host", "second-host"))
        try:
            go_on(first)
            assert said(first) == "works on 0001-sft"
            assert holder_there(ledger.engine, "0001-sft") == f"process {first.pid} on first-host"
            go_on(second)
            assert second.stderr is not None
            assert f"which process {first.pid} on first-host works on" in second.stderr.readline()
            assert is_at_work(ledger.engine, workspace, "0001-sft")
            (row,) = list_runs(ledger)
            assert (row["status"], row["host"], row["pid"]) == ("running", "first-host", first.pid)
            first.kill()
            seen = row["heartbeat_at"]
            assert said(second) == "works on 0001-sft"
            assert holder_there(ledger.engine, "0001-sft") == f"process {second.pid} on second-host"
            (row,) = list_runs(ledger)
            assert (row["status"], row["host"], row["pid"]) == ("running", "second-host", second.pid)
            assert row["heartbeat_at"] > seen
            go_on(second)
            assert second.wait(60) == 0
            assert not is_at_work(ledger.engine, workspace, "0001-sft")
        finally:
            for process in (first, second):
                process.kill()
                process.communicate()
