from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from malmoi.evals.words_judge import judge_by_words
from malmoi.files import write_jsonl


def ranked(path: Path, pairs: Iterable[tuple[str, str]]) -> Path:
    """Rankings of a better answer above a worse one, each of its own prompt."""
    rows = [
        {
            "messages": [{"role": "user", "content": f"{path.stem} {number}?"}],
            "answers": [better, worse],
            "ranks": [1, 2],
        }
        for number, (better, worse) in enumerate(pairs)
    ]
    write_jsonl(path, rows)
    return path


def test_it_prefers_the_words_that_people_preferred(tmp_path: Path) -> None:
    pairs = [("a cat", "a dog"), ("one cat", "the dog")] * 25
    texts = {"sft": [["a cat", "a dog"], ["a dog", "a dog"]], "ppo": [["a cat"], ["a cat"]]}
    found = judge_by_words(ranked(tmp_path / "a.jsonl", pairs), ranked(tmp_path / "b.jsonl", pairs), texts)
    assert found.facts["accuracy"]["mean"] == 1 and not found.facts["alarm"]
    ppo, sft = found.row("ppo", "sft"), found.row("sft", "sft")
    # Against a cat and a dog, and against two dogs; a judge that is always right needs no correction.
    assert ppo["by_words"]["win_rate"]["mean"] == ppo["by_words"]["corrected"]["mean"] == pytest.approx((0.75 + 1) / 2)
    assert ppo["words_gain"]["mean"] > 0
    assert sft["by_words"]["win_rate"]["mean"] == 0.5 and sft["words_gain"]["mean"] == 0
    # The first of the two answers is always taken: a cat against a dog, and a dog against a dog.
    chosen = found.row_of_chosen(np.array([[1.0, 0.0], [1.0, 0.0]]), "sft")
    assert chosen["by_words"]["win_rate"]["mean"] == pytest.approx((1 + 0.5) / 2)


def test_where_it_knows_no_more_than_length_it_gives_no_verdict(tmp_path: Path) -> None:
    pairs = [("yes " * (number % 5 + 2), "yes") for number in range(50)]
    texts = {"sft": [["yes"]], "ppo": [["yes yes"]]}
    found = judge_by_words(ranked(tmp_path / "a.jsonl", pairs), ranked(tmp_path / "b.jsonl", pairs), texts)
    assert "the longer answer" in found.facts["alarm"]
    said = found.row("ppo", "sft")["by_words"]
    assert said["win_rate"]["mean"] == 1
    assert (said["corrected"]["mean"], said["corrected"]["verdict"]) == (None, "not known yet")
