"""The curve of accuracy by rankings, and what the next ones bring."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.errors import DataError
from malmoi.evals.reward_curve import Known, learning_curve, next_gain
from malmoi.files import write_jsonl
from malmoi.train.features import Features


def known(n: int, seed: int, strength: float) -> Known:
    """Pairs whose first feature says, as loudly as `strength`, which answer is better."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(2 * n, 8)).astype(np.float32)
    gaps = strength * (states[::2, 0] - states[1::2, 0])
    first = rng.random(n) < 1 / (1 + np.exp(-gaps))
    rows: list[dict[str, Any]] = [
        {"messages": [], "answers": ["yes " * int(rng.integers(1, 9)) for _ in range(2)],
         "ranks": [1, 2] if first[i] else [2, 1], "source": "s", "tree": f"{seed} {i}"}
        for i in range(n)
    ]  # fmt: skip
    prompts = rng.normal(size=(n, 4)).astype(np.float32)
    return Known(rows, Features(states, np.full(2 * n, 5), prompts, np.full(n, 2), (1, 2)))


def test_a_probe_gets_better_with_more_rankings_and_words_that_say_nothing_do_not() -> None:
    found = learning_curve(known(150, 0, 4.0), known(300, 1, 4.0))
    assert [point["n"] for point in found["points"]] == [25, 50, 100, 150]
    assert [point["seeds"] for point in found["points"]] == [3, 3, 3, 1]
    accuracy = [point["probe"]["mean"] for point in found["points"]]
    assert accuracy[-1] > 0.8 and accuracy[-1] > accuracy[0]
    assert abs(found["points"][-1]["counted words"]["mean"] - 0.5) < 0.12
    assert set(found["baselines"]) == {"the longer answer", "the shorter answer"}


def test_too_few_to_learn_from_guess_and_none_to_measure_on_are_refused() -> None:
    found = learning_curve(known(9, 0, 4.0), known(50, 1, 4.0))
    assert [point["probe"]["mean"] for point in found["points"]] == [0.5] and not found["next"]["is_known"]
    tied = known(5, 1, 1.0)
    with pytest.raises(DataError, match="none says which answer is better"):
        learning_curve(known(30, 0, 4.0), Known([{**row, "ranks": [1, 1]} for row in tied.rows], tied.features))


def test_the_next_rankings_are_known_only_where_the_curve_clearly_rises() -> None:
    rng = np.random.default_rng(0)
    trees = [str(i) for i in range(2000)]

    def right(*accuracies: float) -> list[np.ndarray]:
        return [(rng.random((3, 2000)) < one).astype(float) for one in accuracies]

    rising = next_gain((25, 50, 100, 200), right(0.55, 0.6, 0.65, 0.7), trees)
    assert rising["is_known"] and rising["mean"] == pytest.approx(0.05 * np.log2(1.5), abs=0.01)
    assert not next_gain((25, 50, 100, 200), right(0.6, 0.6, 0.6, 0.6), trees)["is_known"]
    assert next_gain((25, 50), right(0.55, 0.8), trees)["n"] == 0


def test_the_command_finds_what_the_model_was_trained_from(
    policy_folder: Path, reward_folder: Path, tmp_path: Path
) -> None:
    pairs = [
        {"prompt": f"Why {i}?", "chosen": "Since the cat sat.", "rejected": "No.", "tree": str(i)} for i in range(14)
    ]
    write_jsonl(tmp_path / "train.jsonl", pairs)
    write_jsonl(tmp_path / "held.jsonl", [{**row, "tree": f"held {row['tree']}"} for row in pairs[:6]])
    done = CliRunner().invoke(app, ["eval", str(reward_folder), "--curve"])
    assert done.exit_code == 2 and "--curve needs the model that it was trained from" in done.stderr
    done = CliRunner().invoke(app, ["eval", str(policy_folder), "--curve"])
    assert done.exit_code == 2 and "--curve needs a reward model" in done.stderr
    (tmp_path / "reward.toml").write_text(
        f'model = "{policy_folder}"\ndata = "{tmp_path / "train.jsonl"}"\nmethod = "probe"\n'
    )
    trained = CliRunner().invoke(
        app, ["train", "reward", str(tmp_path / "reward.toml"), "--out", str(tmp_path / "made")]
    )
    assert trained.exit_code == 0, trained.output
    command = ["eval", str(tmp_path / "made" / "model"), "--curve"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2 and "name some with --preferences FILE" in done.stderr
    done = CliRunner().invoke(app, [*command, "--preferences", str(tmp_path / "held.jsonl"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["points"][-1]["n"] == 14 and found["points"][-1]["probe"]["mean"] == 1.0
    shown = CliRunner().invoke(app, [*command, "--preferences", str(tmp_path / "held.jsonl")])
    assert "the next 100 rankings are likely to bring the probe: not known" in " ".join(shown.stdout.split())
