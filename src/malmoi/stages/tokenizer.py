"""A tokenizer learned from the training text, and training and held-out text as token shards."""

import json
import random
from array import array
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import IO

from pydantic import Field

from malmoi import config, progress
from malmoi.config import Seed
from malmoi.corpus.documents import Document, each_document
from malmoi.corpus.shards import ShardWriter
from malmoi.cost import Cost, Sizes
from malmoi.facts import Facts, Figure, Figures, Section, show
from malmoi.files import read_json, read_jsonl, write_json
from malmoi.stage import Context, Finished, optional, required
from malmoi.synthetic.phrasings import korean_texts
from malmoi.synthetic.pydocs import Item
from malmoi.tokenizer.bpe import train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.report import N_REPORTED, compression_report

N_NAMES = 10
"""Names that the generated Korean is about."""


class Settings(config.Settings):
    """The tokenizer."""

    vocab_size: int = Field(4096, gt=0)
    """Size of the vocabulary, including special tokens."""
    seed: Seed = 1
    """Seed of the order in which documents are written to the shards."""


READS = {"documents": required("documents"), "items": optional("items")}
MAKES = {"tokenizer": ".", "shards": "."}


def expects(settings: Settings, sizes: Sizes) -> Sizes:
    """The vocabulary."""
    return replace(sizes, shape=sizes.shape.model_copy(update={"vocab_size": settings.vocab_size}))


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Learning the vocabulary, and encoding the text."""
    return Cost(s_per_mb=1.1, holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Learn byte-level BPE on the training text, and write both sides as token shards."""
    documents = context.reads("documents")
    starts = {side: _starts(documents.part(side)) for side in ("train", "heldout")}
    texts = (document.text for document in each_document(documents.part("train")))
    read = progress.track(texts, "documents read", len(starts["train"]))
    learned = train_bpe(chain(read, _generated(context)), settings.vocab_size)
    # Unshuffled, a model learns to rely on neighbouring documents (held-out bpb 1.41 instead of 1.38).
    random.Random(settings.seed).shuffle(starts["train"])
    learned.save(context.out)
    ChatTemplate.default().save(context.out)
    n_done, n_all = 0, sum(map(len, starts.values()))
    for side, places in starts.items():
        with (
            ShardWriter(context.out, side, vocab_size=learned.vocab_size) as writer,
            documents.part(side).open("rb") as file,
        ):
            for start in range(0, len(places), 1000):
                part = [_text_at(file, place) for place in places[start : start + 1000]]
                for text, ids in zip(part, learned.encode_batch(part), strict=True):
                    writer.append([learned.end_of_text_id, *ids], n_bytes=len(text.encode()))
                n_done += len(part)
                progress.report(n_done, n_all, "documents written")
    shown = [document.text for document in islice(each_document(documents.part("heldout")), N_REPORTED)]
    report = compression_report(learned, shown)
    write_json(context.out / "report.json", report)
    packed = ", ".join(f"{name} {row['malmoi']:.2f}" for name, row in report.items())
    if learned.vocab_size < settings.vocab_size:
        context.say(
            f"tokenizer.vocab_size is {settings.vocab_size:,}; the text gives no more than {learned.vocab_size:,}"
        )
    context.say(f"{learned.vocab_size:,} tokens; bytes per token: {packed}")


def _generated(context: Context) -> list[str]:
    """Generated Korean, only for the vocabulary, if the text is Python's documentation, which has none: an assistant
    about it is asked in Korean, too."""
    if (found := context.reads.find("items")) is None:
        return []
    items = sorted(map(Item.from_row, read_jsonl(found.path)), key=lambda item: (-item.used, item.name))
    generated = list(korean_texts([item.name for item in items[:N_NAMES]]))
    context.say(
        f"the vocabulary is also learned from {sum(map(len, generated)) / 1e3:.0f} thousand characters of "
        "generated Korean"
    )
    return generated


def facts(finished: Finished) -> Facts:
    """Bytes per token, compared with GPT-2's tokenizer."""
    rows = [
        Figure(
            f"bytes per token, {'Korean' if text == 'korean' else text}",
            row["malmoi"],
            f"GPT-2 {show(row['gpt2'])}" if "gpt2" in row else "",
        )
        for text, row in read_json(finished.out / "report.json").items()
    ]
    lead = (
        "Byte-level BPE, learned from the text to train on. It can write any text in any language; the more bytes a "
        "token holds, the fewer tokens a text needs."
    )
    return Facts([Section("Tokenizer", lead, [Figures(rows)])])


def _starts(path: Path) -> "array[int]":
    """Byte offset of each line of a file."""
    starts, at = array("Q"), 0
    with path.open("rb") as file:
        for line in file:
            starts.append(at)
            at += len(line)
    return starts


def _text_at(file: IO[bytes], place: int) -> str:
    file.seek(place)
    return Document.from_row(json.loads(file.readline())).text
