"""The stages that make material out of raw text: corpus, tokenizer and shards, demonstrations."""

import contextlib
import json
import random
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

from malmoi import progress
from malmoi.corpus import clean
from malmoi.corpus.documents import Document
from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.corpus.shards import ShardWriter
from malmoi.errors import DataError
from malmoi.files import iterate_jsonl, open_atomic, read_jsonl, to_json, write_json, write_jsonl
from malmoi.pipeline.context import Context
from malmoi.pipeline.recipe import CorpusSettings, DemonstrationSettings, TokenizerSettings
from malmoi.synthetic.cloze import FEWEST_ITEMS, TOO_LITTLE, cloze_questions, what_is_asked
from malmoi.synthetic.demonstrations import demonstrations, prompts
from malmoi.synthetic.pydocs import Item, read_python_docs
from malmoi.synthetic.questions import ask, choose_items
from malmoi.text import text_key
from malmoi.tokenizer.bpe import Tokenizer, train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.report import N_REPORTED, compression_report

TRIAL_BYTES = 100_000
"""Training text below which it is said what such a text is good for."""


def corpus(context: Context, settings: CorpusSettings) -> None:
    """Read, normalise, drop duplicates and boilerplate, split by document. Of each text only a hash stays in memory."""
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

    with contextlib.ExitStack() as held:
        kept = held.enter_context(_on_disk(context, clean.drop_duplicates(clean.normalised(documents()), counts)))
        if settings.text:
            kept = held.enter_context(_on_disk(context, clean.drop_boilerplate(kept, settings.min_chars, counts)))
        origins = Counter(document.origin for document in kept())
        licenses = Counter(document.license for document in kept())
        n_documents, n_bytes, known = _write_sides(context, settings, kept, counts)
    if not settings.text:
        write_jsonl(context.out / "items.jsonl", (item.to_row() for item in items if item.document in known))
    facts = {
        "documents": n_documents,
        "bytes": n_bytes,
        "origins": dict(origins),
        "licenses": dict(licenses.most_common(20)),
        "dropped": dict(counts),
        "skipped": dict(report.skipped),
    }
    write_json(context.out / "corpus.json", facts)
    said = _size(sum(n_bytes.values()))
    context.say(f"{_number(origins.total(), 'document')}, {said}; dropped: {_listed(counts) or 'nothing'}")
    if settings.text:
        _say_of_own(context, settings, report, n_bytes["train"])


def _say_of_own(context: Context, settings: CorpusSettings, report: ReadReport, n_bytes: int) -> None:
    """What whoever brings text should know of it. n_bytes: of the text to train on"""
    if report.skipped:
        context.say(f"passed over: {_listed(report.skipped)}")
    for name, n in (+report.converted).items():
        context.say(f"{_number(n, 'file')} read as {name}")
    if n_bytes < TRIAL_BYTES:
        context.say("so little text is enough for a trial of every stage; to learn the language takes about 1 MB")
    if what_is_asked(partial(each_document, context.out, "train"), settings.seed) is None:
        context.say(f"no demonstrations can be made of it: it has {TOO_LITTLE}")


@contextlib.contextmanager
def _on_disk(context: Context, documents: Iterable[Document]) -> Iterator[Callable[[], Iterator[Document]]]:
    """A stream of documents that can be opened several times, until the block ends."""
    with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=context.folder) as folder:
        write_jsonl(Path(folder) / "kept.jsonl", (document.to_row() for document in documents))
        yield partial(each_document, Path(folder), "kept")


def _write_sides(
    context: Context, settings: CorpusSettings, kept: Callable[[], Iterator[Document]], counts: Counter[str]
) -> tuple[dict[str, int], dict[str, int], set[str]]:
    """Write each side's documents; how many there are, bytes of their text, and the ids of those to train on."""
    n_documents, n_bytes = {"train": 0, "heldout": 0}, {"train": 0, "heldout": 0}
    known: set[str] = set()
    with contextlib.ExitStack() as opened:
        files = {side: opened.enter_context(open_atomic(context.out / f"{side}.jsonl")) for side in n_documents}
        for side, document in _sides(context, settings, kept, counts):
            files[side].write(to_json(document.to_row()).encode() + b"\n")
            n_documents[side] += 1
            n_bytes[side] += len(document.text.encode())
            if side == "train":
                known.add(document.id)
        if not all(n_documents.values()):
            lacking = " and ".join(side for side, n in n_documents.items() if not n)
            raise DataError(
                f"corpus: {sum(n_documents.values())} document(s) leave none {lacking}; at least two different texts "
                "are needed"
            )
    return n_documents, n_bytes, known


