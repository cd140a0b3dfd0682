"""The stage `rank`: answers that read the same tie, whatever the labeler's errors, and equal work is equal bytes."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from malmoi.feedback.judgements import record_generations
from malmoi.files import read_jsonl, sha256_of, write_jsonl, write_text
from malmoi.stage import Context, Input, InputsByRole
from malmoi.stages import find_stage, rank
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes
from malmoi.workspace.ledger import Ledger

ANSWERS = ("os.getcwd: Return the path.", "os.getcwd: Return the path.", "I do not know.", "os.getcwd: Return")


@pytest.fixture
def context(ledger: Ledger, tmp_path: Path) -> Context:
    """Forty prompts with four answers each, of which two read the same."""
    run_id = ledger.start_run(stage="sample", recipe="nano", fingerprint="f", settings={}, seed=1, inputs={})
    write_text(ledger.root / "model", "weights")
    model = ledger.add_artefact(run_id, "model", "model", ledger.root / "model")
    rows: list[dict[str, Any]] = [
        {"prompt_id": f"p{i}", "prompt": [{"role": "user", "content": f"What is os.getcwd {i}?"}], "split": split,
         "references": ["os.getcwd: Return the path of the folder."],
         "answers": [{"text": text, "ids": [1], "finished": True} for text in ANSWERS]}
        for split, numbers in (("train", range(30)), ("heldout", range(30, 40))) for i in numbers
    ]  # fmt: skip
    how: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "seed": 1, "max_tokens": 8}
    ids = record_generations(ledger, rows, run_id=run_id, model_sha256=model, **how)
    path = tmp_path / "generations.jsonl"
    write_jsonl(path, ({**row, "generation_ids": known} for row, known in zip(rows, ids, strict=True)))
    reads = InputsByRole({"answers": (Input("answers", "sample", {"": path}),)})
    (tmp_path / "run" / "out").mkdir(parents=True)
    return Context(run_id, tmp_path / "run", reads, {}, ledger, Workspace(ledger.root))


def test_answers_that_read_the_same_tie_and_again_is_the_same(context: Context) -> None:
    settings = rank.Settings(tie_margin=0.0)
    rank.run(context, settings)
    rows = read_jsonl(context.out / "train.jsonl") + read_jsonl(context.out / "heldout.jsonl")
    assert len(rows) == 40
    for row in rows:
        pairs = combinations(zip(row["answers"], row["ranks"], strict=True), 2)
        assert all((one == other) == (a == b) for (one, a), (other, b) in pairs)
    # The labeler errs, so not all prompts have the same order.
    assert len({tuple(sorted(zip(row["ranks"], row["answers"], strict=True))) for row in rows}) > 1
    first = sha256_of(context.out)
    rank.run(context, settings)
    assert sha256_of(context.out) == first


def test_rankings_by_another_rule_are_other_work(context: Context) -> None:
    hashes, found = Hashes(context.workspace.path / "hashes"), find_stage("rank").external_hashes
    one, other = (found(rank.Settings(error_rate=rate), context.workspace, hashes) for rate in (0.25, 0.1))
    assert one == found(rank.Settings(), context.workspace, hashes) != other
