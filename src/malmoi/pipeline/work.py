"""The process of jobs: takes one after the other from the queue, and runs its recipe."""

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from malmoi import __version__
from malmoi.errors import UserError
from malmoi.feedback.contenders import Match
from malmoi.files import is_disk_full, room_kept
from malmoi.pipeline.estimate import shares
from malmoi.pipeline.improve import make_candidate
from malmoi.pipeline.log import RunLog
from malmoi.pipeline.memory import shape_of
from malmoi.pipeline.pinned import PinnedAnswers
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.run import run_recipe
from malmoi.pipeline.start import fetch
from malmoi.pipeline.there import place_of_job
from malmoi.pipeline.watcher import Watcher
from malmoi.stage import CHECKPOINT
from malmoi.stages import find_stage
from malmoi.train.signals import listening
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import (
    ANSWERS,
    IMPROVE,
    arriving_of,
    end_job,
    folder_of,
    has_waiting,
    report_job,
    take_next,
    wait_for_turn,
    working,
)
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.versions import Version, in_service

if TYPE_CHECKING:
    from malmoi.train.loop import Step

HEARTBEAT_S = 1.0
ROOM_EVERY_S = 1.0
ROOM = ".room"
"""In a job's folder while it works: what a full disk leaves, so that it can be recorded that the job failed."""
KNOWN_FROM = 0.03
"""Share of a job from which on its pace says how long the rest takes."""


def work(ledger: Ledger) -> None:
    """Do every job of the queue. Returns at once if there is none; waits while another process works."""
    workspace = Workspace(ledger.root)
    folder_of(workspace).mkdir(parents=True, exist_ok=True)
    while True:
        with working(workspace) as is_ours:
            while is_ours and (job := _next_job(ledger)) is not None:
                run_job(ledger, job)
        if not is_ours:
            wait_for_turn(workspace)
        elif not has_waiting(ledger):  # one that was queued while this process still held the lock woke nobody
            return


def _next_job(ledger: Ledger) -> dict[str, Any] | None:
    """The next job. While the disk is too full to take one, it waits for room: a job of the queue has lost nothing."""
    while True:
        try:
            return take_next(ledger)
        except UserError as error:
            if not is_disk_full(error):
                raise
        time.sleep(ROOM_EVERY_S)


def run_job(ledger: Ledger, job: dict[str, Any]) -> None:
    """Run or resume a job to its end, and record how it ended. An error ends the job, and not the process."""
    workspace, number, settings = Workspace(ledger.root), job["id"], job["settings"]
    folder = folder_of(workspace, number)
    log = RunLog(folder)
    recipe = Recipe.of(settings["recipe"], f"job {number}") if "recipe" in settings else None
    watcher = JobWatcher({"fetch": 1.0} if recipe is None else _shares(recipe, workspace), log)
    with listening(), heart(ledger, number, watcher) as beat:
        try:
            with room_kept(folder / ROOM):
                version = _run(ledger, job, recipe, watcher, log)
            beat.report()
        except KeyboardInterrupt:
            status = "thrown_away" if beat.asked == "throw_away" else "stopped"
            if status == "thrown_away":
                _throw_away(ledger, watcher)
            end_job(ledger, number, status)
            log.say(status.replace("_", " "))
            if beat.asked is None:  # a signal from outside: the process itself shall end
                raise
        except Exception as error:
            said = _told(error, number)
            with contextlib.suppress(UserError):  # before its first heartbeat, nothing has told of its stages
                report_job(ledger, number, watcher.to_row())
            end_job(ledger, number, "failed", said)
            with contextlib.suppress(UserError):  # a disk that is full takes no log either, and the queue goes on
                log.say(f"error: {said}")
                if not isinstance(error, UserError):
                    log.crashed(error)
        else:
            end_job(ledger, number, "done", version=None if version is None else version.number)
            if version is not None:
                log.say(f"done: {version.name} is a candidate; next: malmoi versions compare {version.name}")
            else:
                log.say("done: the assistant answers")


def _run(
    ledger: Ledger, job: dict[str, Any], recipe: Recipe | None, watcher: "JobWatcher", log: RunLog
) -> Version | None:
    """Do a job's work; returns the version that it made, if it was to make one."""
    workspace, number, settings = Workspace(ledger.root), job["id"], job["settings"]
    log.say(f"job {number} {'begins' if job['n_begun'] == 1 else 'goes on'}, malmoi {__version__}")
    if recipe is None:
        fetch(workspace, watcher.fetched, log.say, arriving_of(workspace, number))
        watcher.status["fetch"] = "done"
        return None
    if settings.get("questions"):
        answers = folder_of(workspace, number) / ANSWERS
        watcher.pinned = PinnedAnswers(recipe, workspace, answers, settings["questions"])
    done = run_recipe(recipe, workspace, watcher, place=place_of_job(workspace, settings.get("place")))
    if job["kind"] != IMPROVE:
        return None
    version = make_candidate(ledger, number, settings, done, job["person_id"])
    check(ledger, version, log)
    return version


def _told(error: Exception, number: int) -> str:
    """Why a job failed, in one line."""
    if is_disk_full(error):
        return f"the disk is full; free some space, then let the job go on: malmoi jobs resume {number}"
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"


def _shares(recipe: Recipe, workspace: Workspace) -> dict[str, float]:
    try:
        return shares(recipe, shape_of(recipe, workspace.path))
    except UserError:  # the recipe cannot run, which its run will say
        return dict.fromkeys(recipe.stages, 1 / len(recipe.stages))