def _sides(
    context: Context, settings: CorpusSettings, kept: Callable[[], Iterator[Document]], counts: Counter[str]
) -> Iterator[tuple[clean.Split, Document]]:
    """Each document with its side; of a single document the end is held out."""
    first = list(islice(kept(), 2))
    if len(first) != 1:
        yield from clean.split(kept, settings.heldout_fraction, settings.seed, counts)
        return
    [only] = first
    parts = clean.cut_end(only, settings.heldout_fraction)
    if parts is None or text_key(parts[0]) == text_key(parts[1]):
        raise DataError("corpus: one document of one sentence leaves nothing to hold out; give more text or more files")
    begin, end = (replace(only, text=part, id="") for part in parts)
    context.say(f"one document: its last {len(end.text) / len(only.text):.0%} is held out")
    yield "train", begin
    yield "heldout", end


def _number(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.2f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:.1f} kB"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{n:,} × {reason}" for reason, n in counts.items() if n)


def tokenizer(context: Context, settings: TokenizerSettings) -> None:
    """Learn byte-level BPE on the training text, and write both sides as token shards."""
    source = context.inputs["corpus"]
    starts = {side: _starts(source / f"{side}.jsonl") for side in ("train", "heldout")}
    texts = (document.text for document in each_document(source, "train"))
    learned = train_bpe(progress.each(texts, "documents read", len(starts["train"])), settings.vocab_size)
    # A model that always sees a document beside its neighbours learns to lean on them (bpb 1.41 instead of 1.38).
    random.Random(settings.seed).shuffle(starts["train"])
    learned.save(context.out)
    ChatTemplate.default().save(context.out)
    n_done, n_all = 0, sum(map(len, starts.values()))
    for side, places in starts.items():
        with (
            ShardWriter(context.out, side, vocab_size=learned.vocab_size) as writer,
            (source / f"{side}.jsonl").open("rb") as file,
        ):
            for start in range(0, len(places), 1000):
                part = [_text_at(file, place) for place in places[start : start + 1000]]
                for text, ids in zip(part, learned.encode_batch(part), strict=True):
                    writer.append([learned.end_of_text_id, *ids], n_bytes=len(text.encode()))
                n_done += len(part)
                progress.report(n_done, n_all, "documents written")
    shown = [document.text for document in islice(each_document(source, "heldout"), N_REPORTED)]
    report = compression_report(learned, shown)
    write_json(context.out / "report.json", report)
    packed = ", ".join(f"{name} {row['malmoi']:.2f}" for name, row in report.items())
    if learned.vocab_size < settings.vocab_size:
        context.say(
            f"tokenizer.vocab_size is {settings.vocab_size:,}; the text gives no more than {learned.vocab_size:,}"
        )
    context.say(f"{learned.vocab_size:,} tokens; bytes per token: {packed}")


def _starts(path: Path) -> "array[int]":
    """Where each line of a file begins, in bytes."""
    starts, at = array("Q"), 0
    with path.open("rb") as file:
        for line in file:
            starts.append(at)
            at += len(line)
    return starts


def _text_at(file: IO[bytes], place: int) -> str:
    file.seek(place)
    return Document.from_row(json.loads(file.readline())).text


def demonstrate(context: Context, settings: DemonstrationSettings) -> None:
    """Make questions with known answers out of the text, conversations out of those, and prompts to rank."""
    source = context.inputs["corpus"]
    if (source / "items.jsonl").exists():
        items = [Item.from_row(row) for row in read_jsonl(source / "items.jsonl")]
        asked, unseen = choose_items(items, settings.n_items, settings.n_unseen, settings.seed)
        questions = list(ask(asked, unseen, settings.seed))
    else:
        documents = partial(each_document, source, "train")
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


def each_document(corpus_out: Path, side: str) -> Iterator[Document]:
    return map(Document.from_row, iterate_jsonl(corpus_out / f"{side}.jsonl"))
