"""What a reward model is compared with: the same pairs, paired differences, people's own agreement, an alarm."""

from typing import Any

import numpy as np
import pytest

from malmoi.evals.reward_baselines import (
    LONGER,
    SHORTER,
    WORDS,
    baseline_scores,
    compare_with_baselines,
    people_agreement,
)


def row(answers: list[str], ranks: list[int], tree: str = "t", **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": tree}],
        "answers": answers,
        "ranks": ranks,
        "source": "s",
        "tree": tree,
        **more,
    }


def many(n: int, seed: int = 0) -> tuple[list[dict[str, Any]], list[list[float]]]:
    """Pairs of which the longer is better in 6 of 10, and a score that knows 9 of 10."""
    rng = np.random.default_rng(seed)
    rows = [row(["aaa", "a"], [1, 2] if rng.random() < 0.6 else [2, 1], f"t{i}") for i in range(n)]
    scores = [[1.0, 0.0] if (one["ranks"][0] == 1) == (rng.random() < 0.9) else [0.0, 1.0] for one in rows]
    return rows, scores


def test_length_counts_ties_half_and_shorter_is_its_opposite() -> None:
    rows = [row(["aaa", "b"], [1, 2], "x"), row(["aa", "bbb"], [1, 2], "y"), row(["aa", "bb"], [1, 2], "z")]
    found = compare_with_baselines(rows, [[1, 0], [1, 0], [0, 1]], baseline_scores(rows, None))
    assert found["baselines"][LONGER]["accuracy"]["mean"] == pytest.approx(0.5)
    assert found["baselines"][SHORTER]["accuracy"]["mean"] == pytest.approx(0.5)
    assert found["baselines"][LONGER]["ahead"]["mean"] == pytest.approx(2 / 3 - 0.5)
    assert WORDS not in found["baselines"] and found["people"] is None


def test_a_model_that_knows_more_raises_no_alarm() -> None:
    rows, scores = many(300)
    found = compare_with_baselines(rows, scores, baseline_scores(rows, None))
    assert found["best"] == LONGER and found["alarm"] == ""
    assert found["baselines"][LONGER]["ahead"]["low"] > 0.2


def test_the_difference_is_paired() -> None:
    rows, _ = many(100)
    lengths = baseline_scores(rows, None)[LONGER]
    ahead = compare_with_baselines(rows, lengths, baseline_scores(rows, None))["baselines"][LONGER]["ahead"]
    assert (ahead["low"], ahead["mean"], ahead["high"]) == (0, 0, 0)


def test_an_alarm_says_what_follows() -> None:
    rows, _ = many(100)
    lengths = baseline_scores(rows, None)[LONGER]
    alarm = compare_with_baselines(rows, lengths, baseline_scores(rows, None))["alarm"]
    assert "no more pairs" in alarm and "will follow length" in alarm
    alarm = compare_with_baselines(rows, lengths, baseline_scores(rows, None), "the judge")["alarm"]
    assert alarm.startswith("the judge orders no more pairs") and "may be the longer answer and no more" in alarm
    assert "follow" not in alarm
    few = compare_with_baselines(rows[:9], lengths[:9], baseline_scores(rows[:9], None))["alarm"]
    assert "9 held-out prompts are too few" in few


def test_a_source_where_length_knows_more_raises_the_alarm() -> None:
    rows, scores = many(300)
    others = [{**row(["aaa", "a"], [1, 2], f"other {i}"), "source": "other"} for i in range(60)]
    guessed = [[float(i % 2), float((i + 1) % 2)] for i in range(60)]
    both, by_us = [*rows, *others], [*scores, *guessed]
    alarm = compare_with_baselines(both, by_us, baseline_scores(both, None))["alarm"]
    assert "of other, the longer answer orders more pairs" in alarm


def test_ties_leave_nothing_to_compare() -> None:
    rows = [row(["a", "b"], [1, 1])]
    found = compare_with_baselines(rows, [[1, 0]], baseline_scores(rows, rows))
    assert found["best"] == "" and found["alarm"] == "" and found["baselines"][WORDS]["accuracy"]["n"] == 0


def test_people_are_compared_within_rows_and_across_them() -> None:
    inside = row(["a", "b"], [1, 2], "x", annotators=[[1, 2], [1, 2], [2, 1]])
    assert people_agreement([inside]).mean == pytest.approx(1 / 3)
    across = [row(["a", "b"], [1, 2], "y"), row(["b", "a"], [2, 1], "y"), row(["b", "c"], [1, 2], "y")]
    assert people_agreement(across).mean == 1.0
    half = [row(["a", "b"], [1, 2], "z", annotators=[[1, 2], [1, 1]])]
    assert people_agreement(half).mean == 0.5
    assert people_agreement([row(["a", "b"], [1, 2])]).n == 0


def test_people_who_contradict_each_other_raise_the_alarm() -> None:
    rows, scores = many(300)
    rows = [one | {"annotators": [one["ranks"], one["ranks"] if i % 5 == 0 else one["ranks"][::-1]]}
            for i, one in enumerate(rows)]  # fmt: skip
    found = compare_with_baselines(rows, scores, baseline_scores(rows, None))
    assert found["alarm"].startswith("people contradict each other: one person orders 0.200 [")
