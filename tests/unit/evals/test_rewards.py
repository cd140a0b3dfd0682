"""A reward model on people's rankings: the command, its intervals, what is left out, and what it refuses."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.data.comparisons import Ranking
from malmoi.evals.batches import batches_by_length
from malmoi.evals.rewards import Sourced, judge_scores, score_heads
from malmoi.files import write_jsonl
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import ScalarModel

pytestmark = pytest.mark.usefixtures("float32")
PAIR = {"prompt": "Why?", "chosen": "Since the cat sat.", "rejected": "No."}
FOUR = {"messages": [{"role": "user", "content": "Who?"}], "answers": ["a", "b", "c", "d"], "ranks": [1, 2, 2, 3]}


@pytest.fixture
def rankings(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "pairs.jsonl", [PAIR, {**PAIR, "prompt": "How?"}, {**FOUR, "source": "four"}])
    return tmp_path / "pairs.jsonl"


def fails(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    return done.stderr


def ranking(n_answers: int, ranks: list[int]) -> Ranking:
    return Ranking([[1, 2, 3 + i] for i in range(n_answers)], ranks)


def test_the_command_says_accuracy_by_source_and_counts_ties(reward_folder: Path, rankings: Path) -> None:
    done = CliRunner().invoke(app, ["eval", str(reward_folder), "--preferences", str(rankings), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["n_rankings"], found["n_pairs"], found["n_ties"], found["left_out"]) == (3, 7, 1, {})
    assert {name: row["n_pairs"] for name, row in found["by_source"].items()} == {"pairs": 2, "four": 5}
    assert 0 <= found["accuracy"]["low"] <= found["accuracy"]["mean"] <= found["accuracy"]["high"] <= 1
    assert found["accuracy"]["n"] == 3 and len(found["model_sha256"]) == 64
    table = CliRunner().invoke(app, ["eval", str(reward_folder), "--preferences", str(rankings)])
    assert "four" in table.stdout and "chance: accuracy 0.5" in table.stdout


def test_accuracy_is_of_pairs_ranked_apart_and_resampled_by_tree() -> None:
    rows = [Sourced(ranking(3, [1, 2, 2]), "a", "one"), Sourced(ranking(2, [2, 1]), "b", "one")]
    found = judge_scores(rows, [[3.0, 1.0, 4.0], [0.0, 2.0]])
    assert found["accuracy"]["mean"] == pytest.approx(2 / 3)
    assert found["accuracy"]["n"] == 1 and found["accuracy"]["low"] == found["accuracy"]["high"]
    assert found["by_source"]["b"]["accuracy"]["mean"] == 1.0
    assert judge_scores(rows[:1], [[2.0, 1.0, 0.0]])["n_ties"] == 1


def test_rankings_all_tied_have_no_accuracy() -> None:
    found = judge_scores([Sourced(ranking(2, [1, 1]), "a", "t")], [[1.0, 2.0]])
    assert found["accuracy"] is None and found["n_ties"] == 1


def test_batches_change_no_score(shape: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = ScalarModel(shape, n_heads=3)
    rows = [Ranking([[5, 6, 7, 8, *[9] * n], [5, 6, 9]], [1, 2]) for n in (1, 9, 3)]
    together = score_heads(model, rows, 0)
    monkeypatch.setattr("malmoi.evals.rewards.MOST_TOKENS", 1)
    for whole, alone in zip(together, score_heads(model, rows, 0), strict=True):
        assert whole.shape == (2, 3)
        torch.testing.assert_close(torch.tensor(whole), torch.tensor(alone), rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_the_context_is_counted(reward_folder: Path, rankings: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "long.jsonl", [PAIR, {**PAIR, "chosen": "The cat sat on the mat. " * 20}])
    done = CliRunner().invoke(
        app, ["eval", str(reward_folder), "--preferences", str(tmp_path / "long.jsonl"), "--json"]
    )
    found = json.loads(done.stdout)
    assert found["n_rankings"] == 1 and found["left_out"] == {"longer than the model's context (32 tokens)": 1}


def test_bad_input_is_one_line_that_names_it(policy_folder: Path, reward_folder: Path, rankings: Path) -> None:
    assert "needs a reward model" in fails("eval", policy_folder, "--preferences", rankings)
    assert "no such file" in fails("eval", reward_folder, "--preferences", rankings.with_name("none.jsonl"))
    assert "is a reward model" in fails("eval", reward_folder, "--tasks", "copa", "--data", rankings.parent)
    write_jsonl(rankings, [PAIR, {**PAIR, "rejected": PAIR["chosen"]}])
    assert "pairs.jsonl:2: chosen and rejected are the same" in fails("eval", reward_folder, "--preferences", rankings)
    skipped = ["eval", str(reward_folder), "--preferences", str(rankings), "--errors", "skip", "--json"]
    assert list(json.loads(CliRunner().invoke(app, skipped).stdout)["left_out"].values()) == [1]


def test_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = [3, 9, 1, 4, 4, 20]
    batches = batches_by_length(lengths, 12)
    assert sorted(row for batch in batches for row in batch) == list(range(6))
    assert all(len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= 12 for batch in batches)
