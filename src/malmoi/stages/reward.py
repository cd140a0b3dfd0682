"""A reward model, trained on rankings of answers; PPO and GRPO train policies with it."""

from dataclasses import replace
from typing import Any

from malmoi.algorithms import reward
from malmoi.cost import Cost, Sizes
from malmoi.facts import Block, Curve, Facts, Figure, Figures, Note, Plot, Section, points
from malmoi.formats.inspect import ABOUT
from malmoi.stage import MODEL, POLICY, Context, Finished, InputsByRole, optional, required
from malmoi.stages._held_out import held_out_facts, measure_held_out
from malmoi.stages._scoring import nothing_to_learn, scoring_cost, train_scores
from malmoi.stages._training import loss_plots, who_ranked
from malmoi.tokenizer.jinja import read_settings

Settings, Inputs = reward.Config, reward.Inputs
READS = {
    "policy": POLICY,
    "rankings": required("rankings"),
    "demonstrations": required("demonstrations"),
    "start": optional("reward model"),
}
MAKES = {"reward model": MODEL}
TRAINS = True
UNUSED = reward.UNUSED


def cost(settings: reward.Config, sizes: Sizes) -> Cost:
    """Ranked answers."""
    return scoring_cost(settings, sizes)


def nothing_to_do(settings: Any, reads: InputsByRole) -> str:
    """Rankings that teach nothing."""
    return nothing_to_learn(reads("rankings").part("train"))


def run(context: Context, settings: reward.Config) -> None:
    """Train on the rankings, and compare with what it must beat on those that were held out."""
    train_scores(context, settings, context.reads("rankings").part("train"))
    measure_held_out(context, settings)


def facts(finished: Finished) -> Facts:
    """The loss, and how often the model agrees with the rankings."""
    plots = loss_plots(finished, "Training loss, nats per pair", "green", small=True)
    if accuracy := points(finished.metrics, "accuracy"):
        said = who_ranked(finished.reads("rankings").part("train"))
        caption = f"Training pairs ordered as {said} said; a tie counts half"
        plots.append(Plot(caption, [Curve(accuracy, "green")], name="accuracy", small=True, x_label="step"))
    probe: dict[str, Any] = read_settings(finished.out / MODEL / ABOUT).get("probe", {})
    blocks: list[Block] = [*plots]
    if probe:
        blocks.append(Figures([
            Figure("rankings that prefer an answer", probe["n_rankings"]),
            Figure("pairs in the right order, by cross-validation over prompts", probe["accuracy"]),
            Figure("log loss, nats per pair (a coin: 0.693)", probe["log_loss"]),
        ]))  # fmt: skip
        blocks += [
            Note(f"{one['one']} and {one['other']} contradict each other: what one teaches is right about "
                 f"{one['accuracy']:.0%} of the other's pairs.")
            for one in probe["conflicts"]
        ]  # fmt: skip
    own = Section("Reward model", "It learns from rankings which of two answers is better.", blocks)
    held_out = held_out_facts(finished)
    return replace(held_out, sections=[own, *held_out.sections])
