"""The same rows, the same model, scored by lm-eval-harness's own code: the same log-likelihoods and accuracies.

With a tiny network; with SmolLM2 too where MALMOI_SMOLLM2 names its folder (three minutes on two cores). The table in
docs/reference/evaluation.md is what `pytest tests/golden/test_lm_eval.py -s` prints.
"""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import pytest
import torch

from malmoi.data.table import read_table
from malmoi.evals.answering import Subject
from malmoi.evals.choice import ChoiceQuestion
from malmoi.evals.likelihood import continuation, likelihoods
from malmoi.evals.tasks import KINDS, TASKS, find_file
from malmoi.formats.folder import load_model, load_text, save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

DATA = Path(os.environ.get("MALMOI_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
SMOLLM2 = Path(os.environ.get("MALMOI_SMOLLM2", "no such folder"))
ROWS = [
    {"query": "The cat sat on the", "choices": ["mat and the dog", "log"], "gold": 0},
    {"query": "말모이는 온 나라", "choices": ["사람들", "낱말", "종이"], "gold": 2},
    {"query": "What is a list?", "choices": ["A list holds values in order.", "A dog."], "gold": 1},
]
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]
HARNESS: dict[str, dict[str, Any]] = {
    "arc_easy": {"output_type": "multiple_choice", "doc_to_text": "{{query}}\nAnswer:"},
    "piqa": {"output_type": "multiple_choice", "doc_to_text": "{{query.strip()}}\nAnswer:"},
    "copa": {"output_type": "multiple_choice", "doc_to_text": "{{query}}"},
    "lambada": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{context}}",
        "doc_to_target": "{{' ' + continuation}}",
    },
}
CHOICES = {
    "doc_to_target": "gold",
    "doc_to_choice": "choices",
    "metric_list": [{"metric": m} for m in ("acc", "acc_norm")],
}
LAST_WORD = {"metric_list": [{"metric": m} for m in ("acc", "perplexity")]}


def harness_says(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> tuple[dict[str, float], list[list[float]]]:
    """lm-eval-harness's measures and its log-likelihood of every option."""
    pytest.importorskip("lm_eval")
    from datasets import Dataset
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=8)
    more = CHOICES if HARNESS[name]["output_type"] == "multiple_choice" else LAST_WORD
    task = {
        "task": name, "custom_dataset": lambda **_: {"test": Dataset.from_list(list(rows))}, "test_split": "test",
        **HARNESS[name], **more,
    }  # fmt: skip
    found = simple_evaluate(model=model, tasks=[task], bootstrap_iters=0, random_seed=0)
    measures = {key.split(",")[0]: value for key, value in found["results"][name].items() if isinstance(value, float)}
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    return measures, [[float(option[0]) for option in sample["filtered_resps"]] for sample in samples]


def we_say(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> tuple[dict[str, float], list[list[float]]]:
    subject = Subject(load_model(folder), *load_text(folder))
    kind, task = KINDS[TASKS[name].kind], TASKS[name]
    asked = [one for row in rows for one in kind.read(row, task.ending)]
    measures = {key: value["mean"] for key, value in kind.measure(subject, asked)["metrics"].items()}
    options = [one.options if isinstance(one, ChoiceQuestion) else [one] for one in asked]
    seq_len = subject.model.config.seq_len
    encoded = [[continuation(subject.tokenizer, *option, seq_len) for option in part] for part in options]
    found = likelihoods(subject.model, encoded, subject.tokenizer.pad_id)
    return measures, [[one.logp for one in part] for part in found]


def compare(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> None:
    theirs, ours = harness_says(folder, name, rows), we_say(folder, name, rows)
    apart = max(abs(a - b) for x, y in zip(theirs[1], ours[1], strict=True) for a, b in zip(x, y, strict=True))
    both = {key: (value, ours[0][key]) for key, value in theirs[0].items() if key in ours[0]}
    print(f"{name}: {len(rows)} rows, lm-eval and ours {both}; log-likelihoods at most {apart:.1e} nats apart")
    assert apart < 2e-3
    assert {"acc"} < both.keys()
    for key, (theirs_mean, ours_mean) in both.items():
        assert ours_mean == pytest.approx(theirs_mean, rel=1e-3 if key == "perplexity" else 1e-9), key


def test_a_tiny_network_scores_the_same(tmp_path: Path, tokenizer: Tokenizer) -> None:
    torch.manual_seed(3)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, n_layer=2, n_embd=32, n_head=4, n_kv_head=2, head_dim=8, n_ff=48, seq_len=64
    )
    save_model(tmp_path / "tiny", LanguageModel(shape), tokenizer, ChatTemplate.default(), {})
    compare(tmp_path / "tiny", "copa", ROWS)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}; MALMOI_DATA names its folder")
@pytest.mark.skipif(not SMOLLM2.is_dir(), reason="MALMOI_SMOLLM2 names no model folder")
@pytest.mark.parametrize("name", HARNESS)
def test_smollm2_scores_the_same(name: str) -> None:
    rows = [row for _, row in islice(read_table(find_file(TASKS[name], DATA)), 100)]
    compare(SMOLLM2, name, rows)
