"""The stages that make material out of raw text: corpus, tokenizer and shards, demonstrations."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from malmoi import progress
from malmoi.corpus import clean
from malmoi.corpus.cloze import FEWEST_ITEMS, TOO_LITTLE, cloze_questions, what_is_asked
from malmoi.corpus.demonstrations import demonstrations, prompts
from malmoi.corpus.documents import Document
from malmoi.corpus.folders import ReadReport, read_folder
from malmoi.corpus.pydocs import Item, read_python_docs
from malmoi.corpus.questions import ask, choose_items
from malmoi.corpus.shards import ShardWriter
from malmoi.errors import DataError
from malmoi.files import read_jsonl, write_json, write_jsonl
from malmoi.pipeline.context import Context
from malmoi.pipeline.recipe import CorpusSettings, DemonstrationSettings, TokenizerSettings
from malmoi.text import text_key
from malmoi.tokenizer.bpe import Tokenizer, train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.report import compression_report

TRIAL_BYTES = 100_000
"""Training text below which it is said what such a text is good for."""


def corpus(context: Context, settings: CorpusSettings) -> None:
    """Read, normalise, drop duplicates and boilerplate, split by document."""
    counts: Counter[str] = Counter()
    report = ReadReport()
    items: list[Item] = []

    def documents() -> Iterator[Document]:
        if settings.text:
            yield from read_folder(Path(settings.text), settings.errors, report, settings.encoding)
            return
        for document, item in read_python_docs(settings.packages):
            if item is not None:
                items.append(item)
            yield document

    kept = list(clean.drop_duplicates(clean.normalised(documents()), counts))
    if settings.text:
        kept = list(clean.drop_boilerplate(kept, settings.min_chars, counts))
    sides = _sides(context, settings, kept, counts)
    for side, found in sides.items():
        write_jsonl(context.out / f"{side}.jsonl", (document.to_row() for document in found))
    if not settings.text:
        known = {document.id for document in sides["train"]}
        write_jsonl(context.out / "items.jsonl", (item.to_row() for item in items if item.document in known))
    n_bytes = {side: sum(len(d.text.encode()) for d in found) for side, found in sides.items()}
    origins = Counter(document.origin for document in kept)
    facts = {
        "documents": {side: len(found) for side, found in sides.items()},
        "bytes": n_bytes,
        "origins": dict(origins),
        "licenses": dict(Counter(document.license for document in kept).most_common(20)),
        "dropped": dict(counts),
        "skipped": dict(report.skipped),
    }
    write_json(context.out / "corpus.json", facts)
    said = _size(sum(n_bytes.values()))
    context.say(f"{_number(len(kept), 'document')}, {said}; dropped: {_listed(counts) or 'nothing'}")
    if report.skipped:
        context.say(f"passed over: {_listed(report.skipped)}")
    for name, n in (+report.converted).items():
        context.say(f"{_number(n, 'file')} read as {name}")
    if settings.text and n_bytes["train"] < TRIAL_BYTES:
        context.say("so little text is enough for a trial of every stage; to learn the language takes about 1 MB")
    if settings.text and what_is_asked(sides["train"], settings.seed) is None:
        context.say(f"no demonstrations can be made of it: it has {TOO_LITTLE}")


def _sides(
    context: Context, settings: CorpusSettings, kept: list[Document], counts: Counter[str]
) -> dict[clean.Split, list[Document]]:
    """The documents of each side; of a single document the end is held out."""
    sides: dict[clean.Split, list[Document]] = {"train": [], "heldout": []}
    if len(kept) == 1:
        parts = clean.cut_end(kept[0], settings.heldout_fraction)
        if parts is None or text_key(parts[0]) == text_key(parts[1]):
            raise DataError(
                "corpus: one document of one sentence leaves nothing to hold out; give more text or more files"
            )
        begin, end = (replace(kept[0], text=part, id="") for part in parts)
        context.say(f"one document: its last {len(end.text) / len(kept[0].text):.0%} is held out")
        return {"train": [begin], "heldout": [end]}
    for side, document in clean.split(kept, settings.heldout_fraction, settings.seed, counts):
        sides[side].append(document)
    for side, found in sides.items():
        if not found:
            raise DataError(
                f"corpus: {len(kept)} document(s) leave none {side}; at least two different texts are needed"
            )
    return sides


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.2f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:.1f} kB"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{n:,} × {reason}" for reason, n in counts.items() if n)


def tokenizer(context: Context, settings: TokenizerSettings) -> None:
    """Learn byte-level BPE on the training text, and write both sides as token shards."""
    sides = {side: read_documents(context.inputs["corpus"], side) for side in ("train", "heldout")}
    texts = (document.text for document in progress.each(sides["train"], "documents read"))
    learned = train_bpe(texts, settings.vocab_size)
    # A model that always sees a document beside its neighbours learns to lean on them (bpb 1.41 instead of 1.38).
    random.Random(settings.seed).shuffle(sides["train"])
    learned.save(context.out)
    ChatTemplate.default().save(context.out)
    n_done, n_all = 0, sum(map(len, sides.values()))
    for side, documents in sides.items():
        with ShardWriter(context.out, side, vocab_size=learned.vocab_size) as writer:
            for start in range(0, len(documents), 1000):
                part = documents[start : start + 1000]
                for document, ids in zip(part, learned.encode_batch([d.text for d in part]), strict=True):
                    writer.append([learned.end_of_text_id, *ids], n_bytes=len(document.text.encode()))
                n_done += len(part)
                progress.report(n_done, n_all, "documents written")
    report = compression_report(learned, [document.text for document in sides["heldout"]])
    write_json(context.out / "report.json", report)
    shown = ", ".join(f"{name} {row['malmoi']:.2f}" for name, row in report.items())
    if learned.vocab_size < settings.vocab_size:
        context.say(
            f"tokenizer.vocab_size is {settings.vocab_size:,}; the text gives no more than {learned.vocab_size:,}"
        )
    context.say(f"{learned.vocab_size:,} tokens; bytes per token: {shown}")


def demonstrate(context: Context, settings: DemonstrationSettings) -> None:
    """Make questions with known answers out of the text, conversations out of those, and prompts to rank."""
    source = context.inputs["corpus"]
    if (source / "items.jsonl").exists():
        items = [Item.from_row(row) for row in read_jsonl(source / "items.jsonl")]
        asked, unseen = choose_items(items, settings.n_items, settings.n_unseen, settings.seed)
        questions = list(ask(asked, unseen, settings.seed))
    else:
        documents = read_documents(source, "train")
        questions = cloze_questions(documents, settings.n_items, settings.seed)
        if what_is_asked(documents, settings.seed) == "lines":
            context.say("the text has hardly two sentences in a row; its lines are asked about")
    learned = Tokenizer.load(context.inputs["tokenizer"])
    texts = learned.encode_batch([f"{question.prompt} {question.answers[0]}" for question in questions])
    n_found = len(questions)
    questions = [q for q, ids in zip(questions, texts, strict=True) if len(ids) <= settings.longest]
    n_items = len({question.item for question in questions if not question.unseen})
    if n_items < FEWEST_ITEMS:
        raise DataError(
            f"demonstrations: the text gives {n_items} questions of at most {settings.longest} tokens, and needs "
            f"{FEWEST_ITEMS}: more text, sentences of at most 120 characters, a larger tokenizer.vocab_size, or more "
            "room (demonstrations.longest)"
        )
    if len(questions) < n_found:
        context.say(f"{n_found - len(questions):,} questions of more than {settings.longest} tokens are left out")
    rows = list(demonstrations(questions, settings.untidy_share, settings.seed))
    write_jsonl(context.out / "train.jsonl", rows)
    write_jsonl(context.out / "questions.jsonl", (q.to_row() for q in questions if q.heldout))
    asked_for = list(prompts(questions, settings.n_prompts, settings.n_heldout_prompts, settings.seed))
    for split in ("train", "heldout"):
        write_jsonl(context.out / f"prompts.{split}.jsonl", (row for row in asked_for if row["split"] == split))
    context.say(f"{_number(len(rows), 'demonstration')} about {n_items:,} items; {len(asked_for):,} prompts to rank")


def read_documents(corpus_out: Path, side: str) -> list[Document]:
    return [Document.from_row(row) for row in read_jsonl(corpus_out / f"{side}.jsonl")]
