"""A recipe on two processes: it makes what one makes, however it was interrupted, and ends in one line and one code."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from malmoi.files import read_jsonl
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

pytestmark = pytest.mark.slow
TINY = Path(__file__).with_name("tiny.toml")
TRAINED = {"pretrain": 12, "sft": 30, "reward": 6, "ppo": 8}
SETTINGS = (
    'stages=["corpus", "tokenizer", "pretrain", "demonstrations", "sft", "sample", "rank", "reward", "ppo"]',
    "pretrain.micro_batch_size=1", "sft.micro_batch_size=6", "sft.n_steps=30", "reward.micro_batch_size=3",
    "ppo.micro_batch_size=2", "ppo.n_iterations=2",
)  # fmt: skip
HERE = {"MALMOI_DTYPE": "float32", "MALMOI_DEVICE": "cpu", "MALMOI_THREADS": "1"}
NOT_EQUAL = {"seconds": 0, "accuracy": 0}
BROKEN = """
from malmoi.algorithms import sft
from malmoi.cli import main
from malmoi.errors import DataError
def build(config, inputs):
    raise DataError("chats.jsonl: cannot be read\\nby this rank")
sft.build = build
main()
"""
"""In place of a file that one machine of several cannot read."""


def words(workspace: Path, *more: str) -> list[str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["run", str(TINY), "--workspace", str(workspace), *settings, *more]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def two_ranks(workspace: Path, *more: str, second: tuple[str, ...] = ("-m", "malmoi")) -> Iterator[list["Rank"]]:
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen(
            [sys.executable, *how, *words(workspace, *more)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **HERE, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank, how in enumerate((("-m", "malmoi"), second))
    ]  # fmt: skip
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


Rank = subprocess.Popen[str]


def ended(ranks: list[Rank]) -> tuple[list[int], list[str], str]:
    """Exit codes, what each said, and all errors."""
    said = [rank.communicate(timeout=600) for rank in ranks]
    return [rank.returncode for rank in ranks], [out for out, _ in said], "".join(err for _, err in said)


def until_trained(ranks: list[Rank], workspace: Path, stage: str, n_steps: int) -> None:
    """Wait until a stage has taken so many steps."""
    until = time.monotonic() + 600
    while all(rank.poll() is None for rank in ranks) and time.monotonic() < until:
        found = list((workspace / "runs").glob(f"*-{stage}/metrics.jsonl"))
        if found and found[0].read_bytes().count(b"\n") >= n_steps:
            return
        time.sleep(0.002)
    raise AssertionError(ended(ranks))


def state_of(workspace: Path, stage: str) -> tuple[str, str]:
    with Ledger.open(Workspace.open(workspace)) as ledger:
        run = next(run for run in ledger.runs() if run.stage == stage)
    return run.status, run.error or ""


def test_two_ranks_make_what_one_makes_however_they_were_interrupted(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with two_ranks(two) as ranks:
        until_trained(ranks, two, "pretrain", 3)
        ranks[1].send_signal(signal.SIGKILL)
        codes, _, errors = ended(ranks)
    assert codes == [2, -signal.SIGKILL] and errors.count("\n") == 1 and "another rank ended" in errors, errors
    assert state_of(two, "pretrain")[0] == "failed"

    with two_ranks(two, second=("-c", BROKEN)) as ranks:
        codes, said, errors = ended(ranks)
    assert codes == [2, 2] and errors == "error: rank 1: chats.jsonl: cannot be read by this rank\n", errors
    assert state_of(two, "sft") == ("failed", "rank 1: chats.jsonl: cannot be read\nby this rank")
    assert "pretrain  0003-pretrain (resumed)" in said[0] and said[1] == ""

    with two_ranks(two) as ranks:
        until_trained(ranks, two, "sft", 3)
        for rank in ranks:
            rank.send_signal(signal.SIGTERM)
        codes, _, errors = ended(ranks)
    assert codes == [130, 130] and errors == "stopped; run the same command again to go on\n"
    assert state_of(two, "sft")[0] == "stopped"

    with two_ranks(two) as ranks:
        codes, said, errors = ended(ranks)
    assert codes == [0, 0], errors
    assert f"malmoi chat ppo --workspace {two}" in said[0] and said[1] == ""
    subprocess.run([sys.executable, "-m", "malmoi", *words(one)], env={**os.environ, **HERE}, check=True, timeout=600)
    for stage, n_steps in TRAINED.items():
        folders = [next((workspace / "runs").glob(f"*-{stage}")) for workspace in (one, two)]
        of_one, of_two = (read_jsonl(folder / "metrics.jsonl") for folder in folders)
        assert [row["step"] for row in of_two] == list(range(1, n_steps + 1))
        for row, expected in zip(of_two, of_one, strict=True):
            assert row | NOT_EQUAL == pytest.approx(expected | NOT_EQUAL, rel=1e-3, abs=1e-4), stage
            # A pair that is all but tied counts for one or the other by the last bit, which other sums make another.
            assert row.get("accuracy", 0) == pytest.approx(expected.get("accuracy", 0), abs=0.1), stage
        model, expected_model = (load_file(folder / "out/model/model.safetensors") for folder in reversed(folders))
        for name, tensor in expected_model.items():
            torch.testing.assert_close(model[name], tensor, atol=1e-4, rtol=1e-3, msg=f"{stage}: {name}")
        about = [json.loads((folder / "out/model/malmoi.json").read_text()) for folder in folders]
        assert about[0].keys() == about[1].keys(), stage


def test_what_the_first_rank_refuses_ends_all(tmp_path: Path) -> None:
    with two_ranks(tmp_path / "w", "--set", f"corpus.text={tmp_path / 'nowhere'}") as ranks:
        codes, said, errors = ended(ranks)
    assert codes == [2, 2] and errors.count("\n") == 1 and "nowhere" in errors, errors
    assert said[1] == ""
