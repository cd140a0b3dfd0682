"""Any job killed at any step goes on to the same numbers, bit by bit."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.errors import CheckpointError
from malmoi.files import read_jsonl
from malmoi.train import signals
from malmoi.train.hooks import MetricsFile
from malmoi.train.job import Job
from malmoi.train.loop import Step, fit
from tests.unit.train.killing import Killed, kill_at

pytestmark = pytest.mark.usefixtures("float32")
NAMES = [
    "pretrain", "sft", "sft lora", "reward", "reward lora", "ppo", "ppo mixed", "ppo lora", "dpo", "dpo lora", "kto",
    "grpo", "grpo lora", "clip", "denoiser", "consistency",
    "vae", "gan", "autoencoder",
]  # fmt: skip


def weights_of(job: Job) -> dict[str, torch.Tensor]:
    averaged = job.averaged.state_dict() if job.averaged is not None else {}
    return job.model.state_dict() | {f"averaged.{name}": tensor for name, tensor in averaged.items()}


def metrics_of(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_jsonl(path)]


@pytest.mark.parametrize("name", NAMES)
def test_a_job_killed_at_any_step_resumes_to_the_same_weights_and_metrics(jobs: Any, name: str, tmp_path: Path) -> None:
    whole, loop = jobs[name]()
    fit(whole, loop, [MetricsFile(tmp_path / "whole.jsonl")])
    expected, n_steps = weights_of(whole), whole.n_steps
    for n in range(1, n_steps + 1):
        run = tmp_path / f"killed-{n}"
        run.mkdir()
        job, _ = jobs[name]()
        with pytest.raises(Killed):
            fit(job, loop, [kill_at(n), MetricsFile(run / "metrics.jsonl")], run / "checkpoint")
        torch.manual_seed(n)  # the second process begins with other random numbers
        job, _ = jobs[name]()
        fit(job, loop, [MetricsFile(run / "metrics.jsonl")], run / "checkpoint")
        for key, tensor in weights_of(job).items():
            assert torch.equal(tensor, expected[key]), f"killed at {n}: {key}"
        assert metrics_of(run / "metrics.jsonl") == metrics_of(tmp_path / "whole.jsonl")


def test_a_job_killed_after_every_step_resumes_too(jobs: Any, tmp_path: Path) -> None:
    whole, loop = jobs["ppo"]()
    fit(whole, loop)
    job = whole
    for n in range(2, whole.n_steps + 1):
        job, _ = jobs["ppo"]()
        with pytest.raises(Killed):
            fit(job, loop, [kill_at(n)], tmp_path / "checkpoint")
    job, _ = jobs["ppo"]()
    fit(job, loop, resume_from=tmp_path / "checkpoint")
    assert all(torch.equal(tensor, weights_of(whole)[key]) for key, tensor in weights_of(job).items())


def test_a_finished_job_is_not_trained_again(jobs: Any, tmp_path: Path) -> None:
    job, loop = jobs["sft"]()
    fit(job, loop, resume_from=tmp_path / "checkpoint")
    again, _ = jobs["sft"]()
    seen: list[Step] = []
    fit(again, loop, [seen.append], tmp_path / "checkpoint")
    assert not seen
    assert all(torch.equal(tensor, weights_of(job)[key]) for key, tensor in weights_of(again).items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_writes_a_checkpoint_and_stops(jobs: Any, tmp_path: Path, number: int) -> None:
    whole, loop = jobs["reward"]()
    fit(whole, loop)
    job, _ = jobs["reward"]()
    seldom = loop.model_copy(update={"checkpoint_every_s": 1e9})
    seen: list[int] = []

    def interrupt(step: Step) -> None:
        seen.append(step.step)
        if step.step == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with signals.listening(), pytest.raises(KeyboardInterrupt):
        fit(job, seldom, [interrupt], tmp_path / "checkpoint")
    assert signal.getsignal(number) is before
    assert seen == [1, 2, 3]
    job, _ = jobs["reward"]()
    with signals.listening():
        fit(job, seldom, [lambda step: seen.append(step.step)], tmp_path / "checkpoint")
    assert seen == [1, 2, 3, 4, 5]
    assert all(torch.equal(tensor, weights_of(whole)[key]) for key, tensor in weights_of(job).items())


def test_a_second_signal_interrupts_at_once() -> None:
    with signals.listening(), signals.deferring():
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.stop_requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with signals.listening():
        assert not signals.stop_requested()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_no_loop_runs_the_first_signal_interrupts(number: int) -> None:
    with signals.listening(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5, -1])
def test_a_truncated_checkpoint_is_refused(jobs: Any, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "checkpoint"
    job, loop = jobs["sft"]()
    fit(job, loop, resume_from=path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if kept == 0.5 else int(kept)])
    job, _ = jobs["sft"]()
    before = {key: tensor.clone() for key, tensor in weights_of(job).items()}
    with pytest.raises(CheckpointError, match="checkpoint: not a usable checkpoint"):
        fit(job, loop, resume_from=path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights_of(job).items())


@pytest.mark.parametrize("other", ["reward", "ppo"])
def test_a_checkpoint_of_another_network_is_refused(jobs: Any, tmp_path: Path, other: str) -> None:
    job, loop = jobs[other]()
    fit(job, loop, resume_from=tmp_path / "checkpoint")
    job, loop = jobs["sft"]()
    with pytest.raises(CheckpointError, match="another architecture"):
        fit(job, loop, resume_from=tmp_path / "checkpoint")


def test_weights_are_not_a_checkpoint(jobs: Any, policy_folder: Path) -> None:
    job, loop = jobs["sft"]()
    with pytest.raises(CheckpointError, match="not a usable checkpoint"):
        fit(job, loop, resume_from=policy_folder / "model.safetensors")


def test_a_checkpoint_holds_no_pickle_and_leaves_no_half_file(jobs: Any, tmp_path: Path) -> None:
    job, loop = jobs["ppo"]()
    fit(job, loop, resume_from=tmp_path / "run" / "checkpoint")
    data = (tmp_path / "run" / "checkpoint").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["__metadata__"]["step"] == "8"
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint"]
