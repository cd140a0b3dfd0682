"""A policy trained by KTO on votes: towards answers that people liked, away from those that they did not."""

from dataclasses import replace
from typing import Any

from malmoi.algorithms import kto
from malmoi.cost import Cost, Sizes
from malmoi.data.votes import all_alike
from malmoi.facts import Curve, Facts, Plot, Section, points
from malmoi.formats.folder import load_text
from malmoi.stage import MODEL, POLICY, Context, Finished, InputsByRole, required
from malmoi.stages._training import as_answering, loss_plots, save, train, training_cost

Settings, Inputs = kto.Config, kto.Inputs
READS = {"policy": POLICY, "votes": required("votes")}
MAKES = {"aligned policy": MODEL}
TRAINS = True
LABEL = "KTO"
UNUSED = kto.UNUSED


def expects(settings: kto.Config, sizes: Sizes) -> Sizes:
    """One more policy to compare."""
    return replace(sizes, n_methods=sizes.n_methods + 1)


def cost(settings: kto.Config, sizes: Sizes) -> Cost:
    """Answers, also read by the reference; and both networks read answers to other prompts."""
    training = training_cost(settings, "answers", sizes, n_tokens=sizes.chat)
    return Cost(replace(training, n_read=3, n_frozen=int(not settings.lora.rank)))


def nothing_to_do(settings: Any, reads: InputsByRole) -> str:
    """Votes that teach nothing."""
    return kto.ONE_KIND if all_alike(reads("votes").part("train")) else ""


def run(context: Context, settings: kto.Config) -> None:
    """Train on the votes."""
    start = context.reads("policy").path
    job = kto.build(settings, kto.Inputs(policy=start, data=context.reads("votes").part("train")))
    train(context, job, settings.loop)
    save(context, job, as_answering(load_text(start)))


def facts(finished: Finished) -> Facts:
    """The loss, and how far the policy moved in general."""
    lead = "The policy moves towards answers that people liked, and away from those that they did not."
    plots = loss_plots(finished, "Training loss; one half: nothing learned yet", finished.stage, small=True)
    if moved := points(finished.metrics, "kl"):
        caption = "Reference point: mean log-ratio of answers to other prompts, nats"
        plots.append(Plot(caption, [Curve(moved, "ink")], name="kl", small=True, x_label="step"))
    return Facts([Section(LABEL, lead, plots)])
