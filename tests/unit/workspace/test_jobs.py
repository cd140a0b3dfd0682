"""The queue of jobs: one at a time, in order, and what was killed goes on."""

import os

import pytest

from malmoi.errors import WorkspaceError
from malmoi.workspace import jobs
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import (
    add_job,
    ask,
    curves_of,
    earlier,
    end_job,
    find_job,
    folder_of,
    list_jobs,
    open_job,
    report_job,
    take_next,
    wake,
    working,
)
from malmoi.workspace.ledger import Ledger


def queued(ledger: Ledger, n: int) -> list[int]:
    return [add_job(ledger, "improve", {"how": "train"}) for _ in range(n)]


def test_jobs_are_taken_in_order_and_one_can_go_first(ledger: Ledger) -> None:
    first, second, third = queued(ledger, 3)
    assert [job["place"] for job in reversed(list_jobs(ledger))] == [1, 2, 3]
    assert earlier(ledger, third)["place"] == 1
    taken = []
    while (job := take_next(ledger)) is not None:
        taken.append(job["id"])
        end_job(ledger, job["id"], "done")
    assert taken == [third, first, second] and open_job(ledger) is None


def test_a_killed_job_goes_on_before_the_queue(ledger: Ledger) -> None:
    first, second = queued(ledger, 2)
    with working(Workspace(ledger.root)) as is_ours:
        assert is_ours
        assert (job := take_next(ledger)) is not None and job["id"] == first
        assert find_job(ledger, first)["status"] == "running" and find_job(ledger, second)["place"] == 1
    # Its process is gone without a word.
    assert find_job(ledger, first)["status"] == "interrupted"
    again = take_next(ledger)
    assert again is not None and again["id"] == first and again["n_begun"] == 2


def test_only_one_process_works(ledger: Ledger) -> None:
    workspace = Workspace(ledger.root)
    with working(workspace) as first, working(workspace) as second:
        assert first and not second


def test_what_a_person_asks_reaches_the_process(ledger: Ledger) -> None:
    (job,) = queued(ledger, 1)
    with working(Workspace(ledger.root)):
        take_next(ledger)
        assert report_job(ledger, job, {"stage": "reward", "percent": 50}) is None
        assert ask(ledger, job, "stop")["status"] == "running" and report_job(ledger, job) == "stop"
        shown = open_job(ledger)
        assert shown is not None and (shown["stage"], shown["percent"]) == ("reward", 50)
    end_job(ledger, job, "stopped")
    assert ask(ledger, job, "throw_away")["status"] == "thrown_away"
    with pytest.raises(WorkspaceError, match="is thrown_away; there is nothing to stop"):
        ask(ledger, job, "stop")


def test_a_job_of_the_queue_is_stopped_at_once(ledger: Ledger) -> None:
    (job,) = queued(ledger, 1)
    assert ask(ledger, job, "stop")["status"] == "stopped" and take_next(ledger) is None
    with pytest.raises(WorkspaceError, match="job 9: there is no such job here"):
        find_job(ledger, 9)


def test_a_job_that_begins_while_it_is_stopped_is_asked_to_stop(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = queued(ledger, 1)
    found = find_job(ledger, job)
    with working(Workspace(ledger.root)):
        take_next(ledger)
        seen = iter([found])  # as it was a moment ago
        with monkeypatch.context() as patched:
            patched.setattr(jobs, "find_job", lambda *_: next(seen, None))
            ask(ledger, job, "stop")
        assert report_job(ledger, job) == "stop"


def test_curves_are_of_the_stage_that_trained_last(ledger: Ledger) -> None:
    (job,) = queued(ledger, 1)
    stages = [{"name": "judgements", "run": "0001-judgements"}, {"name": "reward", "run": "0002-reward"}]
    report_job(ledger, job, {"stages": stages})
    folder = ledger.root / "runs" / "0002-reward"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.7, "accuracy": 0.5}\n{"step": 2, "loss": 0.6}\n{"st')
    assert curves_of(ledger.root, find_job(ledger, job)) == {"loss": [[1, 0.7], [2, 0.6]], "accuracy": [[1, 0.5]]}
    assert folder_of(Workspace(ledger.root), job).name == f"{job:04d}"


def test_a_process_of_jobs_lets_chat_go_first(ledger: Ledger) -> None:
    queued(ledger, 1)
    wake(ledger)
    process = jobs._begun[-1]
    try:
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == min(19, own + jobs.NICE)
    finally:
        process.kill()
        process.wait()
