"""metrics.jsonl only ever grows, one line a step, whatever happened to the process that wrote it."""

from pathlib import Path

import pytest

from malmoi.files import read_jsonl
from malmoi.train.hooks import MetricsFile
from malmoi.train.loop import Step

pytestmark = pytest.mark.usefixtures("float32")


def write(path: Path, steps: range, loss: float) -> None:
    metrics = MetricsFile(path)
    for number in steps:
        metrics(Step(number, 10, {"loss": loss}, seconds=0.25, count=8))


def test_one_object_a_step(tmp_path: Path) -> None:
    write(tmp_path / "metrics.jsonl", range(1, 3), loss=0.5)
    assert read_jsonl(tmp_path / "metrics.jsonl") == [
        {"step": 1, "loss": 0.5, "seconds": 0.25, "count": 8},
        {"step": 2, "loss": 0.5, "seconds": 0.25, "count": 8},
    ]


def test_steps_that_are_taken_again_are_not_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 6), loss=1.0)
    before = path.read_bytes()
    write(path, range(3, 9), loss=2.0)
    assert path.read_bytes().startswith(before)
    assert [(row["step"], row["loss"]) for row in read_jsonl(path)] == [
        *((n, 1.0) for n in range(1, 6)),
        *((n, 2.0) for n in range(6, 9)),
    ]


@pytest.mark.parametrize("kept", [b'{"st', b'{"step": 4, "loss": 1.0}', b"\x00\x00", b"{"])
def test_a_torn_last_line_is_cut_off_and_written_again(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, range(1, 4), loss=1.0)
    whole = path.read_bytes()
    path.write_bytes(whole + kept)
    write(path, range(2, 6), loss=2.0)
    assert path.read_bytes().startswith(whole)
    assert [row["step"] for row in read_jsonl(path)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("torn", [b"", b'{"step": 1'])
def test_a_file_without_one_whole_line_starts_anew(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(torn)
    write(path, range(1, 3), loss=1.0)
    assert [row["step"] for row in read_jsonl(path)] == [1, 2]
