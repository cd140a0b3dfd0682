"""Pairs of compared answers for people, and what their rankings of some of them say."""

from pathlib import Path

import numpy as np
import pytest

from malmoi.evals.to_rank import by_people, pairs_to_rank, people_said
from malmoi.files import write_jsonl

ASKED = [[{"role": "user", "content": f"Question {i}?"}] for i in range(4)]
TEXTS = {
    "sft": [["s0"], ["s1"], ["s2"], ["same"]],
    "ppo": [["p0"], ["p1"], ["p2"], ["same"]],
    "dpo": [["d0"], ["d1"], ["d2"], ["d3"]],
}


def test_pairs_are_blind_shuffled_and_leave_out_equal_answers() -> None:
    rows = pairs_to_rank(ASKED, TEXTS, "sft", seed=1)
    assert len(rows) == 7 and rows == pairs_to_rank(ASKED, TEXTS, "sft", seed=1)
    assert rows != pairs_to_rank(ASKED, TEXTS, "sft", seed=2)
    assert {frozenset(row["answers"]) for row in rows} >= {frozenset(("s0", "p0")), frozenset(("same", "d3"))}
    assert len({row["answers"][0][0] == "s" for row in rows}) == 2


def test_rankings_are_found_by_their_texts_whatever_the_order(tmp_path: Path) -> None:
    rows = [
        {"messages": ASKED[0], "answers": ["p0", "s0"], "ranks": [1, 2]},
        {"messages": ASKED[0], "answers": ["s0", "p0"], "ranks": [1, 2]},
        {"messages": ASKED[1], "answers": ["s1", "p1"], "ranks": [2, 1]},
        {"messages": ASKED[2], "answers": ["s2", "d2"], "ranks": [1, 1]},
        {"messages": ASKED[2], "answers": ["s1", "p1"], "ranks": [1, 2]},
        {"messages": ASKED[3], "answers": ["d3", "same"], "ranks": None},
    ]
    write_jsonl(tmp_path / "people.jsonl", rows)
    said, n_other = people_said(tmp_path / "people.jsonl", ASKED, TEXTS, "sft")
    assert said == {"ppo": {0: 0.5, 1: 1.0}, "dpo": {2: 0.5}}
    assert n_other == 1


def test_few_rankings_say_nothing_and_equal_answers_are_ties() -> None:
    seen, are_equal = np.full(60, 0.5), [False] * 30 + [True] * 30
    assert by_people(dict.fromkeys(range(19), 1.0), seen, are_equal) is None
    found = by_people(dict.fromkeys(range(20), 1.0), seen, are_equal)
    assert found is not None and found["mean"] == pytest.approx(0.75)
    assert (found["n"], found["verdict"]) == (20, "better")
