"""Accuracy, calibration and disagreement of reward models, by hand and as `malmoi eval --preferences` shows them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.data.comparisons import Ranking
from malmoi.evals.reward_accuracy import (
    ScoreGaps,
    SourcedRanking,
    disagreement,
    measure_scores,
    score_gaps,
)
from malmoi.evals.reward_scores import head_scores, mean_scores
from malmoi.files import write_jsonl
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel

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


def test_pairs_are_those_that_the_truth_ranks_apart() -> None:
    pairs = score_gaps([[0.1, 0.7, 0.4], [3.0, 1.0], [5.0, 5.0]], [[2, 1, 2], [1, 1], [1, 2]])
    assert pairs.gaps.tolist() == pytest.approx([0.6, 0.3, 0.0])
    assert pairs.prompts.tolist() == [0, 0, 2]
    assert pairs.accuracy().mean == pytest.approx((1 + 1 + 0.5) / 3)
    assert pairs.accuracy().n == 2


scored_rankings = st.lists(
    st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 4)), min_size=2, max_size=5), min_size=1, max_size=5
)


@given(answers=scored_rankings)
def test_turning_the_scores_over_turns_every_gap_over(answers: list[list[tuple[float, int]]]) -> None:
    ranks = [[rank for _, rank in row] for row in answers]
    pairs = score_gaps([[score for score, _ in row] for row in answers], ranks)
    turned = score_gaps([[-score for score, _ in row] for row in answers], ranks)
    assert np.array_equal(turned.gaps, -pairs.gaps)
    assert len(pairs.gaps) == sum(a[1] != b[1] for row in answers for i, a in enumerate(row) for b in row[:i])


def test_calibration_compares_the_claimed_confidence_with_the_accuracy() -> None:
    gaps = np.array([0.1, -0.1, 4.0, 4.0, -4.0, 4.0])
    low, high = ScoreGaps(gaps, np.arange(6)).calibration(n_bins=2)
    assert (low["n"], high["n"]) == (3, 3)
    assert sum(row["accuracy"] * row["n"] for row in (low, high)) == pytest.approx(4)
    assert high["confidence"] == pytest.approx(1 / (1 + math.exp(-4)))
    assert low["confidence"] < high["confidence"]
    assert [row["n"] for row in ScoreGaps(gaps, np.arange(6)).calibration(n_bins=10)] == [1] * 6


def test_equal_scores_count_one_half_wherever_accuracy_is_told() -> None:
    pairs = ScoreGaps(np.array([0.0, 0.0, 2.0, -2.0]), np.arange(4))
    assert pairs.accuracy().mean == 0.5
    assert [row["accuracy"] for row in pairs.calibration(n_bins=2)] == [0.5, 0.5]


@pytest.mark.parametrize("claimed", [0.25, 1.0, 4.0])
def test_the_fitted_temperature_undoes_what_the_model_claims_too_much(claimed: float) -> None:
    rng = np.random.default_rng(0)
    honest = np.abs(rng.normal(0, 2, 40_000))
    gaps = np.where(rng.random(40_000) < 1 / (1 + np.exp(-honest)), honest, -honest) * claimed
    pairs = ScoreGaps(gaps, np.arange(40_000))
    found = pairs.fitted_temperature()
    assert found == pytest.approx(claimed, rel=0.03)
    assert pairs.log_loss(found) <= min(pairs.log_loss(found * 1.1), pairs.log_loss(found / 1.1))
    for row in pairs.calibration(temperature=found):
        assert row["confidence"] == pytest.approx(row["accuracy"], abs=0.02)


def test_temperatures_without_an_optimum_stop_at_their_bounds() -> None:
    assert ScoreGaps(np.array([1.0, 2.0]), np.arange(2)).fitted_temperature() == pytest.approx(0.01)
    assert ScoreGaps(np.array([-1.0, -2.0]), np.arange(2)).fitted_temperature() == pytest.approx(100.0)
    with pytest.raises(ValueError, match="no pairs"):
        ScoreGaps(np.array([]), np.array([])).fitted_temperature()


def test_heads_disagree_about_gaps_and_not_about_where_zero_is(shape: ModelConfig) -> None:
    torch.manual_seed(3)
    model = ScalarModel(shape, n_heads=3)
    asked = [Ranking([[7, 8], [9], [10, 11, 12]], [1, 2, 3]), Ranking([[13] * 9, [14]], [1, 1])]
    before = head_scores(model, asked, pad_id=1)
    assert [scores.shape for scores in before] == [(3, 3), (2, 3)]
    model.score_bias.copy_(torch.tensor([5.0, -5.0, 1.0]))
    ranks = [ranking.ranks for ranking in asked]
    after = disagreement(head_scores(model, asked, pad_id=1), ranks)
    assert after["std"] == pytest.approx(disagreement(before, ranks)["std"], rel=1e-4)
    assert after["std"] and after["std"] > 0.01
    assert mean_scores(model, asked, 1)[0] == pytest.approx([float(row.mean()) + 1 / 3 for row in before[0]], rel=1e-4)


def test_pairs_that_divide_the_heads_are_counted() -> None:
    scores = [np.array([[2.0, 3.0], [1.0, 1.0], [0.0, 2.0]])]
    found = disagreement(scores, [[1, 2, 3]])  # gaps 1, 2; 2, 1; 1, -1
    assert found["divided"] == pytest.approx(1 / 3)
    assert found["std"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert (found["accuracy_divided"], found["accuracy_agreed"]) == (0.0, 1.0)
    assert disagreement([np.array([[1.0], [0.0]])], [[1, 2]])["accuracy_divided"] is None


def test_accuracy_is_of_pairs_ranked_apart_and_resampled_by_tree() -> None:
    rows = [SourcedRanking(ranking(3, [1, 2, 2]), "a", "one"), SourcedRanking(ranking(2, [2, 1]), "b", "one")]
    found = measure_scores(rows, [[3.0, 1.0, 4.0], [0.0, 2.0]])
    assert found["accuracy"]["mean"] == pytest.approx(2 / 3)
    assert found["accuracy"]["n"] == 1 and found["accuracy"]["low"] == found["accuracy"]["high"]
    assert found["by_source"]["b"]["accuracy"]["mean"] == 1.0
    assert measure_scores(rows[:1], [[2.0, 1.0, 0.0]])["n_ties"] == 1


def test_rankings_all_tied_have_no_accuracy() -> None:
    found = measure_scores([SourcedRanking(ranking(2, [1, 1]), "a", "t")], [[1.0, 2.0]])
    assert found["accuracy"] is None and found["n_ties"] == 1


def test_the_command_says_accuracy_by_source_and_counts_ties(reward_folder: Path, rankings: Path) -> None:
    done = CliRunner().invoke(app, ["eval", str(reward_folder), "--preferences", str(rankings), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["n_rankings"], found["n_pairs"], found["n_ties"], found["left_out"]) == (3, 7, 1, {})
    assert {name: row["n_pairs"] for name, row in found["by_source"].items()} == {"pairs": 2, "four": 5}
    assert 0 <= found["accuracy"]["low"] <= found["accuracy"]["mean"] <= found["accuracy"]["high"] <= 1
    assert found["accuracy"]["n"] == 3 and len(found["model_sha256"]) == 64
    assert set(found["baselines"]) == {"the longer answer", "the shorter answer"}
    assert found["training_sha256"] is None and "3 held-out prompts are too few" in found["alarm"]
    table = CliRunner().invoke(app, ["eval", str(reward_folder), "--preferences", str(rankings)])
    assert "four" in table.stdout and "chance: accuracy 0.5" in table.stdout
    assert "the longer answer" in table.stdout and "so no words are counted" in table.stdout


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
