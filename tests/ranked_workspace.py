"""A workspace with a tiny network that has learned nothing, and rankings of its answers by two people."""

from pathlib import Path
from typing import Any

import torch

from malmoi.feedback.judgements import NewJudgement, record_generations, record_judgements, record_person
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

TEXT = "The cat sat on the mat. What is a list? A list holds values in order. 말모이는 낱말을 모으던 일이다. "
ANSWERS = ("a list holds values", "the mat", "cat cat")
SHAPE: dict[str, Any] = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_kv_head": 1, "head_dim": 8, "n_ff": 24}
SMALL = {"MALMOI_DTYPE": "float32", "MALMOI_DEVICE": "cpu", "MALMOI_THREADS": "1"}
"""For processes that work with it."""


def ranked_workspace(path: Path, n_prompts: int, n_heldout: int, seq_len: int) -> Workspace:
    """The network is models/sft; Ann and Ben each ranked half of the prompts, of which the first are held out."""
    here = Workspace.open(path)
    tokenizer = train_bpe([TEXT], vocab_size=300)
    torch.manual_seed(1)
    model = LanguageModel(ModelConfig(vocab_size=tokenizer.vocab_size, seq_len=seq_len, **SHAPE))
    save_model(here.models / "sft", model, tokenizer, ChatTemplate.default(), {})
    with Ledger.open(here) as ledger:
        sha256 = ledger.import_artefact(here.models / "sft", "model", "model", "a test")
        answers = [{"text": text, "ids": [1], "finished": True} for text in ANSWERS]
        rows = [
            {"prompt_id": f"p{i}", "prompt": f"what is {i}?", "answers": answers,
             "split": "heldout" if i < n_heldout else "train"}
            for i in range(n_prompts)
        ]  # fmt: skip
        how: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "seed": 1, "max_tokens": 8}
        ids = record_generations(ledger, rows, run_id=ledger.runs()[0].id, model_sha256=sha256, **how)
        for name in ("ann", "ben"):
            record_person(ledger, name, name.title(), "human", "")
        said = [
            NewJudgement(person_id=("ann", "ben")[i % 2], prompt_id=f"p{i}", generation_ids=ids[i], ranks=[1, 2, 3])
            for i in range(n_prompts)
        ]
        record_judgements(ledger, said)
    return here
