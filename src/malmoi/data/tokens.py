"""Token shards -> windows for pretraining."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from malmoi.corpus.shards import TokenShards
from malmoi.data.batch import Tokens, pad, shift
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


def heldout_documents(folder: Path, seq_len: int, pad_id: int, batch_size: int = 16) -> Iterator[Tokens]:
    """Every held-out document from its start, in pieces of at most `seq_len`: each token behind the first is predicted
    once, from its own document alone."""
    shards = TokenShards(folder, "heldout")
    pieces = []
    for number in range(shards.n_documents):
        ids = shards.document(number)
        pieces += [ids[start : start + seq_len + 1] for start in range(0, len(ids) - 1, seq_len)]
    pieces.sort(key=len)
    for start in range(0, len(pieces), batch_size):
        batch, lengths = pad([piece.tolist() for piece in pieces[start : start + batch_size]], pad_id)
        yield shift(batch, torch.arange(batch.shape[1]) < lengths[:, None])


def _tokens(windows: list[np.ndarray]) -> Tokens:
    ids = torch.from_numpy(np.stack(windows).astype(np.int64))
    return Tokens(ids[:, :-1], ids[:, 1:], torch.ones_like(ids[:, 1:], dtype=torch.bool))
