import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from malmoi.errors import WorkspaceError
from malmoi.workspace import locks
from malmoi.workspace.folder import Workspace
from malmoi.workspace.locks import InUseError

HOLD = """
import sys, time
from malmoi.workspace.folder import Workspace
with Workspace.open(sys.argv[1]).running("0001-sft"):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(path: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: subprocess.Popen[str]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()


def test_opening_lays_out_a_folder_and_opening_again_changes_nothing(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "deep" / "w")
    marker = workspace.path / "malmoi.toml"
    assert marker.read_text().startswith("format = 1\n")
    assert workspace.runs.is_dir()
    assert workspace.models.is_dir()
    before = marker.stat().st_mtime_ns
    assert Workspace.open(tmp_path / "deep" / "w") == workspace
    assert marker.stat().st_mtime_ns == before


def test_a_place_without_workspace_is_refused_when_none_may_be_created(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"malmoi\.toml is missing"):
        Workspace.open(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("below", ["", "inside"])
def test_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("words")
    with pytest.raises(WorkspaceError, match="is a file"):
        Workspace.open(tmp_path / "file" / below)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('format = 2\nversion = "9.1"', r"made by Malmoi 9\.1, is newer .* upgrade"),
        ("format = true", "expected a whole number"),
        ("", "expected a whole number"),
    ],
)
def test_an_unreadable_or_newer_format_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "malmoi.toml").write_text(text)
    with pytest.raises(WorkspaceError, match=message) as caught:
        Workspace.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_lock_names_its_holder_and_is_free_once_that_is_killed(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    holder = hold(tmp_path)
    try:
        message = f"0001-sft: is in use by process {holder.pid}; wait for it or stop it"
        with pytest.raises(InUseError, match=message), workspace.running("0001-sft"):
            pass
        assert workspace.is_running("0001-sft")
        with workspace.running("0002-sft"):  # another run's folder is free
            pass
    finally:
        end(holder)
    assert not workspace.is_running("0001-sft")
    with workspace.running("0001-sft"):
        assert (workspace.runs / "0001-sft/.lock").read_text() == f"{os.getpid()} {socket.gethostname()}\n"


def test_the_lock_names_another_machine(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    with workspace.running("0001-sft"):
        (workspace.runs / "0001-sft/.lock").write_text("77 far-away\n")
        with pytest.raises(InUseError, match="in use by process 77 on far-away"), workspace.running("0001-sft"):
            pass


def test_the_lock_is_free_after_an_error_inside(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    with pytest.raises(KeyError), workspace.running("0001-sft"):
        raise KeyError
    with workspace.running("0001-sft"):
        pass


def test_a_lock_for_now_leaves_nothing_that_was_not_there(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for lock in (tmp_path / "there" / ".lock", tmp_path / "new" / "below" / ".lock"):
        with pytest.raises(KeyError), locks.holding_for_now(lock, "it"):
            assert locks.is_held(lock)
            with pytest.raises(InUseError), locks.holding_for_now(lock, "it"):
                pass
            assert locks.is_held(lock)
            raise KeyError
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    with locks.holding_for_now(tmp_path / "new" / "below" / ".lock", "it"):
        (tmp_path / "new" / "made").touch()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "new", tmp_path / "new" / "made", tmp_path / "there"]


def test_locks_that_are_removed_and_made_again_are_held_by_one_at_a_time(tmp_path: Path) -> None:
    """flock is by open file: threads exclude each other as processes do."""
    inside, most, done = list[int](), list[int](), list[int]()

    def work() -> None:
        while len(done) < 60:
            with contextlib.suppress(InUseError), locks.holding_for_now(tmp_path / "a" / "b" / ".lock", "it"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()
                done.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1} and not list(tmp_path.rglob(".lock"))


def test_readers_share_a_run_and_keep_it_from_those_who_would_change_it(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    with workspace.running("0001-sft"):
        made = workspace.runs / "0001-sft" / "out" / "model"
        made.mkdir(parents=True)
    with workspace.keeping(made):
        with workspace.keeping(made.parent):
            assert not workspace.is_running("0001-sft")  # reading is no work
        with pytest.raises(InUseError) as caught, workspace.running("0001-sft"):
            pass
    # Only Linux tells who they are.
    assert caught.value.holder == (f"process {os.getpid()}" if sys.platform == "linux" else "another process")
    with workspace.running("0001-sft"):
        made.rmdir()
    with pytest.raises(WorkspaceError, match="was removed meanwhile"), workspace.keeping(made):
        pass


def test_what_a_run_is_still_making_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SHARED_WITHIN_S", 0.1)
    workspace = Workspace.open(tmp_path)
    with workspace.running("0001-sft"):
        made = workspace.runs / "0001-sft" / "out"
        made.mkdir()
        with pytest.raises(InUseError, match=f"0001-sft: is in use by process {os.getpid()}"), workspace.keeping(made):
            pass


def test_what_lies_outside_the_runs_is_not_held(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w")
    (tmp_path / "model").mkdir()
    with workspace.keeping(tmp_path / "model"):
        pass
    assert not list((tmp_path / "model").iterdir())
