"""Demonstrations made from the text: questions with known answers, conversations about them, and prompts to rank."""

from dataclasses import replace
from functools import partial

from pydantic import Field

from malmoi import config
from malmoi.config import Seed
from malmoi.corpus.documents import each_document
from malmoi.cost import Cost, Sizes
from malmoi.errors import DataError
from malmoi.facts import Chat, Facts, Section
from malmoi.files import read_jsonl, write_jsonl
from malmoi.stage import Context, Finished, optional, required
from malmoi.synthetic.demonstrations import demonstrations, prompts
from malmoi.synthetic.pydocs import Item
from malmoi.synthetic.questions import choose_items, make_questions
from malmoi.synthetic.text_questions import MIN_ITEMS, TOO_LITTLE, text_questions
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.unused import Unused, is_empty


class Settings(config.Settings):
    """Conversations made from the text."""

    n_items: int = Field(1500, gt=0)
    """Documented names to ask about in training; for the user's own text: number of questions."""
    n_unseen: int = Field(200, ge=0)
    """Names that are asked about only in the evaluation."""
    longest: int = Field(200, gt=0)
    """Most tokens of a question with its answer; must leave room in the model's context."""
    untidy_share: float = Field(0.35, ge=0, le=1)
    """Share of the demonstrations that are correct but wordier than people like."""
    n_prompts: int = Field(1200, gt=0)
    """Prompts whose answers are ranked, and that PPO is trained on."""
    n_heldout_prompts: int = Field(300, gt=0)
    """Prompts about other items, to measure the reward model and PPO on."""
    seed: Seed = 1
    """Seed of all random choices."""


READS = {"documents": required("documents"), "items": optional("items"), "tokenizer": required("tokenizer")}
MAKES = {
    "demonstrations": {"train": "train.jsonl"},
    "questions": "questions.jsonl",
    "prompts": {"train": "prompts.train.jsonl", "heldout": "prompts.heldout.jsonl"},
}
UNUSED = (Unused("n_unseen", "reads.items", is_empty, "with your own text (corpus.text) a fifth is held out"),)


def expects(settings: Settings, sizes: Sizes) -> Sizes:
    """Prompts, and questions about unseen items."""
    n_prompts = settings.n_prompts + settings.n_heldout_prompts
    return replace(sizes, n_prompts=n_prompts, n_heldout=settings.n_heldout_prompts, n_unseen=settings.n_unseen)


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Reading the text, and writing."""
    return Cost(s_per_mb=0.4, holds_model=False)


def run(context: Context, settings: Settings) -> None:
    """Make questions with known answers from the text, then conversations about them and prompts to rank."""
    source = context.reads("documents")
    if (found := context.reads.find("items")) is not None:
        items = [Item.from_row(row) for row in read_jsonl(found.path)]
        asked, unseen = choose_items(items, settings.n_items, settings.n_unseen, settings.seed)
        questions = list(make_questions(asked, unseen, settings.seed))
    else:
        documents = partial(each_document, source.part("train"))
        questions = text_questions(documents, settings.n_items, settings.seed)
        if not questions:
            raise DataError(f"demonstrations: {TOO_LITTLE}")
    learned = Tokenizer.load(context.reads("tokenizer").path)
    texts = learned.encode_batch([f"{question.prompt} {question.answers[0]}" for question in questions])
    n_found = len(questions)
    questions = [q for q, ids in zip(questions, texts, strict=True) if len(ids) <= settings.longest]
    n_items = len({question.item for question in questions if not question.unseen})
    if n_items < MIN_ITEMS:
        raise DataError(
            f"demonstrations: the text gives {n_items} questions of at most {settings.longest} tokens, fewer than "
            f"{MIN_ITEMS}; give more text, sentences of at most 120 characters, a larger tokenizer.vocab_size or a "
            "larger demonstrations.longest"
        )
    if len(questions) < n_found:
        context.say(f"{n_found - len(questions):,} questions of more than {settings.longest} tokens are left out")
    rows = list(demonstrations(questions, settings.untidy_share, settings.seed))
    write_jsonl(context.out / "train.jsonl", rows)
    write_jsonl(context.out / "questions.jsonl", (q.to_row() for q in questions if q.heldout))
    asked_for = list(prompts(questions, settings.n_prompts, settings.n_heldout_prompts, settings.seed))
    for split in ("train", "heldout"):
        write_jsonl(context.out / f"prompts.{split}.jsonl", (row for row in asked_for if row["split"] == split))
    context.say(f"{len(rows):,} demonstrations about {n_items:,} items; {len(asked_for):,} prompts to rank")


def facts(finished: Finished) -> Facts:
    """The first of the conversations."""
    rows = read_jsonl(finished.out / "train.jsonl")
    lead = (
        f"{len(rows):,} conversations made from the text, so that each can be checked. Some phrasings, and everything "
        "about some items, are kept for the evaluation."
    )
    return Facts([Section("Demonstrations", lead, [Chat(row["messages"]) for row in rows[:1]])])
