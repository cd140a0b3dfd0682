"""Token shards -> windows for pretraining."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from malmoi.corpus.shards import TokenShards
from malmoi.data.batch import Tokens
from malmoi.data.stream import Shuffled
from malmoi.errors import DataError


def window_steps(folder: Path, seq_len: int, batch_size: int, micro_batch_size: int, seed: int) -> Shuffled:
    """Steps of `batch_size` windows of `seq_len` tokens; each pass cuts the text at another offset."""
    shards = TokenShards(folder, "train")
    n_windows = (len(shards) - 1) // seq_len - 1
    if n_windows < 1:
        raise DataError(
            f"{folder}: {len(shards)} tokens of training text are too few for one window of {seq_len}; "
            "give more text or set model.seq_len lower"
        )

    def collate(epoch: int, rows: np.ndarray) -> list[Tokens]:
        offset = int(np.random.default_rng((seed, 1, epoch)).integers(seq_len))
        windows = [shards.read(offset + int(row) * seq_len, seq_len + 1) for row in rows]
        return [_tokens(windows[i : i + micro_batch_size]) for i in range(0, len(windows), micro_batch_size)]

    return Shuffled(n_windows, batch_size, seed, collate)


def heldout_windows(folder: Path, seq_len: int, batch_size: int) -> Iterator[Tokens]:
    """All held-out tokens once, in order: every token but the first is predicted exactly once."""
    shards = TokenShards(folder, "heldout")
    n_windows, rest = divmod(len(shards) - 1, seq_len)
    for start in range(0, n_windows, batch_size):
        rows = range(start, min(start + batch_size, n_windows))
        yield _tokens([shards.read(row * seq_len, seq_len + 1) for row in rows])
    if rest:
        yield _tokens([shards.read(n_windows * seq_len, rest + 1)])


def _tokens(windows: list[np.ndarray]) -> Tokens:
    ids = torch.from_numpy(np.stack(windows).astype(np.int64))
    return Tokens(ids[:, :-1], ids[:, 1:], torch.ones_like(ids[:, 1:], dtype=torch.bool))
