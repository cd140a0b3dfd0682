"""Demonstrations made from the text: questions with known answers, conversations about them, and prompts to rank."""

import platform
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from malmoi import config
from malmoi.config import Seed
from malmoi.corpus.documents import each_document
from malmoi.cost import Cost, Sizes
from malmoi.errors import DataError
from malmoi.facts import Chat, Facts, Section
from malmoi.files import read_json, read_jsonl, write_jsonl
from malmoi.retrieval.index import Index
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.prompt import documents_for
from malmoi.stage import Context, Finished, optional, required
from malmoi.synthetic.declines import declined_questions, small_talk_questions
from malmoi.synthetic.demonstrations import Desk, demonstrations, measured, prompts
from malmoi.synthetic.item_questions import item_questions
from malmoi.synthetic.pydocs import Item
from malmoi.synthetic.questions import Question, choose_items, messages
from malmoi.synthetic.sections import title_of
from malmoi.synthetic.shelf import Book, Find, Shelf
from malmoi.synthetic.small_talk import About
from malmoi.synthetic.text_questions import MIN_ITEMS, TOO_LITTLE, text_questions
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.unused import Unused, is_empty
from malmoi.workspace.indexes import INDEX

N_TITLES = 3
"""Titles that the assistant names when it is asked what it was made from."""
S_PER_ITEM = 0.008
"""Seconds for the questions about one item, with the documents that are looked up for them, on one reference core."""
BYTES_PER_ITEM = 200
"""Text of an item at least, where how many there are is not known yet."""


class Settings(config.Settings):
    """Conversations made from the text."""

    n_items: int = Field(1500, gt=0)
    """Documented names to ask about in training; for the user's own text: number of questions."""
    n_unseen: int = Field(200, ge=0)
    """Names that are asked about only in the evaluation."""
    longest: int = Field(240, gt=0)
    """Most tokens of a conversation with its documents, which take up to half; at most the model's context."""
    untidy_share: float = Field(0.1, ge=0, le=1)
    """Share of the demonstrations that are correct but wordier than people like."""
    small_talk_share: float = Field(0.05, ge=0, le=1)
    """Greetings, thanks, questions about the assistant and about other topics, for each other demonstration."""
    unknown_share: float = Field(0.08, ge=0, le=1)
    """Questions about names that do not exist, for each other demonstration."""
    n_looked_up: int = Field(600, ge=0)
    """Questions whose documents are looked up as in chat, which takes 10 to 30 ms; others get theirs from the text."""
    n_prompts: int = Field(1200, gt=0)
    """Prompts whose answers are ranked, and that PPO is trained on."""
    n_heldout_prompts: int = Field(300, gt=0)
    """Prompts about other items, to measure the reward model and PPO on."""
    seed: Seed = 1
    """Seed of all random choices."""


READS = {
    "documents": required("documents"),
    "items": optional("items"),
    "index": optional(INDEX),
    "tokenizer": required("tokenizer"),
}
MAKES = {
    "demonstrations": {"train": "train.jsonl"},
    "questions": "questions.jsonl",
    "prompts": {"train": "prompts.train.jsonl", "heldout": "prompts.heldout.jsonl"},
}
UNUSED = (
    Unused("n_unseen", "reads.items", is_empty, "with your own text (corpus.text) a fifth is held out"),
    Unused("unknown_share", "reads.items", is_empty, "only names of the documentation are made up"),
    Unused("n_looked_up", "reads.index", is_empty, "the recipe has no stage index before it"),
)


