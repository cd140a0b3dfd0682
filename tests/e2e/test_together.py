"""Several processes in one workspace, each on its own run; those that want the same run wait for each other."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from malmoi.files import read_jsonl, write_jsonl
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import URL_VARIABLE, Ledger
from malmoi.workspace.models import remove_model
from malmoi.workspace.runs import list_runs

pytestmark = pytest.mark.slow
TINY = Path(__file__).with_name("tiny.toml")
STAGES = 'stages=["corpus", "tokenizer", "pretrain"]'
FOREVER = 10_000_000
"""Steps of a training that somebody has to stop."""


@pytest.fixture
def place(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace for processes that this test starts, with its own database on every kind of server."""
    monkeypatch.setenv(URL_VARIABLE, database_url)
    monkeypatch.setenv("MALMOI_THREADS", "1")
    return tmp_path / "workspace"


def words(place: Path, n_steps: int) -> list[str]:
    settings = ["--set", STAGES, "--set", f"pretrain.n_steps={n_steps}"]
    return [sys.executable, "-m", "malmoi", "run", str(TINY), "--workspace", str(place), *settings]


def malmoi(place: Path, *command: object) -> None:
    told = [str(word) for word in (*command, "--workspace", place)]
    done = subprocess.run([sys.executable, "-m", "malmoi", *told], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


class Recipe:
    """A recipe in a process of its own. said: the file that holds what it printed"""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process, self.path = process, said

    @property
    def said(self) -> str:
        return self.path.read_text()

    def until(self, is_so: Callable[[], Any]) -> None:
        """Wait, as long as the process lives."""
        deadline = time.monotonic() + 600
        while not is_so():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said
            time.sleep(0.02)

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Alive, holding what it holds, and leaving the processors to others."""
        self.process.send_signal(signal.SIGSTOP)
        yield
        self.process.send_signal(signal.SIGCONT)

    def end(self, number: signal.Signals | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(timeout=600)


@contextmanager
def recipe(place: Path, name: str, n_steps: int) -> Iterator[Recipe]:
    said = place.parent / f"{name}.txt"
    with said.open("wb") as file:
        process = subprocess.Popen(words(place, n_steps), stdout=file, stderr=subprocess.STDOUT)
    try:
        yield Recipe(process, said)
    finally:
        process.kill()
        process.wait()


def n_steps(place: Path, run_id: str) -> int:
    path = place / "runs" / run_id / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def statuses(place: Path) -> dict[str, str]:
    with Ledger.open(Workspace.open(place), only_read=True) as ledger:
        return {row["id"]: row["status"] for row in list_runs(ledger)}


def test_recipes_imports_and_answers_go_on_side_by_side(place: Path) -> None:
    shared = {"0001-corpus": "done", "0002-tokenizer": "done", "0003-pretrain": "done"}
    with recipe(place, "short", 2) as short:
        assert short.end() == 0
    outside = place.parent / "brought"
    shutil.copytree(place / "models" / "base", outside)
    write_jsonl(place.parent / "prompts.jsonl", [{"prompt": "The cat?"}])
    with recipe(place, "first", FOREVER) as first:
        first.until(lambda: n_steps(place, "0004-pretrain") > 0)
        with first.resting():
            malmoi(place, "models", "import", outside, "--name", "brought")
            answers = place.parent / "answers.jsonl"
            malmoi(place, "generate", "brought", "--prompts", place.parent / "prompts.jsonl", "--out", answers,
                   "--max-tokens", 4)  # fmt: skip
            assert len(read_jsonl(answers)) == 1
            with recipe(place, "second", FOREVER + 1) as second:
                second.until(lambda: n_steps(place, "0006-pretrain") > 0)
                assert second.said.count("unchanged, not run again") == 2
                with second.resting():
                    running = {"0004-pretrain": "running", "0005-import": "done", "0006-pretrain": "running"}
                    assert statuses(place) == {**shared, **running}
                    with recipe(place, "third", 3) as third:
                        assert third.end() == 0
                    assert os.readlink(place / "models" / "base") == "../runs/0007-pretrain/out/model"
                    assert remove_model(Workspace.open(place), "brought")
                assert second.end(signal.SIGTERM) == 130
        taken = n_steps(place, "0004-pretrain")
        first.until(lambda: n_steps(place, "0004-pretrain") > taken)
        assert first.end(signal.SIGINT) == 130
    ended = {"0004-pretrain": "stopped", "0005-import": "done", "0006-pretrain": "stopped", "0007-pretrain": "done"}
    assert statuses(place) == {**shared, **ended}


def test_who_wants_the_same_run_waits_for_it_and_goes_on_when_it_is_free(place: Path) -> None:
    with recipe(place, "first", FOREVER) as first:
        first.until(lambda: n_steps(place, "0003-pretrain") > 0)
        wait = f"pretrain  waits for 0003-pretrain, which process {first.process.pid} works on; Ctrl-C ends the wait"
        with recipe(place, "second", FOREVER) as second, recipe(place, "third", FOREVER) as third:
            with first.resting():
                second.until(lambda: wait in second.said)
                third.until(lambda: wait in third.said)
                assert third.end(signal.SIGINT) == 130
                assert statuses(place)["0003-pretrain"] == "running"
                first.end(signal.SIGKILL)
            second.until(lambda: "0003-pretrain (resumed)" in second.said)
            assert second.end(signal.SIGINT) == 130
    assert statuses(place) == {"0001-corpus": "done", "0002-tokenizer": "done", "0003-pretrain": "stopped"}


def test_two_that_begin_at_once_do_everything_once(place: Path) -> None:
    with recipe(place, "first", 12) as first, recipe(place, "second", 12) as second:
        assert [first.end(), second.end()] == [0, 0], first.said + second.said
    with Ledger.open(Workspace.open(place)) as ledger:
        made = [(run.id, run.status, sorted(ledger.artefacts_of(run.id))) for run in ledger.runs()]
    assert made == [
        ("0001-corpus", "done", ["out"]),
        ("0002-tokenizer", "done", ["out"]),
        ("0003-pretrain", "done", ["model", "out"]),
    ]
    assert first.said.count("unchanged, not run again") + second.said.count("unchanged, not run again") == 3
