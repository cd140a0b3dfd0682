"""A policy trained by DPO towards the answers that people ranked higher, without a reward model."""

from dataclasses import replace
from typing import Any

from malmoi.algorithms import dpo
from malmoi.cost import Cost, Sizes
from malmoi.facts import Facts, Section
from malmoi.formats.folder import load_text
from malmoi.stage import MODEL, POLICY, Context, Finished, InputsByRole, required
from malmoi.stages._scoring import nothing_to_learn
from malmoi.stages._training import as_answering, loss_plots, save, train, training_cost

Settings, Inputs = dpo.Config, dpo.Inputs
READS = {"policy": POLICY, "rankings": required("rankings")}
MAKES = {"aligned policy": MODEL}
TRAINS = True
LABEL = "DPO"
UNUSED = dpo.UNUSED


def expects(settings: dpo.Config, sizes: Sizes) -> Sizes:
    """One more policy to compare."""
    return replace(sizes, n_methods=sizes.n_methods + 1)


def cost(settings: dpo.Config, sizes: Sizes) -> Cost:
    """Ranked answers, also read by the reference; with adapters, the reference is the policy without them."""
    training = training_cost(settings, "answers", sizes, n_tokens=sizes.ranked, rows_each=sizes.n_ranked)
    return Cost(replace(training, n_read=1, n_frozen=int(not settings.lora.rank)))


def nothing_to_do(settings: Any, reads: InputsByRole) -> str:
    """Rankings that teach nothing."""
    return nothing_to_learn(reads("rankings").part("train"))


def run(context: Context, settings: dpo.Config) -> None:
    """Train on the rankings."""
    start = context.reads("policy").path
    job = dpo.build(settings, dpo.Inputs(policy=start, data=context.reads("rankings").part("train")))
    train(context, job, settings.loop)
    save(context, job, as_answering(load_text(start)))


def facts(finished: Finished) -> Facts:
    """The loss."""
    lead = "The policy moves towards the answers that people ranked higher, without a reward model or sampling."
    loss = loss_plots(finished, "Training loss, nats per pair", finished.stage, small=True)
    return Facts([Section(LABEL, lead, loss)])
