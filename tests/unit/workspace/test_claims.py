"""Who does a piece of work when several processes want it."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest
from sqlalchemy import update

from malmoi.files import write_text
from malmoi.workspace.claims import claimed
from malmoi.workspace.database import writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import OUT, Ledger, Work
from malmoi.workspace.runs import list_runs
from malmoi.workspace.schema import Run

CLAIM = """
import sys
from pathlib import Path
from malmoi.workspace.claims import claimed
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger, Work
with Ledger.open(Workspace.open(sys.argv[1]), sys.argv[2]) as ledger:
    work = Work("sft", "nano", "work", {}, 1, {})
    print("ready", flush=True)
    sys.stdin.readline()
    with claimed(ledger, work, lambda line: print(line, file=sys.stderr, flush=True)) as claim:
        if claim.made is None:
            out = Path(sys.argv[1]) / "runs" / claim.run_id / "out"
            out.mkdir(exist_ok=True)
            (out / "model").write_text("weights")
            print("works on", claim.run_id, flush=True)
            sys.stdin.readline()
            ledger.add_artefact(claim.run_id, "out", "sft", out)
            ledger.finish_run(claim.run_id, 1.0)
        else:
            print("takes", claim.run_id, flush=True)
"""


def work(fingerprint: str = "work") -> Work:
    return Work("sft", "nano", fingerprint, {}, 1, {})


def no_wait(line: str) -> None:
    raise AssertionError(line)


def finish(ledger: Ledger, run_id: str) -> Path:
    out = ledger.root / "runs" / run_id / "out"
    write_text(out / "model", "weights")
    ledger.add_artefact(run_id, OUT, "sft", out)
    ledger.finish_run(run_id, 1.0)
    return out


@pytest.fixture
def claimer(ledger: Ledger, database_url: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Begins a process that claims the work when it is told to."""
    with contextlib.ExitStack() as processes:

        def begin() -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", CLAIM, str(ledger.root), database_url], text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            processes.enter_context(process)
            processes.callback(process.kill)
            assert said(process) == "ready"
            return process

        yield begin


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_a_claim_starts_a_run_then_resumes_it_then_finds_it_done(ledger: Ledger) -> None:
    with claimed(ledger, work(), no_wait) as first:
        assert (first.run_id, first.made, first.resumed) == ("0001-sft", None, False)
        assert Workspace(ledger.root).is_running("0001-sft") and ledger.run("0001-sft").status == "running"
        ledger.mark_run("0001-sft", "failed", error="disk full", seconds=2.0)
    with claimed(ledger, work(), no_wait) as second:
        assert (second.run_id, second.resumed) == ("0001-sft", True)
        run = ledger.run("0001-sft")
        assert (run.status, run.error, run.finished_at, run.seconds) == ("running", None, None, 2.0)
        out = finish(ledger, second.run_id)
    with claimed(ledger, work(), no_wait) as third:
        assert third.made is not None and (third.run_id, third.made.path) == ("0001-sft", out)
        assert not Workspace(ledger.root).is_running("0001-sft")
    with claimed(ledger, work("other"), no_wait) as fourth:
        assert fourth.run_id == "0002-sft"


def test_a_killed_run_goes_on_and_one_whose_work_is_gone_is_done_over(ledger: Ledger) -> None:
    with claimed(ledger, work(), no_wait):
        pass  # as a killed process leaves it: recorded as running, its folder free
    with claimed(ledger, work(), no_wait) as claim:
        assert (claim.run_id, claim.resumed) == ("0001-sft", True)
        out = finish(ledger, claim.run_id)
    out.rename(out.with_name("elsewhere"))
    with claimed(ledger, work(), no_wait) as claim:
        assert (claim.run_id, claim.made, claim.resumed) == ("0002-sft", None, False)


