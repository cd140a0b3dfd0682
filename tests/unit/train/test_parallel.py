"""Two processes make the updates of one, also when there is nothing to do for the second."""

import importlib
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from malmoi.files import read_jsonl, write_text
from malmoi.train.finished import finished
from malmoi.train.hooks import MetricsFile
from malmoi.train.loop import Hook, Step, fit
from malmoi.train.parallel import share_of

pytestmark = [pytest.mark.usefixtures("float32"), pytest.mark.slow]
WORKER = """
import importlib, sys
from pathlib import Path
from safetensors.torch import save_file
from malmoi import device
from malmoi.errors import ConfigError
from malmoi.train.finished import finished
from malmoi.train.hooks import MetricsFile
from malmoi.train.loop import fit
from malmoi.train.optim import full_tensor
class Stopped(Exception):
    pass
def stop_at(n):
    def hook(step):
        if step.step == n:
            raise Stopped
    return hook
for argument in sys.argv[1:]:
    name, folder, last = argument.split("=")
    algorithm, folder = importlib.import_module(f"malmoi.algorithms.{name}"), Path(folder)
    config = algorithm.Config.model_validate_json((folder / "config.json").read_text())
    inputs = algorithm.Inputs.model_validate_json((folder / "inputs.json").read_text())
    hooks = [MetricsFile(folder / "metrics.jsonl"), stop_at(int(last))]
    try:
        fit(algorithm.build(config, inputs), config.loop, hooks, folder / "checkpoint")
    except ConfigError as error:
        (folder / "refused").write_text(str(error))
        continue
    except Stopped:
        continue
    resumed = algorithm.build(config, inputs)
    fit(resumed, config.loop, resume_from=folder / "checkpoint")
    weights = {name: full_tensor(tensor).contiguous() for name, tensor in resumed.model.state_dict().items()}
    saved = finished(resumed)
    if device.current().is_main:
        save_file(weights, folder / "weights")
        save_file({name: tensor.contiguous() for name, tensor in saved.state_dict().items()}, folder / "saved")
device.barrier()
"""
CASES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "more for the first": ("sft", {"micro_batch_size": 1}, False),
    "nothing for the second": ("sft", {"micro_batch_size": 3}, False),
    "answers for one, text for the other": ("ppo mixed", {"micro_batch_size": 3}, False),
    "answers of both": ("grpo", {}, False),
    "fewer answers than are scored together": ("ppo", {"micro_batch_size": 64}, False),
    "adapters": ("dpo lora", {}, False),
    "comparisons": ("dpo", {}, False),
    "votes": ("kto", {}, False),
    "pictures and captions": ("clip", {}, False),
    "noise": ("denoiser", {}, False),
    "noise on the way": ("consistency", {}, False),
    "codes": ("vae", {"micro_batch_size": 1}, False),
    "two networks": ("gan", {"micro_batch_size": 1}, False),
    "latents": ("autoencoder", {"micro_batch_size": 1}, False),
    "adapters of pictures": ("picture_lora", {}, False),
    "sharded adapters": ("sft lora", {"batch_size": 4, "micro_batch_size": 1}, True),
    "sharded": ("pretrain", {"batch_size": 4}, True),
    "sharded unevenly": ("sft", {"micro_batch_size": 1}, True),
}

