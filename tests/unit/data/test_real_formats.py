"""The readers on real files; MALMOI_DATA names their folder."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from malmoi.data.formats import RowReport, conversations, prompts, rankings
from malmoi.errors import DataError

DATA = Path(os.environ.get("MALMOI_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data in {DATA}; MALMOI_DATA names its folder")
RANKED = {
    "pref/hh_rlhf.helpful-base.test": ("HH transcripts", 1763, 14),
    "pref/hh_rlhf.harmless-base.test": ("HH transcripts", 1714, 9),
    "pref/oasst1_en_rankings": ("OASST rankings", 345, 1),
    "pref/pandalm_human": ("PandaLM", 939, 60),
    "pref/fgrlhf_qa_feedback_dev": ("FG-RLHF", 500, 0),
    "pref/square_acceptability.ko": ("SQuARe", 104, 150),
    "sft/simple_instructions_1100": ("chosen and rejected", 1094, 6),
}
CHATS = {
    "sft/oasst1_en_mined_pairs": ("prompt and response", 4535, 0),
    "sft/oasst1_en_validation_messages": ("OASST messages", 157, 3),
    "sft/self_instruct_seed_tasks": ("self-instruct", 175, 0),
    "sft/simple_instructions_1100": ("Alpaca", 1100, 0),
    "sft/persona_chat": ("turns", 1962, 6),
    "sft/chatterbot.ko": ("turns", 454, 0),
    "sft/songys_chatbot.ko": ("prompt and response", 11823, 0),
}
READ = [(rankings, *row) for row in RANKED.items()] + [(conversations, *row) for row in CHATS.items()]


def file(name: str) -> Path:
    return DATA / f"{name}.jsonl.gz"


@pytest.mark.parametrize(("read", "name", "expected"), READ)
def test_published_files_are_recognised_and_counted(read: Any, name: str, expected: tuple[str, int, int]) -> None:
    report = RowReport()
    found = [row for _, row in read(file(name), "skip", report)]
    form, n_rows, n_skipped = expected
    assert dict(report.formats) == {form: n_rows} and report.skipped.total() == n_skipped
    assert all(row["source"] == file(name).name.removesuffix(".jsonl.gz") for row in found)


def test_ranking_trees_gives_the_rankings_that_were_made_of_them() -> None:
    def known(name: str) -> dict[str, Any]:
        rows = (row for _, row in rankings(file(name), "skip"))
        return {str(row["messages"]): (row["answers"], row["ranks"], row["tree"]) for row in rows}

    assert known("sft/oasst1_en_validation_messages") == known("pref/oasst1_en_rankings")


def test_annotators_and_ties_are_kept() -> None:
    rows = [row for _, row in rankings(file("pref/pandalm_human"), "skip")]
    assert {len(row["annotators"]) for row in rows} == {3}
    assert Counter(tuple(row["ranks"]) for row in rows)[1, 1] == 103
    wins = Counter(row["ranks"][0] < row["ranks"][1] for row in rows if (1, 2) <= tuple(row["ranks"]) != (1, 1))
    assert wins.total() == 939 - 103


def test_four_answers_are_ranked_as_the_pairs_were() -> None:
    from malmoi.data.table import read_table

    n_same = n_against = 0
    read = zip(
        read_table(file("pref/fgrlhf_qa_feedback_dev")), rankings(file("pref/fgrlhf_qa_feedback_dev")), strict=True
    )
    for (_, raw), (_, row) in read:
        pairs = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
        for (i, j), better in zip(pairs, raw["preference"], strict=True):
            gap = row["ranks"][j] - row["ranks"][i]
            n_same += (gap > 0) == (better == 1) and (gap < 0) == (better == 2)
            n_against += (gap < 0 and better == 1) or (gap > 0 and better == 2)
    assert n_against == 0 and n_same > 0.95 * 3000


def test_what_is_no_conversation_is_refused_by_name() -> None:
    for name in ("sft/tatoeba_en_ko", "pretrain/oasst1_en_train_messages"):
        with pytest.raises(DataError, match=rf"{file(name).name}:1: expected .* the row has"):
            next(conversations(file(name)))
    assert len(list(prompts(file("eval/ifeval")))) == 271
