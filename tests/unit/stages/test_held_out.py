"""What a reward stage keeps of its held-out scores, so that a killed one does not score again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from malmoi.data.comparisons import Ranking
from malmoi.stages._held_out import AT_ONCE, scored_once

N = 2 * AT_ONCE + 10


def rankings() -> list[Ranking]:
    """Of two answers each; the lengths are shuffled, and the second answer's first id is the ranking's number."""
    lengths = np.random.default_rng(0).permutation(N)
    return [Ranking([[0] * (int(n) + 1), [number] * 2], [1, 2]) for number, n in enumerate(lengths)]


def score(part: Sequence[Ranking]) -> list[list[float]]:
    return [[0.5, float(one.ids[1][0])] for one in part]


def test_a_killed_run_scores_only_the_rest_and_finds_the_same(tmp_path: Path) -> None:
    asked: list[int] = []

    def killed_at_the_second_part(part: Sequence[Ranking]) -> list[list[float]]:
        if asked:
            raise KeyboardInterrupt
        asked.append(len(part))
        return score(part)

    def noted(part: Sequence[Ranking]) -> list[list[float]]:
        asked.append(len(part))
        return score(part)

    whole = scored_once(rankings(), tmp_path / "whole.json", "a", score)
    assert whole == [[0.5, float(number)] for number in range(N)]
    with pytest.raises(KeyboardInterrupt):
        scored_once(rankings(), tmp_path / "kept.json", "a", killed_at_the_second_part)
    assert scored_once(rankings(), tmp_path / "kept.json", "a", noted) == whole
    assert asked == [AT_ONCE, AT_ONCE, 10]


def test_scores_of_another_model_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    scored_once(rankings(), path, "a", lambda part: [[9.0, 9.0] for _ in part])
    assert scored_once(rankings(), path, "b", score)[3] == [0.5, 3.0]
