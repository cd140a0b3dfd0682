"""Batches depend on the seed and the step alone, and every row comes once a pass."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from malmoi.corpus.shards import ShardWriter
from malmoi.data.stream import Shuffled
from malmoi.data.tokens import SHORTEST_PIECE, heldout_documents, warning_if_short, window_steps


def rows_of(epoch: int, rows: np.ndarray) -> Sequence[int]:
    return rows.tolist()


@given(n_rows=st.integers(1, 12), batch_size=st.integers(1, 15), n_steps=st.integers(1, 12), seed=st.integers(0, 5))
def test_every_row_comes_once_a_pass_and_resuming_is_counting(
    n_rows: int, batch_size: int, n_steps: int, seed: int
) -> None:
    steps = list(islice(Shuffled(n_rows, batch_size, seed, rows_of), n_steps))
    rows = [row for step in steps for row in step]
    assert [len(step) for step in steps] == [batch_size] * n_steps
    for start in range(0, len(rows) - n_rows + 1, n_rows):
        assert sorted(rows[start : start + n_rows]) == list(range(n_rows))
    for done in range(n_steps):
        before = Shuffled(n_rows, batch_size, seed, rows_of)
        list(islice(before, done))
        after = Shuffled(n_rows, batch_size, seed, rows_of)
        after.load_state_dict(before.state_dict())
        assert list(islice(after, n_steps - done)) == steps[done:]


def test_passes_and_seeds_differ() -> None:
    first, second = islice(Shuffled(50, 50, 0, rows_of), 2)
    [other] = islice(Shuffled(50, 50, 1, rows_of), 1)
    assert len({tuple(first), tuple(second), tuple(other)}) == 3


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    """Shards in which token i is i, so that a window says where it was cut; held out are three documents."""
    with ShardWriter(tmp_path, "train", vocab_size=200, shard_tokens=30) as writer:
        writer.append(list(range(103)), n_bytes=103)
    with ShardWriter(tmp_path, "heldout", vocab_size=200, shard_tokens=30) as writer:
        for start, end in ((0, 25), (25, 26), (26, 47)):
            writer.append(list(range(start, end)), n_bytes=end - start)
    return tmp_path


def test_windows_of_a_pass_do_not_overlap_and_predict_the_next_token(counted: Path) -> None:
    starts_of_passes = []
    for epoch in range(4):
        steps = window_steps(counted, seq_len=10, batch_size=3, micro_batch_size=2, seed=5)
        steps.load_state_dict({"step": 3 * epoch})  # nine windows: three steps are a pass
        micros = [micro for step in islice(steps, 3) for micro in step]
        assert [len(micro.ids) for micro in micros] == [2, 1] * 3
        for micro in micros:
            assert micro.targets.equal(micro.ids + 1) and micro.mask.all()
        starts = sorted(row[0].item() for micro in micros for row in micro.ids)
        assert [start - starts[0] for start in starts] == list(range(0, 90, 10))
        starts_of_passes.append(starts[0])
    assert len(set(starts_of_passes)) > 1


def test_a_share_of_the_windows_repeats_its_beginning_and_the_others_are_as_before(counted: Path) -> None:
    plain, repeated = (
        [micro.ids for step in islice(window_steps(counted, 40, 4, 4, 5, share), 30) for micro in step]
        for share in (0.0, 0.5)
    )
    n_changed = 0
    for row, before in zip(torch.cat(repeated).tolist(), torch.cat(plain).tolist(), strict=True):
        if row != before:
            n_changed += 1
            [period] = [n for n in range(SHORTEST_PIECE, 21) if row[n:] == row[:-n]]
            assert row[:period] == before[:period]
    assert 0.35 < n_changed / 120 < 0.65


@pytest.mark.parametrize("seq_len", [1, 4, 24, 100])
def test_of_held_out_text_every_token_is_predicted_once_from_its_own_document(counted: Path, seq_len: int) -> None:
    batches = list(heldout_documents(counted, seq_len, pad_id=199, batch_size=3))
    pairs = [(batch.ids[batch.mask].tolist(), batch.targets[batch.mask].tolist()) for batch in batches]
    targets = sorted(target for _, row in pairs for target in row)
    assert targets == [token for token in range(47) if token not in (0, 25, 26)]  # each document's first has nothing
    assert all(target == previous + 1 for ids, row in pairs for previous, target in zip(ids, row, strict=True))
    assert sum(batch.count for batch in batches) == 44
    assert max(batch.ids.shape[1] for batch in batches) <= seq_len


@pytest.mark.parametrize("seq_len", [52, 103, 1000])
def test_too_little_text_is_read_in_a_circle_and_said(counted: Path, seq_len: int) -> None:
    said = warning_if_short(counted, seq_len)
    assert said is not None and said.startswith(f"103 tokens of training text are few for windows of {seq_len:,}")
    assert warning_if_short(counted, 51) is None  # a window at every offset of 0 to 50
    n_windows = max(1, 103 // seq_len)
    for (micro,) in islice(window_steps(counted, seq_len, n_windows, micro_batch_size=n_windows, seed=0), 20):
        assert micro.ids.shape == (n_windows, seq_len) and micro.mask.all()
        assert micro.targets.equal((micro.ids + 1) % 103)  # the text counts up
