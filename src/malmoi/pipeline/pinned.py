"""The same few questions, answered again whenever a job has written a checkpoint, so that one sees the answers change.

The weights are read from the checkpoint, and the numbers of the training are left as they are. A network that has
learned to answer reads what is looked up in the workspace, as in a chat; its words are shown as they are, unchecked.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from malmoi.evals.answering import Subject, answer_questions
from malmoi.files import read_jsonl, write_jsonl
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.memory import shape_of
from malmoi.pipeline.recipe import Recipe
from malmoi.retrieval.index import Index
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.prompt import documents_for
from malmoi.stage import CHECKPOINT, MODEL
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate, Message
from malmoi.train.checkpoint import step_of
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import find_index
from malmoi.workspace.ledger import OUT

MAX_TOKENS = 40
BASE_STAGE = "pretrain"
"""Its network continues text, and has not learned to read documents."""
FROM_CHECKPOINT = {"pretrain": "tokenizer", "sft": "tokenizer"}
"""Stages whose checkpoint is one network of the recipe's shape, and the stage that has its tokenizer."""
MAKES_VOICE = ("pretrain", "sft", "ppo", "dpo", "kto")


class PinnedAnswers:
    """Asks the questions of a job; the answers are rows of `path`, {"stage", "step", "answers": [text]}."""

    def __init__(self, recipe: Recipe, workspace: Workspace, path: Path, questions: Sequence[str]) -> None:
        self.recipe, self.workspace, self.path, self.questions = recipe, workspace, path, questions
        self.rows: list[dict[str, Any]] = read_jsonl(path) if path.exists() else []
        self.seen: int | None = None

    def look(self, stage: str, runs: Mapping[str, str]) -> None:
        """Ask the checkpoint of the stage that trains, if it is a new one."""
        path = self.workspace.runs / runs[stage] / CHECKPOINT
        if stage not in FROM_CHECKPOINT or FROM_CHECKPOINT[stage] not in runs or not path.exists():
            return
        if (changed := path.stat().st_mtime_ns) == self.seen:
            return
        self.seen = changed
        folder = self.workspace.runs / runs[FROM_CHECKPOINT[stage]] / OUT
        tokenizer, template = Tokenizer.load(folder), ChatTemplate.load(folder)
        shape = shape_of(self.recipe, self.workspace.path).model_copy(update={"vocab_size": tokenizer.vocab_size})
        with torch.random.fork_rng(devices=[]), safe_open(str(path), "pt") as file:
            model = LanguageModel(shape)
            names = [name for name in file.keys() if name.startswith("model.")]  # noqa: SIM118  # not a dict
            model.load_state_dict({name.removeprefix("model."): file.get_tensor(name) for name in names}, strict=False)
            self._ask(stage, step_of(path), Subject(model, tokenizer, template))

    def after(self, stage: str, runs: Mapping[str, str]) -> None:
        """Ask the network that a stage has made, if it made one."""
        folder = self.workspace.runs / runs[stage] / OUT / MODEL
        if stage in MAKES_VOICE and folder.is_dir():
            with torch.random.fork_rng(devices=[]):
                self._ask(stage, None, Subject(load_model(folder, LanguageModel), *load_text(folder)))

    def _ask(self, stage: str, step: int | None, subject: Subject) -> None:
        model, tokenizer, template = subject
        folder = None if stage == BASE_STAGE else find_index(self.workspace)
        lookup = None if folder is None else Lookup(Index.open(folder))
        asked = [[self._message(question, lookup, subject)] for question in self.questions]
        greedy = Sampling(temperature=0, max_tokens=MAX_TOKENS)
        answers = answer_questions(model.eval(), tokenizer, template, asked, greedy)
        row = {"stage": stage, "step": step, "answers": [answer.text for answer in answers]}
        self.rows = [one for one in self.rows if (one["stage"], one["step"]) != (stage, step)] + [row]
        write_jsonl(self.path, self.rows)

    @staticmethod
    def _message(question: str, lookup: Lookup | None, subject: Subject) -> Message:
        """A question, with half of the context for what is looked up."""
        message: Message = {"role": "user", "content": question}
        if lookup is None:
            return message
        room = subject.model.config.seq_len // 2
        found = documents_for(lookup.find([message]), room, lambda text: len(subject.tokenizer.encode(text)))
        return {**message, "documents": found} if found else message
