"""A base model, trained from nothing on token shards; held-out bits per byte before, during and after."""

from dataclasses import replace

from malmoi import device
from malmoi.algorithms import pretrain
from malmoi.corpus.shards import TokenShards
from malmoi.cost import Cost, Sizes
from malmoi.data.tokens import heldout_documents, warning_if_short
from malmoi.evals.bits_per_byte import bits_per_byte
from malmoi.files import read_json, write_json
from malmoi.model.transformer import LanguageModel
from malmoi.stage import BASE, MODEL, Context, need
from malmoi.stages._training import save, train, work_of
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.hooks import every

Settings, Inputs = pretrain.Config, pretrain.Inputs
READS = {"shards": need("shards"), "tokenizer": need("tokenizer")}
MAKES = {BASE: MODEL}
TRAINS = True
UNUSED = pretrain.UNUSED


def expects(settings: pretrain.Config, sizes: Sizes) -> Sizes:
    """The network."""
    vocab_size = settings.model.vocab_size or sizes.shape.vocab_size
    return replace(sizes, shape=settings.model.model_copy(update={"vocab_size": vocab_size}))


def cost(settings: pretrain.Config, sizes: Sizes) -> Cost:
    """Whole windows of text."""
    return Cost(work_of(settings, "text", sizes, n_tokens=sizes.shape.seq_len))


def run(context: Context, settings: pretrain.Config) -> None:
    """Train, and measure what was held out."""
    shards = context.reads("shards").path
    folder = context.reads("tokenizer").path
    text = Tokenizer.load(folder), ChatTemplate.load(folder)
    job = pretrain.build(settings, pretrain.Inputs(shards=shards))
    model = job.model
    assert isinstance(model, LanguageModel)
    n_bytes = TokenShards(shards, "heldout").n_text_bytes
    if said := warning_if_short(shards, model.config.seq_len):
        context.say(said)

    def heldout() -> float:
        return bits_per_byte(model, heldout_documents(shards, model.config.seq_len, text[0].pad_id), n_bytes)

    before_path = context.folder / "before.json"
    if not before_path.exists():
        before = heldout()
        if device.current().is_main:
            write_json(before_path, {"bpb": before})
    train(context, job, settings.loop, [every(max(1, settings.n_steps // 4), "bpb", heldout)])
    save(context, job, text, {"bpb_before": read_json(before_path)["bpb"], "bpb_after": heldout()})
