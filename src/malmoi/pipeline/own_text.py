"""What will come of a person's own text, before training: its size, what it can teach, and steps that suit it.

So few steps for so little text: repeating text more than a few times teaches ever less (Muennighoff et al. 2023,
arXiv:2305.16264); a few notes are known by heart after seconds.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.corpus.clean import normalised
from malmoi.corpus.documents import Document
from malmoi.corpus.folder import Errors, ReadReport, read_folder
from malmoi.errors import DataError
from malmoi.pipeline.recipe import Recipe
from malmoi.synthetic.sections import is_english, is_korean
from malmoi.synthetic.text_questions import MIN_ITEMS, TOO_LITTLE, text_questions
from malmoi.units import size

LOOKED_AT_BYTES = 2_000_000
"""More text than this is not looked at: the recipe's own steps suit it."""
SENTENCES_BYTES, LANGUAGE_BYTES = 100_000, 1_000_000
"""From about these sizes on, a network of a few million weights writes whole sentences, and learns a language."""
BYTES_PER_TOKEN = 2.5
PASSES = 40
"""How often pretraining reads small text at most, and how often fine-tuning reads its demonstrations."""
FEWEST_STEPS = {"pretrain": 40, "sft": 60}
MOST_ITERATIONS = 4
"""PPO's iterations for text below `SENTENCES_BYTES`."""


@dataclass(frozen=True)
class OwnText:
    """A text that was looked at. is_all: nothing was left out; n_asked: things that questions can be made about

    n_demonstrations: questions to train on; languages: language -> documents
    """

    path: Path
    n_documents: int
    n_bytes: int
    is_all: bool
    n_asked: int
    n_demonstrations: int
    languages: dict[str, int]

    @property
    def is_small(self) -> bool:
        return self.is_all and self.n_bytes < LANGUAGE_BYTES


def look_at(path: Path, errors: Errors, encoding: str, n_items: int, seed: int) -> OwnText:
    """Read up to 2 MB of the text. n_items: as `demonstrations.n_items`

    Raises DataError if nothing can be read, or no questions can be made of it.
    """
    documents: list[Document] = []
    n_bytes, is_all = 0, True
    for document in normalised(read_folder(path, errors, ReadReport(), encoding)):
        documents.append(document)
        n_bytes += len(document.text.encode())
        if n_bytes > LOOKED_AT_BYTES:
            is_all = False
            break
    questions = text_questions(documents, n_items, seed)
    n_asked = len({(question.item, question.kind) for question in questions})
    if n_asked < MIN_ITEMS:
        raise DataError(
            f"{path}: {TOO_LITTLE}. Nothing is trained; look-up works all the same: "
            f'malmoi ask "…" --documents {json.dumps(str(path), ensure_ascii=False)}'
        )
    languages = Counter(_language(document.text) for document in documents)
    n_trained = sum(not (question.heldout or question.unseen) for question in questions)
    return OwnText(path, len(documents), n_bytes, is_all, n_asked, n_trained, dict(languages.most_common()))


def fitting(text: OwnText, recipe: Recipe) -> list[str]:
    """Settings that suit a small text, as --set takes them: fewer steps than the recipe's, never more."""
    if not text.is_small:
        return []
    pretrain: Any = recipe["pretrain"]
    sft: Any = recipe["sft"]
    per_step = pretrain.batch_size * pretrain.model.seq_len * BYTES_PER_TOKEN
    steps = {
        "pretrain": max(FEWEST_STEPS["pretrain"], round(PASSES * text.n_bytes / per_step)),
        "sft": max(FEWEST_STEPS["sft"], round(PASSES * text.n_demonstrations / sft.batch_size)),
    }
    found = [f"{stage}.n_steps={n}" for stage, n in steps.items() if n < getattr(recipe[stage], "n_steps", 0)]
    iterations = getattr(recipe["ppo"], "n_iterations", 0)
    if text.n_bytes < SENTENCES_BYTES and iterations > MOST_ITERATIONS:
        found.append(f"ppo.n_iterations={MOST_ITERATIONS}")
    return found


def forecast(text: OwnText, recipe: Recipe, fitted: list[str]) -> list[str]:
    """What will come of the text, in lines. recipe: with all settings"""
    pretrain: Any = recipe["pretrain"]
    n_read = pretrain.n_steps * pretrain.batch_size * pretrain.model.seq_len * BYTES_PER_TOKEN
    times = n_read / text.n_bytes
    languages = ", ".join(f"{n:,} {language}" for language, n in text.languages.items())
    more = "" if text.is_all else "more than "
    lines = [
        f"text    {more}{size(text.n_bytes)} in {more}{text.n_documents:,} documents ({languages}); "
        f"{text.n_asked:,} things to ask about were found in it",
        f"        pretraining reads it about {times:,.0f} times"
        + (f"; steps that suit its size: {', '.join(fitted)}" if fitted else "")
        if text.is_all
        else "        the recipe's own steps suit it",
    ]
    if text.n_bytes < SENTENCES_BYTES:
        learned = "the network learns the form of answers, not the language, and knows the text by heart soon"
    elif text.n_bytes < LANGUAGE_BYTES:
        learned = "the network learns the form of answers and whole sentences of this text, hardly the language"
    else:
        learned = "the network learns the language of this text and the form of answers"
    lines.append(f"        {learned}; the weights that predict held-out text best are kept")
    lines.append("        the facts come from look-up in all of your text: each answer names its file and sentence")
    if text.n_bytes < LANGUAGE_BYTES:
        folder = json.dumps(str(text.path), ensure_ascii=False)
        lines.append(
            "        for more: 100 kB of text for whole sentences, 1 MB for the language; or a real model as voice:"
        )
        lines.append(f'          malmoi ask "…" --documents {folder} --model smollm2-135m (English)')
    return lines


def _language(text: str) -> str:
    if is_korean(text):
        return "Korean"
    return "English" if is_english(text) else "other"