def check(ledger: Ledger, version: Version, log: RunLog) -> None:
    """Ask a candidate the pinned questions, and the judge. That it cannot be done makes the candidate no less one."""
    serving = in_service(ledger)
    if serving is None or serving.number == version.number:
        return
    log.say(f"{version.name} and {serving.name} answer the pinned questions, and some for the judge")
    try:
        Match(ledger, version, serving).check()
    except UserError as error:
        log.say(f"not asked: {error}")


class JobWatcher(Watcher):
    """Keeps what a page shows of a job: its stages, how far it is, how long it may take.

    shares: stage -> share of the job's time, as far as that is known before
    """

    def __init__(self, shares: Mapping[str, float], log: RunLog) -> None:
        self.shares, self.log = shares, log
        self.status = dict.fromkeys(shares, "waiting")
        self.pinned: PinnedAnswers | None = None
        self.runs: dict[str, str] = {}
        self.stage: str | None = None
        self.share = 0.0
        self.is_resumed = False
        self.given = 0.0  # share of the job that was done before this process began
        self.arriving: dict[str, tuple[int, int]] = {}
        self.began = time.monotonic()
        self.tell: Callable[[], None] = lambda: None
        """Called when a stage begins: the heart records it."""

    def started(self, stage: str, run_id: str, resumed: bool) -> None:
        self.stage, self.share, self.is_resumed = stage, 0.0, resumed
        self.status[stage], self.runs[stage] = "running", run_id
        self.log.say(f"{stage}  {run_id}{' (resumed)' if resumed else ''}")
        self.tell()

    def skipped(self, stage: str, run_id: str) -> None:
        self.status[stage], self.runs[stage] = "done", run_id
        self.given += self.shares[stage]

    def left_out(self, stage: str, why: str) -> None:
        self.status[stage] = "left_out"
        self.given += self.shares[stage]
        self.log.say(f"{stage} is left out: {why}")

    def finished(self, stage: str, run_id: str, seconds: float) -> None:
        self.status[stage] = "done"
        if self.pinned is not None:
            self.pinned.after(stage, self.runs)
        self.log.say(f"{stage} is done in {seconds:.1f} s")

    def line(self, text: str) -> None:
        self.log.say(text)

    def say(self, line: str) -> None:
        self.log.say(line)

    def step(self, step: "Step") -> None:
        self.share = step.step / step.n_steps
        if self.is_resumed and self.stage is not None:
            self.given += self.shares[self.stage] * (step.step - 1) / step.n_steps
            self.is_resumed = False
        if self.pinned is not None and self.stage is not None:
            self.pinned.look(self.stage, self.runs)

    def progress(self, done: int, total: int | None, unit: str) -> None:
        """Work without steps. A stage may do several works, so that its share only grows."""
        if total and self.stage is not None and not find_stage(self.stage).trains:
            self.share = max(self.share, done / total)

    def fetched(self, name: str, done: int, total: int | None) -> None:
        """How far a model that is fetched has come."""
        self.stage = "fetch"
        self.status["fetch"] = "running"
        self.arriving[name] = (done, total or 0)
        of_all = sum(expected for _, expected in self.arriving.values())
        self.share = sum(arrived for arrived, _ in self.arriving.values()) / of_all if of_all else 0.0

    def to_row(self) -> dict[str, Any]:
        """Percent of the job's time that is over, and the seconds left, as it went so far."""
        stages = [{"name": name, "status": status, "run": self.runs.get(name)} for name, status in self.status.items()]
        over = sum(self.shares[name] for name, status in self.status.items() if status in ("done", "left_out"))
        is_running = self.stage is not None and self.status[self.stage] == "running"
        if self.stage is not None and is_running:
            over += self.shares[self.stage] * self.share
        here, taken = over - self.given, time.monotonic() - self.began
        eta = taken / here * (1 - over) if is_running and here >= KNOWN_FROM else None
        return {
            "stages": stages, "stage": self.stage if is_running else None,
            "eta_s": None if eta is None else round(eta), "percent": round(100 * min(1.0, over)),
        }  # fmt: skip


class Heart:
    """Records every second that the process lives, and ends it if a person asks for that. asked: what was asked"""

    def __init__(self, ledger: Ledger, job: int, watcher: JobWatcher) -> None:
        self.ledger, self.job, self.watcher = ledger, job, watcher
        self.asked: str | None = None
        self.ended = threading.Event()

    def report(self) -> None:
        asked = report_job(self.ledger, self.job, self.watcher.to_row())
        if asked is not None and self.asked is None:
            self.asked = asked
            os.kill(os.getpid(), signal.SIGINT)

    def tell(self) -> None:
        with contextlib.suppress(UserError):  # the database is busy: the next one will tell
            self.report()

    def beat(self) -> None:
        while not self.ended.wait(HEARTBEAT_S):
            self.tell()


@contextlib.contextmanager
def heart(ledger: Ledger, job: int, watcher: JobWatcher) -> Iterator[Heart]:
    """A heart that beats until the block ends."""
    beating = Heart(ledger, job, watcher)
    watcher.tell = beating.tell
    thread = threading.Thread(target=beating.beat, name="heart", daemon=True)
    thread.start()
    try:
        yield beating
    finally:
        beating.ended.set()
        thread.join()


def _throw_away(ledger: Ledger, watcher: JobWatcher) -> None:
    """Remove what an unfinished stage has written; what the ledger says of it stays."""
    for stage, status in watcher.status.items():
        if status == "running" and (run := watcher.runs.get(stage)) is not None:
            folder = ledger.root / "runs" / run
            (folder / CHECKPOINT).unlink(missing_ok=True)
            shutil.rmtree(folder / "out", ignore_errors=True)
