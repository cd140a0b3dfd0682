"""A policy trained by PPO towards answers that the reward model scores high."""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any

from malmoi.algorithms import ppo
from malmoi.cost import Cost, Sizes, TrainingCost
from malmoi.errors import ConfigError
from malmoi.facts import Facts
from malmoi.stage import POLICY, Context, Finished, optional, required
from malmoi.stages import label_of
from malmoi.stages._training import ALIGNED, rollout_cost, rollout_facts, train_on_answers

Settings, Inputs = ppo.Config, ppo.Inputs
READS = {
    "policy": POLICY,
    "reward_model": required("reward model"),
    "prompts": required("prompts"),
    "shards": optional("shards"),
}
MAKES = {"aligned policy": ALIGNED}
TRAINS = True
LABEL = "PPO"
UNUSED = ppo.UNUSED


def check(settings: ppo.Config, reads: Mapping[str, Any]) -> None:
    """Mixing in pretraining text needs token shards."""
    if settings.ptx_coef and not reads["shards"]:
        raise ConfigError(
            "ppo.ptx_coef: mixes in pretraining text, which no stage of this recipe makes; leave it out, or use "
            "`malmoi train ppo` with ptx_shards"
        )


def expects(settings: ppo.Config, sizes: Sizes) -> Sizes:
    """One more policy to compare."""
    return replace(sizes, n_methods=sizes.n_methods + 1)


def cost(settings: ppo.Config, sizes: Sizes) -> Cost:
    """Two networks that are trained on sampled answers, and on text that is mixed in."""
    training = rollout_cost(settings, "rollouts", sizes, n_trained=2)
    return Cost(
        replace(training, is_averaged=bool(settings.average_decay), ptx=_ptx(settings, sizes, training.n_steps))
    )


def _ptx(settings: ppo.Config, sizes: Sizes, n_steps: int) -> TrainingCost | None:
    """Training on pretraining text in all steps; None if no text is mixed in."""
    if not settings.ptx_coef:
        return None
    n_windows, seq_len = ppo.ptx_windows(settings), sizes.shape.seq_len
    rows = min(n_windows, settings.micro_batch_size)
    n_micros = n_steps * ceil(n_windows / rows)
    return TrainingCost("text", settings.loop.optim, rows, seq_len, seq_len, n_micros, lora=settings.lora)


def run(context: Context, settings: ppo.Config) -> None:
    """Sample, score, train; see `algorithms/ppo.py`."""
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
    """How its answers changed during training."""
    lead = (
        "The policy moves towards answers that the reward model scores high; a penalty on the KL divergence keeps it "
        f"close to the {label_of(finished.reads('policy').source)} model. Constants: {finished.settings.preset}."
    )
    return rollout_facts(finished, LABEL, lead)
