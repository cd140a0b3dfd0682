"""A reward model, trained on rankings of answers: what PPO and GRPO follow."""

from malmoi.algorithms import reward
from malmoi.cost import Cost, Sizes
from malmoi.facts import Curve, Facts, Plot, Section, points
from malmoi.stage import MODEL, POLICY, Context, Finished, need
from malmoi.stages._scoring import train_scores
from malmoi.stages._training import loss_plots, who_ranked, work_of

Settings, Inputs = reward.Config, reward.Inputs
READS = {
    "policy": POLICY,
    "rankings": need("rankings"),
    "demonstrations": need("demonstrations"),
}
MAKES = {"reward model": MODEL}
TRAINS = True
UNUSED = reward.UNUSED


def cost(settings: reward.Config, sizes: Sizes) -> Cost:
    """Ranked answers."""
    return Cost(work_of(settings, "rankings", sizes, n_tokens=sizes.ranked, rows_each=sizes.n_ranked))


def run(context: Context, settings: reward.Config) -> None:
    """Learn from the rankings which answer is better."""
    train_scores(context, settings, context.reads("rankings").part("train"))


def facts(finished: Finished) -> Facts:
    """The loss, and how often it agrees with who ranked."""
    plots = loss_plots(finished, "Training loss, nats per pair", "green", small=True)
    if accuracy := points(finished.metrics, "accuracy"):
        said = who_ranked(finished.reads("rankings").part("train"))
        caption = f"Training pairs ordered as {said} said; a tie counts half"
        plots.append(Plot(caption, [Curve(accuracy, "green")], name="accuracy", small=True, x_label="step"))
    return Facts([Section("Reward model", "It learns from rankings which of two answers is better.", plots)])
