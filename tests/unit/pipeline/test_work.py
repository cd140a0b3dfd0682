"""What a page shows of a job while it runs: how far it is, and how long it may take."""

import time
from pathlib import Path
from typing import Any

import pytest

from malmoi.errors import WorkspaceError
from malmoi.files import DISK_FULL, room_kept
from malmoi.pipeline.estimate import shares
from malmoi.pipeline.log import RunLog
from malmoi.pipeline.memory import shape_of
from malmoi.pipeline.recipe import find_recipe, read_recipe
from malmoi.pipeline.work import JobWatcher, work
from malmoi.train.loop import Step
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import add_job, find_job, take_next
from malmoi.workspace.ledger import Ledger

SHARES = {"corpus": 0.25, "pretrain": 0.5, "eval": 0.25}


@pytest.fixture
def watcher(tmp_path: Path) -> JobWatcher:
    return JobWatcher(SHARES, RunLog(tmp_path))


def step(number: int, of: int) -> Step:
    return Step(number, of)


def test_percent_is_of_the_time_and_only_grows(watcher: JobWatcher) -> None:
    seen = [watcher.to_row()["percent"]]
    watcher.started("corpus", "0001-corpus", resumed=False)
    for done in (5, 2, 10):
        watcher.progress(done, 10, "files")
        seen.append(watcher.to_row()["percent"])
    watcher.finished("corpus", "0001-corpus", 1.0)
    watcher.started("pretrain", "0002-pretrain", resumed=False)
    watcher.progress(10, 10, "rows")  # before the first step: not the work of the stage
    seen.append(watcher.to_row()["percent"])
    watcher.step(step(5, 10))
    seen.append(watcher.to_row()["percent"])
    watcher.finished("pretrain", "0002-pretrain", 1.0)
    watcher.left_out("eval", "nothing to ask")
    seen.append(watcher.to_row()["percent"])
    assert seen == [0, 12, 12, 25, 25, 50, 100]


def test_what_was_done_before_says_nothing_of_the_pace(watcher: JobWatcher) -> None:
    watcher.began = time.monotonic() - 100
    watcher.skipped("corpus", "0001-corpus")
    watcher.started("pretrain", "0002-pretrain", resumed=True)
    watcher.step(step(6, 10))
    assert watcher.to_row()["eta_s"] == pytest.approx(100 / 0.05 * 0.45, abs=20)
    watcher.step(step(7, 10))
    assert watcher.to_row()["eta_s"] == pytest.approx(100 / 0.1 * 0.4, abs=20)


def test_before_anything_is_known_nothing_is_told(watcher: JobWatcher) -> None:
    watcher.started("corpus", "0001-corpus", resumed=False)
    assert watcher.to_row()["eta_s"] is None


def test_shares_come_from_the_recipe_alone(tmp_path: Path) -> None:
    recipe = read_recipe(find_recipe("nano-small"))
    found = shares(recipe, shape_of(recipe, tmp_path))
    assert [*found] == [*recipe.stages] and sum(found.values()) == pytest.approx(1)
    assert found["pretrain"] > found["tokenizer"] and min(found.values()) > 0


def test_a_job_that_comes_while_the_process_of_jobs_ends_is_done_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"recipe": read_recipe(find_recipe("nano-small"), [f'corpus.text="{tmp_path}/nothing"']).table()}
    late: list[int] = []

    def look_and_be_late(ledger: Ledger) -> dict[str, Any] | None:
        if (found := take_next(ledger)) is None and len(late) < 2:  # before the lock goes
            late.append(add_job(ledger, "build", settings))
        return found

    monkeypatch.setattr("malmoi.pipeline.work.take_next", look_and_be_late)
    with Ledger.open(Workspace.open(tmp_path / "w")) as ledger:
        work(ledger)
        assert [find_job(ledger, job)["status"] for job in late] == ["failed", "failed"]


def test_a_job_that_a_full_disk_keeps_in_the_queue_is_done_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"recipe": read_recipe(find_recipe("nano-small"), [f'corpus.text="{tmp_path}/nothing"']).table()}
    asked: list[int] = []

    def first_without_room(ledger: Ledger) -> dict[str, Any] | None:
        asked.append(1)
        if len(asked) < 3:
            raise WorkspaceError(f"malmoi.db: {DISK_FULL}")
        return take_next(ledger)

    monkeypatch.setattr("malmoi.pipeline.work.take_next", first_without_room)
    monkeypatch.setattr("malmoi.pipeline.work.ROOM_EVERY_S", 0.01)
    with Ledger.open(Workspace.open(tmp_path / "w")) as ledger:
        job = add_job(ledger, "build", settings)
        work(ledger)
        assert find_job(ledger, job)["status"] == "failed" and "nothing" in find_job(ledger, job)["error"]


def test_room_that_was_kept_is_free_when_the_work_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyError), room_kept(tmp_path / "new" / ".room", 10_000):
        assert (tmp_path / "new" / ".room").stat().st_size == 10_000
        raise KeyError
    assert [*(tmp_path / "new").iterdir()] == []
