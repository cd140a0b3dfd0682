import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from malmoi.errors import UserError
from malmoi.files import folder_atomic, open_atomic, partial_name, remove_partials, sha256_of, write_text

WRITE_AND_WAIT = """
import sys, time
from pathlib import Path
from malmoi.files import folder_atomic, open_atomic
path = Path(sys.argv[1])
with folder_atomic(path / "model") as folder, open_atomic(path / "rows.jsonl") as file:
    (folder / "weights").write_text("half")
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def kill_a_writer(folder: Path) -> int:
    """Leave what a process killed while it wrote `model` and `rows.jsonl` leaves; returns its id."""
    writer = subprocess.Popen([sys.executable, "-c", WRITE_AND_WAIT, str(folder)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    return writer.pid


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_was_writing_is_no_part_of_a_folder_and_is_swept(tmp_path: Path) -> None:
    write_text(tmp_path / "rows.jsonl", "whole")
    before = sha256_of(tmp_path)
    kill_a_writer(tmp_path)
    assert len(names(tmp_path)) == 3
    assert sha256_of(tmp_path) == before
    remove_partials(tmp_path)
    assert names(tmp_path) == ["rows.jsonl"]


def test_whoever_writes_the_same_file_again_sweeps_what_the_dead_left_and_the_living_keep(tmp_path: Path) -> None:
    dead = kill_a_writer(tmp_path)
    thread = partial_name(tmp_path / "rows.jsonl").with_suffix("").with_suffix(".1.partial")
    machine = tmp_path / f".rows.jsonl.{dead}-0ther111.1.partial"  # where that number may be alive
    thread.touch()
    machine.touch()
    write_text(tmp_path / "rows.jsonl", "whole")
    with folder_atomic(tmp_path / "model") as folder:
        (folder / "weights").write_text("whole")
    assert names(tmp_path) == sorted([thread.name, machine.name, "model", "rows.jsonl"])


def test_threads_that_write_one_file_do_not_share_what_they_write(tmp_path: Path) -> None:
    both = threading.Barrier(2)
    errors: list[BaseException] = []

    def write(letter: bytes) -> None:
        try:
            with open_atomic(tmp_path / "file") as file:
                file.write(letter * 1000)
                both.wait(timeout=600)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert (tmp_path / "file").read_bytes() in (b"a" * 1000, b"b" * 1000)
    assert names(tmp_path) == ["file"]


def test_a_folder_is_replaced_as_a_whole_or_stays(tmp_path: Path) -> None:
    for words in ("one", "two"):
        with folder_atomic(tmp_path / "model") as folder:
            (folder / words).write_text(words)
    assert names(tmp_path / "model") == ["two"]
    with pytest.raises(UserError, match="half"), folder_atomic(tmp_path / "model") as folder:
        (folder / "three").write_text("three")
        raise UserError("half")
    assert names(tmp_path / "model") == ["two"]
    assert names(tmp_path) == ["model"]
