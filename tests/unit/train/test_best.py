"""The weights that predict held-out text best are kept, also by a job that is killed, and a rise is an alarm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.train.best import BestWeights, measuring_steps
from malmoi.train.hooks import MetricsFile
from malmoi.train.job import Job
from malmoi.train.loop import fit
from tests.unit.train.killing import Killed, kill_at

pytestmark = pytest.mark.usefixtures("float32")
FALLS, RISES = (5.0, 4.0, 3.0, 2.0, 1.0), (5.0, 2.0, 3.0, 4.0, 6.0)


def watched(job: Job, values: tuple[float, ...], said: list[str] | None = None) -> Job:
    """The job, with measurements that are given for each of its steps."""

    def measure() -> float:
        return values[len(best.measured)]

    say: Callable[[str], None] = (said if said is not None else []).append
    job.best = best = BestWeights(job.model, "bpb", measure, range(1, 6), "held-out bits per byte", say)
    return job


def weights_of(job: Job) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in job.model.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["pretrain", "sft lora"])
def test_a_rise_gives_the_weights_before_it(jobs: Any, name: str) -> None:
    job, loop = jobs[name]()
    at: dict[int, dict[str, torch.Tensor]] = {}
    said: list[str] = []
    fit(watched(job, RISES, said), loop, [lambda step: at.update({step.step: weights_of(job)})])
    assert equal(weights_of(job), at[2]) and not equal(at[2], at[5])
    assert job.best is not None and (job.best.step, job.best.value) == (2, 2.0)
    assert len(said) == 1 and said[0].startswith("alarm: held-out bits per byte rose from 2.000 at step 2 to 3.000 at")
    assert job.best.about("bpb_after") == {
        "bpb_after": 2.0, "best_step": 2, "alarms": {"learned_by_heart": job.best.alarm},
    }  # fmt: skip
    assert "to 6.000 at step 5: the text is learned by heart" in str(job.best.alarm)


def test_without_a_rise_nothing_changes(jobs: Any) -> None:
    plain, loop = jobs["pretrain"]()
    fit(plain, loop)
    job, loop = jobs["pretrain"]()
    fit(watched(job, FALLS), loop)
    assert equal(weights_of(job), weights_of(plain))
    assert job.best is not None and job.best.about("bpb_after") == {"bpb_after": 1.0}


def test_a_job_killed_at_any_step_keeps_the_same_weights(jobs: Any, tmp_path: Path) -> None:
    whole, loop = jobs["pretrain"]()
    fit(watched(whole, RISES), loop, [MetricsFile(tmp_path / "whole.jsonl")])
    for n in range(1, whole.n_steps + 1):
        path = tmp_path / f"killed-{n}"
        job, _ = jobs["pretrain"]()
        with pytest.raises(Killed):
            fit(watched(job, RISES), loop, [kill_at(n)], path)
        job, _ = jobs["pretrain"]()
        fit(watched(job, RISES), loop, resume_from=path)
        assert equal(weights_of(job), weights_of(whole)), f"killed at {n}"
        assert job.best is not None and whole.best is not None and job.best.measured == whole.best.measured
    again, _ = jobs["pretrain"]()
    fit(watched(again, RISES), loop, resume_from=path)
    assert equal(weights_of(again), weights_of(whole))


def test_small_text_is_measured_more_often() -> None:
    assert measuring_steps(820, trained=1.7e6, measured=35_000) == {205, 410, 615, 820}
    assert len(measuring_steps(100, trained=200_000, measured=500)) == 20
    assert measuring_steps(3, trained=100, measured=10) == {1, 2, 3}
