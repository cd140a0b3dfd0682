"""A policy trained by GRPO towards answers that score higher than its other answers to the same prompt."""

from dataclasses import replace

from malmoi.algorithms import grpo
from malmoi.cost import Cost, Sizes
from malmoi.facts import Facts
from malmoi.stage import POLICY, Context, Finished, required
from malmoi.stages._training import ALIGNED, rollout_cost, rollout_facts, train_on_answers

Settings, Inputs = grpo.Config, grpo.Inputs
READS = {"policy": POLICY, "reward_model": required("reward model"), "prompts": required("prompts")}
MAKES = {"aligned policy": ALIGNED}
TRAINS = True
LABEL = "GRPO"
UNUSED = grpo.UNUSED


def expects(settings: grpo.Config, sizes: Sizes) -> Sizes:
    """One more policy to compare."""
    return replace(sizes, n_methods=sizes.n_methods + 1)


def cost(settings: grpo.Config, sizes: Sizes) -> Cost:
    """One network that is trained on sampled answers."""
    return Cost(rollout_cost(settings, "answers", sizes, n_trained=1))


def run(context: Context, settings: grpo.Config) -> None:
    """Sample groups of answers, score them, train on them."""
    reads = context.reads
    inputs = grpo.Inputs(
        policy=reads("policy").path, reward_model=reads("reward_model").path, data=reads("prompts").part("train")
    )
    train_on_answers(context, grpo.build(settings, inputs), settings.loop)


def facts(finished: Finished) -> Facts:
    """How its answers changed during training."""
    lead = (
        "Like PPO without a value network: each answer is compared with the others of a group of "
        f"{finished.settings.group_size} to the same prompt."
    )
    return rollout_facts(finished, LABEL, lead)
