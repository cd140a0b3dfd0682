"""A policy that answers: the base model, fine-tuned on demonstrations."""

from malmoi.algorithms import sft
from malmoi.cost import Cost, Sizes
from malmoi.data.conversations import taught_by
from malmoi.facts import Facts, Section
from malmoi.formats.folder import load_text
from malmoi.formats.inspect import reading_facts
from malmoi.stage import MODEL, Context, Finished, required
from malmoi.stages._training import as_answering, loss_plots, save, train, training_cost

Settings, Inputs = sft.Config, sft.Inputs
READS = {"model": required("base"), "demonstrations": required("demonstrations")}
MAKES = {"policy": MODEL}
TRAINS = True
LABEL = "SFT"
UNUSED = sft.UNUSED


def cost(settings: sft.Config, sizes: Sizes) -> Cost:
    """Conversations."""
    return Cost(training_cost(settings, "answers", sizes, n_tokens=sizes.chat))


def run(context: Context, settings: sft.Config) -> None:
    """Fine-tune on the demonstrations."""
    start = context.reads("model").path
    data = context.reads("demonstrations").part("train")
    job = sft.build(settings, sft.Inputs(model=start, data=data))
    train(context, job, settings.loop)
    save(context, job, as_answering(load_text(start)), reading_facts(start, taught_by(data)))


def facts(finished: Finished) -> Facts:
    """The loss."""
    lead = "The base model learns to answer; only the assistant’s turns are trained on."
    loss = loss_plots(finished, "Training loss, nats per answer token", "blue")
    return Facts([Section("Supervised fine-tuning", lead, loss)])
