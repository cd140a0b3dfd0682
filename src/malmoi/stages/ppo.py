"""A policy moved by PPO towards what the reward model scores high."""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

from malmoi.algorithms import ppo
from malmoi.cost import Cost, Sizes, Work
from malmoi.errors import ConfigError
from malmoi.facts import Facts
from malmoi.stage import POLICY, Context, Finished, may, need
from malmoi.stages import label_of
from malmoi.stages._training import ALIGNED, rollout_facts, train_on_answers, work_on_answers

Settings, Inputs = ppo.Config, ppo.Inputs
READS = {
    "policy": POLICY,
    "reward_model": need("reward model"),
    "prompts": need("prompts"),
    "shards": may("shards"),
}
MAKES = {"aligned policy": ALIGNED}
TRAINS = True
LABEL = "PPO"
UNUSED = ppo.UNUSED


def check(settings: ppo.Config, reads: Mapping[str, Any]) -> None:
    """Text can only be mixed in where some was read."""
    if settings.ptx_coef and not reads["shards"]:
        raise ConfigError(
            "ppo.ptx_coef: mixes in pretraining text, which no stage of this recipe makes; leave it out, or use "
            "`malmoi train ppo` with ptx_shards"
        )


def expects(settings: ppo.Config, sizes: Sizes) -> Sizes:
    """One more policy to compare."""
    return replace(sizes, n_methods=sizes.n_methods + 1)


def cost(settings: ppo.Config, sizes: Sizes) -> Cost:
    """Two networks that learn from sampled answers, and text that is mixed in."""
    work = work_on_answers(settings, "rollouts", sizes, n_trained=2)
    return Cost(replace(work, is_averaged=bool(settings.average_decay), ptx=_ptx(settings, sizes, work.n_steps)))


def _ptx(settings: ppo.Config, sizes: Sizes, n_steps: int) -> Work | None:
    """The windows of pretraining text in all steps; None where none are mixed in."""
    if not settings.ptx_coef:
        return None
    n_windows, seq_len = ppo.ptx_windows(settings), sizes.shape.seq_len
    rows = min(n_windows, settings.micro_batch_size)
    n_micros = n_steps * ceil(n_windows / rows)
    return Work("text", settings.loop.optim, rows, seq_len, seq_len, n_micros, lora=settings.lora)


def run(context: Context, settings: ppo.Config) -> None:
    """Sample, score, learn; `algorithms/ppo.py` shows how."""
    reads = context.reads
    shards = reads.find("shards")
    inputs = ppo.Inputs(
        policy=reads("policy").path,
        reward_model=reads("reward_model").path,
        data=reads("prompts").part("train"),
        ptx_shards=shards and shards.path,
    )
    train_on_answers(context, ppo.build(settings, inputs), settings.loop)


def facts(finished: Finished) -> Facts:
    """What became of its answers on the way."""
    lead = (
        "The policy moves towards answers that the reward model scores high; a penalty on the KL divergence keeps it "
        f"close to the {label_of(finished.reads('policy').source)} model. Constants: {finished.settings.preset}."
    )
    return rollout_facts(finished, LABEL, lead)