NORMALISED = ("codes", "two networks", "latents")
"""A bias just before a normalisation of each channel has no gradient but rounding, of which Adam makes whole steps."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run_on_two_ranks(arguments: list[str]) -> None:
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        assert [worker.wait(timeout=600) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def write_given(folder: Path, config: Any, inputs: Any, fsdp: bool) -> None:
    """Leave in a folder what a rank trains on."""
    loop = config.loop.model_copy(update={"fsdp": fsdp})
    write_text(folder / "config.json", config.model_copy(update={"loop": loop}).model_dump_json())
    write_text(folder / "inputs.json", inputs.model_dump_json())


def test_two_ranks_make_the_weights_and_metrics_of_one(given: dict[str, Any], tmp_path: Path) -> None:
    alone, arguments = {}, []
    for case, (name, change, fsdp) in CASES.items():
        alone[case] = given[name].config.model_copy(update=change), given[name].inputs
        write_given(tmp_path / case, *alone[case], fsdp=fsdp)
        arguments.append(f"{name.split()[0]}={tmp_path / case}=0")
    run_on_two_ranks(arguments)
    del alone["sharded unevenly"]
    assert "3 micro-batches do not divide over 2 ranks" in (tmp_path / "sharded unevenly" / "refused").read_text()
    for case, (config, inputs) in alone.items():
        job = importlib.import_module(type(config).__module__).build(config, inputs)
        fit(job, config.loop, [MetricsFile(tmp_path / case / "alone.jsonl")])
        expected_model = finished(job)
        assert expected_model is not None
        for name, expected in (("weights", job.model.state_dict()), ("saved", expected_model.state_dict())):
            found = load_file(tmp_path / case / name)
            assert found.keys() == expected.keys()
            for key, tensor in expected.items():
                if tensor.ndim > 1 or case not in NORMALISED:
                    torch.testing.assert_close(found[key], tensor, atol=1e-4, rtol=1e-3, msg=f"{case}: {name} {key}")
        rows, ones = (read_jsonl(tmp_path / case / name) for name in ("metrics.jsonl", "alone.jsonl"))
        for row, one in zip(rows, ones, strict=True):
            assert row | {"seconds": 0} == pytest.approx(one | {"seconds": 0}, rel=1e-3, abs=1e-4), case


class Stopped(Exception):
    """In place of a kill."""


def stop_at(n: int) -> Hook:
    def hook(step: Step) -> None:
        if step.step == n:
            raise Stopped

    return hook


def test_a_job_goes_on_at_another_number_of_ranks(given: dict[str, Any], tmp_path: Path) -> None:
    """Weights, moments, answers in hand and the stream, sharded or not: from two ranks to one, and from one to two."""
    cases = {
        "pretrain": {"batch_size": 4}, "ppo": {}, "sft lora": {"batch_size": 4, "micro_batch_size": 1}, "denoiser": {},
    }  # fmt: skip
    wide, narrow, expected = list[str](), list[str](), {}
    for name, change in cases.items():
        config, algorithm = given[name].config.model_copy(update=change), name.split()[0]
        for folder in (tmp_path / f"{name} to one", tmp_path / f"{name} to two"):
            write_given(folder, config, given[name].inputs, fsdp=name not in ("ppo", "denoiser"))
        build = partial(importlib.import_module(type(config).__module__).build, config, given[name].inputs)
        job = build()
        fit(job, config.loop)
        expected[name] = (job.model.state_dict(), config, build)
        with pytest.raises(Stopped):
            fit(build(), config.loop, [stop_at(3)], tmp_path / f"{name} to two" / "checkpoint")
        narrow.append(f"{algorithm}={tmp_path / f'{name} to one'}=3")
        wide.append(f"{algorithm}={tmp_path / f'{name} to two'}=0")
    run_on_two_ranks([*narrow, *wide])
    for name, (weights, config, build) in expected.items():
        job = build()
        fit(job, config.loop, resume_from=tmp_path / f"{name} to one" / "checkpoint")
        for found in (job.model.state_dict(), load_file(tmp_path / f"{name} to two" / "weights")):
            for key, tensor in weights.items():
                torch.testing.assert_close(found[key], tensor, atol=1e-4, rtol=1e-3, msg=f"{name}: {key}")


def test_every_rank_has_a_share_and_nothing_is_done_twice() -> None:
    for n, world_size in ((12, 2), (7, 3), (1, 4), (0, 2)):
        shares = [list(range(n))[share_of(n, rank, world_size)] for rank in range(world_size)]
        assert [one for share in shares for one in share] == list(range(n))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
