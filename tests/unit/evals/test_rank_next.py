"""Which answers to rank next: the uncertain ones, and not the same thing twice."""

from pathlib import Path

import numpy as np
import pytest

from malmoi.errors import UserError
from malmoi.evals.rank_next import _contrasts, _Known, next_to_rank, order_to_rank
from malmoi.files import write_jsonl
from malmoi.pipeline.standalone import train
from malmoi.train.features import Features
from malmoi.train.probe import Fit, fit_probe, probe_deviations


def features(states: np.ndarray, size: int = 2) -> Features:
    n = len(states) // size
    return Features(
        states.astype(np.float32), np.full(len(states), 5), np.zeros((n, 4), np.float32), np.full(n, size), (1, 2)
    )


@pytest.fixture(scope="module")
def fit() -> Fit:
    """Fitted to pairs that differ in the first direction only."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(80, 8)) * np.array([1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])
    ranks = [[1, 2] if states[2 * i, 0] > states[2 * i + 1, 0] else [2, 1] for i in range(40)]
    return fit_probe(features(states), ranks, [str(i) for i in range(40)])


def test_differences_of_answers_are_orthogonal_and_of_two_their_difference() -> None:
    assert _contrasts(2).tolist() == [[1, -1]]
    assert _contrasts(4) @ _contrasts(4).T == pytest.approx(2 * np.eye(3))
    assert _contrasts(4).sum(axis=1) == pytest.approx(0)


def test_the_covariance_is_that_of_the_posterior(fit: Fit) -> None:
    # Of an answer and one at the origin of the coordinates, the difference is as uncertain as the answer itself.
    asked = features(np.random.default_rng(1).normal(size=(6, 8)))
    known = _Known(fit.probe, asked)
    for number in range(3):
        rows = known.rows[number]
        variance = known._covariance(rows, number)[0, 0]
        one, other = probe_deviations(fit.probe, asked)[number]
        assert 0 < variance <= (one + other) ** 2 + 1e-9


def test_equal_answers_say_nothing_and_come_last(fit: Fit) -> None:
    states = np.random.default_rng(2).normal(size=(12, 8))
    states[5] = states[4]
    assert order_to_rank(fit.probe, features(states), 6)[-1] == 2


def test_the_same_question_is_not_asked_twice(fit: Fit) -> None:
    # Prompts 0 and 1 differ in the same way, 2 in another one that nothing is known of either.
    states = np.zeros((6, 8))
    states[0, 1] = states[2, 1] = states[4, 2] = 0.05
    known = _Known(fit.probe, features(states))
    before = [known.information(number) for number in range(3)]
    known.add(0)
    after = [known.information(number) for number in range(3)]
    variance_times_curvature = np.exp(2 * before[1]) - 1
    assert after[1] == pytest.approx(np.log1p(variance_times_curvature / (1 + variance_times_curvature)) / 2, rel=1e-4)
    assert after[2] > 0.95 * before[2]


def test_information_only_falls_as_rankings_are_added(fit: Fit) -> None:
    known = _Known(fit.probe, features(np.random.default_rng(3).normal(size=(24, 8)), size=4))
    before = [known.information(number) for number in range(6)]
    known.add(0)
    after = [known.information(number) for number in range(6)]
    assert all(new <= old + 1e-9 for new, old in zip(after, before, strict=True)) and after[0] < before[0]


def test_the_order_is_the_greedy_one(fit: Fit) -> None:
    asked = features(np.random.default_rng(4).normal(size=(30, 8)), size=3)
    known, greedy = _Known(fit.probe, asked), []
    for _ in range(5):
        best = max((n for n in range(10) if n not in greedy), key=known.information)
        greedy.append(best)
        known.add(best)
    assert order_to_rank(fit.probe, asked, 5) == greedy


def test_prompts_with_their_answers_are_ordered_by_a_folder_with_a_probe(
    policy_folder: Path, reward_folder: Path, tmp_path: Path
) -> None:
    write_jsonl(
        tmp_path / "train.jsonl",
        ({"prompt": f"Why {i}?", "chosen": "Since the cat sat.", "rejected": "No."} for i in range(12)),
    )
    settings = f'model = "{policy_folder}"\ndata = "{tmp_path / "train.jsonl"}"\nmethod = "probe"\n'
    (tmp_path / "reward.toml").write_text(settings)
    made = train("reward", tmp_path / "reward.toml", (), tmp_path / "made").model
    asked = [
        {"messages": [{"role": "user", "content": f"How {i}?"}], "answers": answers}
        for i, answers in enumerate((["The same.", "The same."], ["A cat.", "No, the dog."], ["A.", "The tree.", "B."]))
    ]
    assert sorted(next_to_rank(made, policy_folder, asked, 9)) == [0, 1, 2]
    assert next_to_rank(made, policy_folder, asked, 9)[-1] == 0
    assert next_to_rank(made, policy_folder, [], 3) == []
    with pytest.raises(UserError, match="has no probe"):
        next_to_rank(reward_folder, policy_folder, asked, 1)
