"""A base model trained from scratch on token shards, with held-out bits per byte before, during and after."""

from dataclasses import replace

from malmoi import device
from malmoi.algorithms import pretrain
from malmoi.cost import Cost, Sizes
from malmoi.data.tokens import warning_if_short
from malmoi.evals.heldout import keep_best_of_text
from malmoi.facts import Card, Facts, Line, Plot, Section, Summary, figures, points
from malmoi.files import read_json, write_json
from malmoi.formats.inspect import ABOUT
from malmoi.model.transformer import LanguageModel
from malmoi.stage import BASE, MODEL, Context, Finished, required
from malmoi.stages._training import loss_plots, save, train, training_cost
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

Settings, Inputs = pretrain.Config, pretrain.Inputs
READS = {"shards": required("shards"), "tokenizer": required("tokenizer")}
MAKES = {BASE: MODEL}
TRAINS = True
UNUSED = pretrain.UNUSED


def expects(settings: pretrain.Config, sizes: Sizes) -> Sizes:
    """The network."""
    vocab_size = settings.model.vocab_size or sizes.shape.vocab_size
    return replace(sizes, shape=settings.model.model_copy(update={"vocab_size": vocab_size}))


def cost(settings: pretrain.Config, sizes: Sizes) -> Cost:
    """Whole windows of text; the best weights are kept."""
    training = training_cost(settings, "text", sizes, n_tokens=sizes.shape.seq_len)
    return Cost(replace(training, is_averaged=True))


def run(context: Context, settings: pretrain.Config) -> None:
    """Train, measure bits per byte on the held-out shards, and keep the weights of the lowest."""
    shards = context.reads("shards").path
    folder = context.reads("tokenizer").path
    text = Tokenizer.load(folder), ChatTemplate.load(folder)
    job = pretrain.build(settings, pretrain.Inputs(shards=shards))
    model = job.model
    assert isinstance(model, LanguageModel)
    if said := warning_if_short(shards, model.config.seq_len):
        context.say(said)
    best = keep_best_of_text(job, shards, text[0].pad_id, settings.batch_size, context.say)
    before_path = context.folder / "before.json"
    if not before_path.exists():
        before = best.measure()
        if device.current().is_main:
            write_json(before_path, {"bpb": before})
    train(context, job, settings.loop)
    save(context, job, text, {"bpb_before": read_json(before_path)["bpb"], **best.about("bpb_after")})


def facts(finished: Finished) -> Facts:
    """Loss, speed, and held-out bits per byte during training."""
    about = read_json(finished.out / MODEL / ABOUT)
    found = {key: about[key] for key in ("bpb_before", "bpb_after") if key in about}
    summary, cards, plots = [], [], loss_plots(finished, "Training loss, nats per token", "ink")
    if len(found) == 2:
        before, after = found.values()
        summary.append(Summary("held-out bits per byte, before → after", after, before))
        cards.append(Card("held-out bits per byte", after, before))
        measured = [(0, before), *points(finished.metrics, "bpb")]
        line = Line(measured, "ink")
        plots.append(Plot("Held-out bits per byte", [line], name="bpb", x_label="step", y_limits=(0, None)))
    if rows := finished.metrics:
        found["tokens_per_s"] = sum(row["count"] for row in rows) / sum(row["seconds"] for row in rows)
        summary.append(Summary("pretraining tokens per second", found["tokens_per_s"]))
    labels = {
        "bpb_before": "held-out bits per byte, before",
        "bpb_after": "held-out bits per byte, after",
        "tokens_per_s": "tokens trained on per second",
    }
    lead = (
        "A transformer learns to predict the next token. Bits per byte measure how many bits it needs for each byte "
        "of text that it has never seen."
    )
    if "best_step" in about:
        lead += f" The weights of step {about['best_step']:,} predict the held-out text best, and are kept."
    section = Section("Pretraining", lead, [figures(found, labels), *plots])
    alarms = [f"pretraining: {cause}" for cause in about.get("alarms", {}).values()]
    return Facts([section], cards, summary, alarms=alarms, json={finished.stage: found})
