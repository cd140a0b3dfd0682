"""What is measured of a policy while it trains: the same after an interruption, and nothing that training sees."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.algorithms import ppo
from malmoi.evals.watch import PolicyWatch
from malmoi.files import read_jsonl, write_jsonl
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.hooks import MetricsFile
from malmoi.train.loop import Hook, LoopConfig, Step, fit

pytestmark = pytest.mark.usefixtures("float32")
LOOP = LoopConfig(checkpoint_every_s=0)


class Killed(Exception):
    """In place of a power cut."""


@pytest.fixture
def inputs(tmp_path: Path, policy_folder: Path, reward_folder: Path) -> ppo.Inputs:
    rows = ({"messages": [{"role": "user", "content": word}], "references": [f"{word}."]} for word in ("cat", "낱말"))
    write_jsonl(tmp_path / "prompts.jsonl", rows)
    return ppo.Inputs(policy=policy_folder, reward_model=reward_folder, data=tmp_path / "prompts.jsonl")


def train(inputs: ppo.Inputs, folder: Path, tokenizer: Tokenizer, kill_at: int = 0) -> tuple[PolicyWatch, list[Step]]:
    """Three iterations of two steps each, on from where the folder's training was killed."""
    folder.mkdir(exist_ok=True)
    config = ppo.Config(n_iterations=3, batch_size=4, n_epochs=2, max_tokens=4, kl_budget=1e6)
    job = ppo.build(config, inputs)
    assert isinstance(job.steps, ppo.PpoSteps)
    metrics = MetricsFile(folder / "metrics.jsonl")
    watch, seen = PolicyWatch(job.steps, tokenizer, folder, lambda line: None), list[Step]()

    def kill(step: Step) -> None:
        if step.step == kill_at:
            raise Killed

    hooks: list[Hook] = [watch, metrics, seen.append, kill]
    fit(job, LOOP, hooks, folder / "checkpoint")
    return watch, seen


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row | {"seconds": 0} for row in read_jsonl(folder / "metrics.jsonl")]


@pytest.mark.parametrize("kill_at", [2, 3, 6])
def test_metrics_alarms_and_samples_are_the_same_after_a_kill(
    inputs: ppo.Inputs, tmp_path: Path, tokenizer: Tokenizer, kill_at: int
) -> None:
    whole, steps = train(inputs, tmp_path / "whole", tokenizer)
    with pytest.raises(Killed):
        train(inputs, tmp_path / "killed", tokenizer, kill_at)
    torch.manual_seed(9)
    resumed, later = train(inputs, tmp_path / "killed", tokenizer)
    golds = {step.step: step.metrics["gold"] for step in steps}
    assert len(golds) == 6 and golds[1] == golds[2] and len(set(golds.values())) > 1
    assert all(step.metrics["gold"] == golds[step.step] for step in later)
    assert rows_of(tmp_path / "killed") == rows_of(tmp_path / "whole")
    assert resumed.alarms == whole.alarms and resumed.golds == whole.golds
    samples = [(tmp_path / name / "samples.jsonl").read_bytes() for name in ("killed", "whole")]
    assert samples[0] == samples[1]


def test_what_the_labeler_says_is_in_no_checkpoint(inputs: ppo.Inputs, tmp_path: Path, tokenizer: Tokenizer) -> None:
    train(inputs, tmp_path / "run", tokenizer)
    data = (tmp_path / "run" / "checkpoint").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    names = {*header, *json.loads(header["__metadata__"]["plain"])}
    assert "stream.info.score" in names and not any("gold" in name for name in names)
