"""A second reward model, trained on other rankings than the first. It only judges; no policy is trained with it."""

from typing import Any

from malmoi.algorithms import reward
from malmoi.cost import Cost, Sizes
from malmoi.facts import Facts, Section
from malmoi.stage import MODEL, POLICY, Context, Finished, InputsByRole, required
from malmoi.stages._scoring import nothing_to_learn, scoring_cost, train_scores
from malmoi.stages._training import loss_plots

Settings, Inputs = reward.Config, reward.Inputs
READS = {
    "policy": POLICY,
    "rankings": required("judge rankings"),
    "demonstrations": required("demonstrations"),
}
MAKES = {"judge": MODEL}
TRAINS = True
UNUSED = reward.UNUSED


def cost(settings: reward.Config, sizes: Sizes) -> Cost:
    """Ranked answers."""
    return scoring_cost(settings, sizes)


def nothing_to_do(settings: Any, reads: InputsByRole) -> str:
    """Rankings that teach nothing."""
    return nothing_to_learn(reads("rankings").path)


def run(context: Context, settings: reward.Config) -> None:
    """Train on the judge's rankings."""
    train_scores(context, settings, context.reads("rankings").path)


def facts(finished: Finished) -> Facts:
    """The loss."""
    lead = "A second reward model, which learns from rankings of other prompts. No policy is trained with it."
    loss = loss_plots(finished, "Training loss, nats per pair", "gold", small=True)
    return Facts([Section("Judge", lead, loss)])
