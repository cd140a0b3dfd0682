"""A workspace that may be read and not be written: another person's, or one on a read-only disk."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import index_folder
from malmoi.workspace.ledger import URL_VARIABLE, Ledger

READ = """
import ctypes, os
if os.getuid() == 0:  # whom modes stop only without the capabilities
    nothing = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), nothing) == 0
from malmoi.cli import main
main()
"""
RECORD = """
import os, sys
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import index_folder
from malmoi.workspace.ledger import Ledger
ledger = Ledger.open(Workspace.open(sys.argv[1]))
ledger.start_run(stage="sft", recipe="nano", fingerprint="b", settings={}, seed=1, inputs={})
os._exit(0)
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy_folder: Path) -> Iterator[Path]:
    """A workspace with one run and one model."""
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    workspace = Workspace.open(tmp_path / "what? 100% [mine]")
    shutil.copytree(policy_folder, workspace.models / "base")
    with Ledger.open(workspace) as ledger:
        run_id = ledger.start_run(stage="corpus", recipe="nano", fingerprint="a", settings={}, seed=1, inputs={})
        (workspace.runs / run_id).mkdir()
        (workspace.runs / run_id / "corpus.txt").write_text("words")
        ledger.add_artefact(run_id, "corpus.txt", "text", workspace.runs / run_id / "corpus.txt")
    yield workspace.path
    modes(workspace.path, folder=0o755, file=0o644)


def modes(path: Path, folder: int, file: int) -> None:
    for one in (path, *path.rglob("*")):
        one.chmod(folder if one.is_dir() else file)


def read(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command says that may write nothing there; the files are as they were."""
    modes(path, folder=0o555, file=0o444)
    before = sorted(path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", READ, *words, "--workspace", str(path)], capture_output=True, text=True
    )
    assert sorted(path.rglob("*")) == before
    return done


def read_runs(path: Path) -> list[str]:
    done = read(path, "runs", "list", "--json")
    assert done.returncode == 0, done.stderr
    return [run["id"] for run in json.loads(done.stdout)]


def forget_index(path: Path) -> None:
    (path / "malmoi.db-shm").unlink()


def forget_layout(path: Path) -> None:
    with sqlite3.connect(path / "malmoi.db") as connection:
        connection.execute("DELETE FROM alembic_version")
    connection.close()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["runs", "list"], "0001-corpus"),
        (["runs", "show", "1"], "corpus.txt"),
        (["lineage", "0001-corpus"], "0001-corpus"),
        (["lineage", "0001-corpus", "--down"], "artefact"),
        (["models", "list"], "base"),
        (["models", "show", "base"], "qwen"),
        (["chat", "base", "--prompt", "What is a list?", "--max-tokens", "3", "--seed", "1"], ""),
    ],
)
def test_what_only_reads_works(folder: Path, words: list[str], says: str) -> None:
    done = read(folder, *words)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_answers_are_given_and_not_recorded(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "hall.md").write_text("The boiler was repaired by Okello and Sons.")
    index_folder(Workspace.open(folder), tmp_path / "notes")
    done = read(folder, "ask", "Who repaired the boiler?", "--model", "none", "--json")
    assert done.returncode == 0, done.stderr
    assert "Okello" in done.stdout and json.loads(done.stdout)["id"] is None
    assert "answers are not recorded" in done.stderr and "may not be written" in done.stderr


def test_what_a_killed_process_recorded_is_read(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", RECORD, str(folder)], check=True)
    assert (folder / "malmoi.db-wal").stat().st_size > 0
    assert read_runs(folder) == ["0001-corpus", "0002-sft"]


def test_what_is_being_recorded_is_read(folder: Path) -> None:
    with Ledger.open(Workspace.open(folder)) as ledger:
        ledger.start_run(stage="sft", recipe="nano", fingerprint="b", settings={}, seed=1, inputs={})
        assert read_runs(folder) == ["0001-corpus", "0002-sft"]
        modes(folder, folder=0o755, file=0o644)
        ledger.start_run(stage="ppo", recipe="nano", fingerprint="c", settings={}, seed=1, inputs={})
    assert read_runs(folder) == ["0001-corpus", "0002-sft", "0003-ppo"]


def test_a_log_that_cannot_be_read_is_not_left_out_in_silence(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", RECORD, str(folder)], check=True)
    forget_index(folder)
    done = read(folder, "runs", "list")
    assert done.returncode == 2
    assert "malmoi.db-wal" in done.stderr and done.stderr.count("\n") == 1


def test_an_older_layout_is_one_line(folder: Path) -> None:
    forget_layout(folder)
    done = read(folder, "runs", "list")
    assert done.returncode == 2
    assert "so it cannot be migrated" in done.stderr and done.stderr.count("\n") == 1


def test_what_writes_is_refused(folder: Path) -> None:
    done = read(folder, "run", "nano", "--set", "pretrain.n_steps=1")
    assert done.returncode == 2
    assert "may not be written" in done.stderr


@pytest.mark.parametrize(
    "words", [["run", "nano"], ["demo"], ["models", "show", "base"], ["chat", "base"], ["runs", "list"]]
)
def test_what_may_not_even_be_read_is_one_line(folder: Path, words: list[str]) -> None:
    hidden = folder.parent / "hidden"
    hidden.mkdir()
    inside = folder.rename(hidden / "w")
    hidden.chmod(0o000)
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ, *words, "--workspace", str(inside)], capture_output=True, text=True
        )
    finally:
        hidden.chmod(0o755)
        inside.rename(folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "may not be read" in done.stderr or "Permission denied" in done.stderr
    assert "written" not in done.stderr


def test_the_demo_that_a_workspace_was_begun_with_is_read_where_nothing_may_be_written(folder: Path) -> None:
    with Ledger.open(Workspace.open(folder)) as ledger:
        ledger.start_run(stage="sft", recipe="nano-small", fingerprint="b", settings={}, seed=1, inputs={})
    done = read(folder, "demo", "--set", 'stages=["corpus"]')
    assert done.returncode == 2 and "may not be written" in done.stderr and done.stderr.count("\n") == 1, done.stderr