def expects(settings: Settings, sizes: Sizes) -> Sizes:
    """Prompts, questions about unseen items, and conversations, most of whose tokens are documents."""
    n_prompts, chat = settings.n_prompts + settings.n_heldout_prompts, settings.longest * 2 // 3
    return replace(
        sizes, n_prompts=n_prompts, n_heldout=settings.n_heldout_prompts, n_unseen=settings.n_unseen,
        prompt=settings.longest // 2, chat=chat, ranked=chat, longest=settings.longest,
    )  # fmt: skip


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Reading the text, writing, and looking up documents for the questions about each item."""
    n_items = min(settings.n_items, sizes.text_bytes // BYTES_PER_ITEM)
    return Cost(s_per_mb=0.4, fixed_s=S_PER_ITEM * n_items, holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Make questions with known answers from the text, then conversations about them and prompts to rank."""
    source = context.reads("documents")
    about, books = _about(context), {book.id: book for book in _books(source.part("train"))}
    if (found := context.reads.find("items")) is not None:
        items = [Item.from_row(row) for row in read_jsonl(found.path)]
        questions = _about_items(items, books, settings)
    else:
        documents = partial(each_document, source.part("train"))
        questions = text_questions(documents, settings.n_items, settings.seed)
        if not questions:
            raise DataError(f"demonstrations: {TOO_LITTLE}")
    n_items = len({question.item for question in questions if question.document and not question.unseen})
    questions += _small_talk(about, len(questions), settings)
    learned = Tokenizer.load(context.reads("tokenizer").path)
    room, n_asked = settings.longest // 2, len(questions) + settings.n_prompts + settings.n_heldout_prompts

    def count(text: str) -> int:
        return len(learned.encode(text))

    find = _look_up(context, room, count)
    desk = Desk(Shelf(books.values(), room, count), about, find, settings.n_looked_up / n_asked)
    rows = {
        "train": list(demonstrations(questions, desk, settings.untidy_share, settings.seed)),
        "questions": [
            {**question.to_row(), "messages": messages(question)}
            for question in measured(questions, desk, settings.seed)
        ],
        "prompts": list(prompts(questions, desk, settings.n_prompts, settings.n_heldout_prompts, settings.seed)),
    }
    kept = {name: _short_enough(made, learned, settings.longest) for name, made in rows.items()}
    if len({row["item"] for row in kept["train"] if row["document"]}) < MIN_ITEMS:
        raise DataError(
            f"demonstrations: the text gives fewer than {MIN_ITEMS} questions of at most {settings.longest} tokens; "
            "give more text, shorter sentences, a larger tokenizer.vocab_size or a larger demonstrations.longest"
        )
    if n_long := sum(map(len, rows.values())) - sum(map(len, kept.values())):
        context.say(f"conversations of more than {settings.longest} tokens, left out: {n_long:,}")
    write_jsonl(context.out / "train.jsonl", kept["train"])
    write_jsonl(context.out / "questions.jsonl", kept["questions"])
    for split in ("train", "heldout"):
        write_jsonl(context.out / f"prompts.{split}.jsonl", (row for row in kept["prompts"] if row["split"] == split))
    n_rows, n_prompts = len(kept["train"]), len(kept["prompts"])
    context.say(f"{n_rows:,} demonstrations about {n_items:,} items; {n_prompts:,} prompts to rank")


def _look_up(context: Context, room: int, count: Callable[[str], int]) -> Find | None:
    """Look-up as in chat, if the recipe made an index."""
    if (found := context.reads.find("index")) is None:
        return None
    lookup = Lookup(Index.open(found.path))
    return lambda said: documents_for(lookup.find(said), room, count)


def _about(context: Context) -> About:
    """What is true of the assistant that learns from these demonstrations."""
    n = sum(read_json(context.reads("documents").part("facts"))["documents"].values())
    if context.reads.find("items") is None:
        titles = list(islice(map(title_of, each_document(context.reads("documents").part("train"))), N_TITLES))
        return About(
            f"the documents that I was given, such as {', '.join(titles)}", f"제가 받은 문서({', '.join(titles)} 등)", n
        )
    version = ".".join(platform.python_version_tuple()[:2])
    return About(f"the documentation of Python {version}", f"파이썬 {version} 문서", n)


def _books(path: Path) -> Iterator[Book]:
    """Documents to be given with questions: of Python's, the first line is the heading; it has the name."""
    for document in each_document(path):
        heading, _, text = document.text.partition("\n")
        name = document.source.removeprefix("python:")
        if name == document.source or not text:
            heading, name, text = "", Path(document.source.partition("#")[0]).stem, document.text
        yield Book(document.id, name, text, heading)


def _about_items(items: list[Item], books: Mapping[str, Book], settings: Settings) -> list[Question]:
    """Questions about the names that are used most, and about names that do not exist."""
    asked, unseen = choose_items(items, settings.n_items, settings.n_unseen, settings.seed)
    texts = {item.document: books[item.document].text for item in (*asked, *unseen)}
    questions = list(item_questions(asked, unseen, texts, settings.seed))
    rng = random.Random(f"{settings.seed} unknown")
    for heldout in (False, True):
        n = sum(question.heldout == heldout for question in questions)
        questions += declined_questions(items, round(settings.unknown_share * n), heldout, rng)
    return questions


def _small_talk(about: About, n_questions: int, settings: Settings) -> list[Question]:
    rng = random.Random(f"{settings.seed} small talk")
    n = round(settings.small_talk_share * n_questions)
    return [q for heldout in (False, True) for q in small_talk_questions(about, n // (1 + 4 * heldout), heldout, rng)]


def _short_enough(rows: list[dict[str, Any]], tokenizer: Tokenizer, longest: int) -> list[dict[str, Any]]:
    """Rows whose conversation fits, with its documents, a first answer, and the two tokens around each turn."""
    lengths = tokenizer.encode_batch([_everything_said(row) for row in rows])
    return [row for row, ids in zip(rows, lengths, strict=True) if len(ids) + 2 * len(row["messages"]) + 3 <= longest]


def _everything_said(row: dict[str, Any]) -> str:
    said = [message["content"] for message in row["messages"]] + list(row.get("references", row.get("answers", ())))[:1]
    documents = [document for message in row["messages"] for document in message.get("documents", ())]
    return "\n".join([*(f"{document['title']}: {document['text']}" for document in documents), *said])


def facts(finished: Finished) -> Facts:
    """The first of the conversations."""
    rows = read_jsonl(finished.out / "train.jsonl")
    lead = (
        f"{len(rows):,} conversations made from the text, so that each can be checked. Some phrasings, and everything "
        "about some items, are kept for the evaluation."
    )
    return Facts([Section("Demonstrations", lead, [Chat(row["messages"]) for row in rows[:1]])])