def test_again_starts_another_run_whatever_there_is(ledger: Ledger) -> None:
    with claimed(ledger, work(), no_wait) as claim:
        with claimed(ledger, work(), no_wait, again=True) as second:
            assert second.run_id == "0002-sft"
        finish(ledger, claim.run_id)
    with claimed(ledger, work(), no_wait, again=True) as third:
        assert third.run_id == "0003-sft"


def test_one_that_is_at_work_is_waited_for_also_where_a_later_one_was_interrupted(
    ledger: Ledger, claimer: Callable[[], subprocess.Popen[str]]
) -> None:
    with claimed(ledger, work(), no_wait) as first:
        with claimed(ledger, work(), no_wait, again=True):
            pass
        second = claimer()
        go(second)
        assert second.stderr is not None
        assert second.stderr.readline().startswith("waits for 0001-sft, which process ")
        finish(ledger, first.run_id)
    assert said(second) == "takes 0001-sft"
    assert second.wait(60) == 0


def test_of_many_processes_one_does_the_work_and_the_others_take_it(
    ledger: Ledger, claimer: Callable[[], subprocess.Popen[str]]
) -> None:
    """All begin at once. The first at work is killed, and another goes on with its run."""
    processes = [claimer() for _ in range(4)]
    told: Queue[tuple[subprocess.Popen[str], str]] = Queue()
    for process in processes:
        threading.Thread(target=lambda p=process: told.put((p, said(p))), daemon=True).start()
        go(process)
    killed, line = told.get(timeout=60)
    assert line == "works on 0001-sft"
    killed.kill()
    worker, line = told.get(timeout=60)
    assert line == "works on 0001-sft"
    go(worker)
    assert sorted(told.get(timeout=60)[1] for _ in range(2)) == ["takes 0001-sft"] * 2
    assert sorted(process.wait(60) for process in processes) == [-signal.SIGKILL, 0, 0, 0]
    assert [(run.id, run.status) for run in ledger.runs()] == [("0001-sft", "done")]


def test_processes_that_start_runs_at_once_give_each_its_own_number(ledger: Ledger, database_url: str) -> None:
    script = CLAIM.split("    print(")[0] + (
        "    for number in range(8):\n"
        "        with claimed(ledger, Work('sft', 'nano', f'{sys.argv[3]} {number}', {}, 1, {}), print):\n"
        "            pass\n"
    )
    words = [sys.executable, "-c", script, str(ledger.root), database_url]
    processes = [subprocess.Popen([*words, str(n)], stdout=subprocess.PIPE) for n in range(3)]
    assert [process.communicate(timeout=120) for process in processes] == [(b"", None)] * 3
    assert [run.number for run in ledger.runs()] == [*range(1, 25)]
    assert len({run.fingerprint for run in ledger.runs()}) == 24


def test_a_process_that_lives_says_so_and_one_whose_run_another_has_ends_at_once(
    ledger: Ledger, database_url: str
) -> None:
    often = "from malmoi.workspace import heartbeat; heartbeat.HEARTBEAT_S = 0.05\n"
    command = [sys.executable, "-c", often + CLAIM, str(ledger.root), database_url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdin and process.stdout and process.stderr
            process.stdin.write("\n")
            process.stdin.flush()
            assert [process.stdout.readline() for _ in range(2)] == ["ready\n", "works on 0001-sft\n"]
            (first,) = list_runs(ledger)
            assert (first["host"], first["pid"]) == (socket.gethostname(), process.pid)
            until = time.monotonic() + 60
            while list_runs(ledger)[0]["heartbeat_at"] == first["heartbeat_at"]:
                assert time.monotonic() < until
                time.sleep(0.02)
            with writing(ledger.engine) as connection:  # as `claimed` does on a machine that has got the lock
                connection.execute(update(Run).values(host="second-host", pid=7))
            assert process.wait(60) == 2
            said = process.stderr.read()
            assert "error: 0001-sft: process 7 on second-host goes on with it" in said and "Traceback" not in said
        finally:
            process.kill()
