"""Malmoi's side of every row. All calls of the benchmarks into Malmoi's training and generation are here."""

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.side import Result, Work, time_decoding
from malmoi import __version__, device
from malmoi.algorithms import grpo, ppo
from malmoi.algorithms import pretrain as pretraining
from malmoi.algorithms import reward as reward_model
from malmoi.algorithms import sft as fine_tuning
from malmoi.formats.folder import load_model
from malmoi.inference.engine import Engine
from malmoi.inference.fastest import way_of
from malmoi.inference.sampling import Sampling
from malmoi.inference.weights import Weights, stored_dtype
from malmoi.model.config import ModelConfig
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig, Step, fit
from malmoi.train.optim import OptimConfig
from malmoi.train.rollouts import RolloutSteps

VERSIONS = {"malmoi": __version__, "torch": torch.__version__, "python": platform.python_version()}
# The number of first steps of pretraining whose losses are compared with the peer's.
N_COMPARED = 8


def decode(work: Work, weights: str) -> Result:
    """weights: float32, bfloat16, int8, int4, or auto: the choice of `malmoi chat`"""
    model = load_model(Path(work["model"]), dtype=stored_dtype(cast(Weights, weights)))
    longest = max(len(ids) for name in ("warm_up", "prompts") for ids in work[name])
    n_rows = len(work["prompts"])
    way = way_of(model, cast(Weights, weights), n_rows)
    engine = Engine(
        model, end_ids=[], weights=way.weights, in_c=way.in_c, n_rows=n_rows, n_max=longest + work["n_new"]
    )  # fmt: skip

    def answer(prompts: list[list[int]], n_new: int, on_first: Callable[[], None]) -> list[list[int]]:
        requests = [engine.submit(ids, Sampling(temperature=0, max_tokens=n_new)) for ids in prompts]
        while not all(request.ids for request in requests):
            engine.step()
        on_first()
        while not engine.is_idle:
            engine.step()
        return [request.ids for request in requests]

    configuration = way.weights if weights != "auto" else f"auto: {way.weights}{'' if way.in_c else ', by PyTorch'}"
    return time_decoding(answer, work) | {"configuration": configuration}


def sft(work: Work, _: str) -> Result:
    n_steps = len(work["chats"]) // work["batch_size"]
    loop = _loop(work)
    config = fine_tuning.Config(
        n_steps=2 * n_steps, batch_size=work["batch_size"], micro_batch_size=work["batch_size"], loop=loop
    )
    inputs = fine_tuning.Inputs(model=Path(work["model"]), data=Path(work["data"]))
    return _second_epoch(fine_tuning.build(config, inputs), loop, n_steps, work)


def reward(work: Work, _: str) -> Result:
    n_steps = len(work["pairs"]) // work["batch_size"]
    loop = _loop(work)
    config = reward_model.Config(
        n_steps=2 * n_steps, batch_size=work["batch_size"], micro_batch_size=work["batch_size"], loop=loop
    )
    inputs = reward_model.Inputs(model=Path(work["reward_model"]), data=Path(work["data"]))
    return _second_epoch(reward_model.build(config, inputs), loop, n_steps, work)


def rl_step(work: Work, _: str) -> Result:
    """PPO with a value network, which is trained in the same update."""
    loop = _loop(work)
    job = ppo.build(ppo.Config(**_rollouts(work), loop=loop), ppo.Inputs(**_rollout_inputs(work)))
    return _time_rollouts(job, loop, work)


def rl_step_grpo(work: Work, _: str) -> Result:
    """GRPO, which like RLOO has no value network."""
    loop = _loop(work)
    config = grpo.Config(**_rollouts(work), group_size=work["n_answers"], loop=loop)
    return _time_rollouts(grpo.build(config, grpo.Inputs(**_rollout_inputs(work))), loop, work)


def _rollout_inputs(work: Work) -> dict[str, Any]:
    return {"policy": Path(work["model"]), "reward_model": Path(work["reward_model"]), "data": Path(work["data"])}


def _rollouts(work: Work) -> dict[str, Any]:
    n_answers = len(work["prompts"]) * work["n_answers"]
    return {
        "n_iterations": 1 + work["n_iterations"], "batch_size": n_answers, "micro_batch_size": n_answers, "n_epochs": 1,
        "temperature": 1.0, "max_tokens": work["n_new"], "beta": 0.05, "missing_eos_penalty": 0,
    }  # fmt: skip


def _time_rollouts(job: Job, loop: LoopConfig, work: Work) -> Result:
    assert isinstance(job.steps, RolloutSteps)
    steps = job.steps
    steps.tokenizer.stop_ids = frozenset([work["spare_id"]])
    ends: list[float] = []
    n_new: list[int] = []

    def look_on(step: Step) -> None:
        ends.append(time.perf_counter())
        assert steps.rollouts is not None
        n_new.append(steps.rollouts.count)

    fit(job, loop, [look_on])
    # The first iteration warms up.
    return {
        "value": (ends[-1] - ends[0]) / work["n_iterations"],
        "configuration": _compute_dtype(),
        "same": {"prompt tokens": work["n_answers"] * sum(map(len, work["prompts"])), "new tokens": n_new[-1]},
    }


def pretrain(work: Work, _: str) -> Result:
    """Train until the time is up, counted from the request to start this process."""
    loop = LoopConfig(optim=OptimConfig(name="adamw", lr=work["lr"], decay="constant"))
    config = pretraining.Config(
        model=ModelConfig(**work["config"]), n_steps=10**9, batch_size=work["n_windows"],
        micro_batch_size=work["n_windows"], seed=work["seed"], loop=loop,
    )  # fmt: skip
    losses: list[float] = []
    n_tokens = 0

    def look_on(step: Step) -> None:
        nonlocal n_tokens
        losses.append(step.metrics["loss"])
        n_tokens += step.count
        if len(losses) >= N_COMPARED and time.time() - work["started"] >= work["seconds"]:
            raise _TimeIsUp

    try:
        fit(pretraining.build(config, pretraining.Inputs(shards=Path(work["shards"]))), loop, [look_on])
    except _TimeIsUp:
        seconds = time.time() - work["started"]
    return {
        "value": n_tokens / seconds,
        "configuration": _compute_dtype(),
        "same": {"loss of the first steps": losses[:N_COMPARED]},
    }


class _TimeIsUp(Exception):
    pass


def _compute_dtype() -> str:
    return str(device.current().compute_dtype).removeprefix("torch.")


def _loop(work: Work) -> LoopConfig:
    return LoopConfig(optim=OptimConfig(lr=work["tiny_lr"], decay="constant", beta2=0.999))


def _second_epoch(job: Job, loop: LoopConfig, n_steps: int, work: Work) -> Result:
    """Two passes over the data: the first warms up and gives the loss, the second is timed."""
    ends: list[float] = []
    loss_sums: list[float] = []
    counts: list[int] = []

    def look_on(step: Step) -> None:
        ends.append(time.perf_counter())
        loss_sums.append(step.metrics["loss"] * step.count)
        counts.append(step.count)

    fit(job, loop, [look_on])
    return {
        "value": work["n_tokens"] / (ends[2 * n_steps - 1] - ends[n_steps - 1]),
        "configuration": _compute_dtype(),
        "same": {"counted": sum(counts[:n_steps]), "loss at step 0": sum(loss_sums[:n_steps]) / sum(counts[:n_steps])},
    }
