"""A second reward model, from rankings that the first never sees: it judges, and nothing is trained on it."""

from malmoi.algorithms import reward
from malmoi.cost import Cost, Sizes
from malmoi.facts import Facts, Section
from malmoi.stage import MODEL, POLICY, Context, Finished, need
from malmoi.stages._scoring import train_scores
from malmoi.stages._training import loss_plots, work_of

Settings, Inputs = reward.Config, reward.Inputs
READS = {
    "policy": POLICY,
    "rankings": need("judge rankings"),
    "demonstrations": need("demonstrations"),
}
MAKES = {"judge": MODEL}
TRAINS = True
UNUSED = reward.UNUSED


def cost(settings: reward.Config, sizes: Sizes) -> Cost:
    """Ranked answers."""
    return Cost(work_of(settings, "rankings", sizes, n_tokens=sizes.ranked, rows_each=sizes.n_ranked))


def run(context: Context, settings: reward.Config) -> None:
    """Learn from the rankings which answer is better."""
    train_scores(context, settings, context.reads("rankings").path)


def facts(finished: Finished) -> Facts:
    """The loss."""
    lead = "A second reward model, which learns from rankings of other prompts. No policy is trained with it."
    loss = loss_plots(finished, "Training loss, nats per pair", "gold", small=True)
    return Facts([Section("Judge", lead, loss)])
