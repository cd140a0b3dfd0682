"""Demonstrations of reading: questions made from the text, with passages to answer from, or that do not answer."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import Field

from malmoi import config
from malmoi.config import Seed
from malmoi.corpus.documents import each_document
from malmoi.cost import Cost, Sizes
from malmoi.errors import DataError
from malmoi.facts import Chat, Facts, Section
from malmoi.files import read_jsonl, write_jsonl
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.quote import DECLINES
from malmoi.retrieval.readings import Reader
from malmoi.stage import Context, Finished, required
from malmoi.synthetic.questions import Question
from malmoi.synthetic.text_questions import TOO_LITTLE, text_questions
from malmoi.tokenizer.bpe import Tokenizer

OF_SECTIONS = ("section", "list")
OVERHEAD = 60
"""Tokens of a prompt without its documents, roughly."""


class Settings(config.Settings):
    """Demonstrations of reading."""

    n_questions: int = Field(800, gt=0)
    """Most questions to train and to measure on, in all phrasings."""
    unanswered_share: float = Field(0.15, ge=0, lt=1)
    """Share of the questions whose documents do not answer."""
    room: int = Field(320, gt=0)
    """Most tokens that the documents of a prompt take."""
    n_heldout: int = Field(100, ge=0)
    """Most questions to measure on, about sentences that no other question is about."""
    seed: Seed = 1
    """Seed of all random choices."""


READS = {"documents": required("documents"), "model": required("base")}
MAKES = {"demonstrations": {"train": "train.jsonl", "heldout": "heldout.jsonl"}}


def expects(settings: Settings, sizes: Sizes) -> Sizes:
    """Conversations as long as their documents."""
    return replace(sizes, chat=settings.room // 2 + OVERHEAD, longest=settings.room + 2 * OVERHEAD)


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Reading the text, and looking up."""
    return Cost(s_per_mb=2.0, fixed_s=2e-3 * settings.n_questions, holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Make questions from the text and give each the passages that look-up finds for it."""
    documents = partial(each_document, context.reads("documents").part("train"))
    questions = text_questions(documents, 2 * settings.n_questions, settings.seed)
    if not questions:
        raise DataError(f"reading: {TOO_LITTLE}")
    questions = chosen(questions, settings.n_questions)
    tokenizer = Tokenizer.load(context.reads("model").path)
    sides = {
        "train": [question for question in questions if not (question.heldout or question.unseen)],
        "heldout": [question for question in questions if question.heldout and question.unseen],
    }
    # An index of its own, which goes with the stage: one in `out` would be what chat looks up in.
    with TemporaryDirectory(dir=context.folder) as folder:
        build_index(documents(), Path(folder) / "index")
        index = Index.open(Path(folder) / "index")
        reader = Reader(index, settings.room, lambda text: len(tokenizer.encode(text)), settings.unanswered_share)
        made = {"train": list(reader.read(sides["train"], settings.seed))}
        made["heldout"] = list(islice(reader.read(sides["heldout"], settings.seed + 1), settings.n_heldout))
    n_declined = sum(row["messages"][-1]["content"] in DECLINES.values() for row in made["train"])
    if n_declined == len(made["train"]):
        raise DataError(
            f"reading: no question's answer is found in a passage of at most {settings.room} tokens; give more text, "
            "or a larger reading.room"
        )
    for side, rows in made.items():
        write_jsonl(context.out / f"{side}.jsonl", rows)
    context.say(
        f"{len(made['train']):,} demonstrations of reading, {n_declined:,} of them not answered by the documents; "
        f"{len(made['heldout']):,} to measure on"
    )
    if (n_lost := len(sides["train"]) - len(made["train"])) > 0:
        context.say(f"{n_lost:,} questions are left out: their answer is not in one passage as it is")


def chosen(questions: Sequence[Question], n: int) -> list[Question]:
    """At most n questions, of which those about a whole section, which text has most of, are a quarter at most."""
    of_sections = [question for question in questions if question.kind in OF_SECTIONS]
    others = [question for question in questions if question.kind not in OF_SECTIONS]
    n_of_sections = min(len(of_sections), max(n - len(others), n // 4))
    kept = {*map(id, others[: n - n_of_sections]), *map(id, of_sections[:n_of_sections])}
    return [question for question in questions if id(question) in kept]


def facts(finished: Finished) -> Facts:
    """The first of the conversations."""
    rows = read_jsonl(finished.out / "train.jsonl")
    lead = (
        f"{len(rows):,} questions made from the text, each with passages. The answer is a sentence of theirs, or that "
        "the documents do not say."
    )
    return Facts([Section("Reading", lead, [Chat(row["messages"]) for row in rows[:1]])])
