"""Token shards -> windows of tokens for pretraining."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from malmoi.corpus.shards import TokenShards
from malmoi.data.batch import Tokens, pad, shift
from malmoi.data.stream import Shuffled

SHORTEST_PIECE = 16
"""Tokens of the shortest piece of text that is repeated."""


def window_steps(
    folder: Path, seq_len: int, batch_size: int, micro_batch_size: int, seed: int, repeated_share: float = 0.0
) -> Shuffled:
    """Steps of `batch_size` windows of `seq_len` tokens. Each pass cuts the text at a different offset.

    repeated_share: share of the windows that repeat their beginning, of a random length, to the end
    A text shorter than `min_tokens` wraps around: its beginning follows its end.
    """
    shards = TokenShards(folder, "train")
    is_short = len(shards) < min_tokens(seq_len)
    n_windows = max(1, len(shards) // seq_len) if is_short else (len(shards) - 1) // seq_len - 1
    circle = shards.read(0, len(shards) if is_short else 0)

    def window(start: int) -> np.ndarray:
        if is_short:
            return circle[np.arange(start, start + seq_len + 1) % len(circle)]
        return shards.read(start, seq_len + 1)

    def collate(epoch: int, rows: np.ndarray) -> list[Tokens]:
        offset = int(np.random.default_rng((seed, 1, epoch)).integers(seq_len))
        windows = [window(offset + int(row) * seq_len) for row in rows]
        if repeated_share:
            windows = [
                _repeated(one, repeated_share, np.random.default_rng((seed, 2, epoch, int(row))))
                for one, row in zip(windows, rows, strict=True)
            ]
        return [_tokens(windows[i : i + micro_batch_size]) for i in range(0, len(windows), micro_batch_size)]

    return Shuffled(n_windows, batch_size, seed, collate)


def min_tokens(seq_len: int) -> int:
    """The length of the shortest text that has a window of `seq_len` tokens at every offset."""
    return 2 * seq_len + 1


def warning_if_short(folder: Path, seq_len: int) -> str | None:
    """A warning if the training text is too short for windows of `seq_len`, else None."""
    n_tokens, fewest = len(TokenShards(folder, "train")), min_tokens(seq_len)
    if n_tokens >= fewest:
        return None
    return (
        f"{n_tokens:,} tokens of training text are few for windows of {seq_len:,}: they are repeated; for more than a "
        f"trial give at least {fewest:,}, or set model.seq_len lower"
    )


def heldout_documents(folder: Path, seq_len: int, pad_id: int, batch_size: int = 16) -> Iterator[Tokens]:
    """Every held-out document in pieces of at most `seq_len` tokens. Each token after the first is predicted once, from
    the tokens of its own document."""
    shards = TokenShards(folder, "heldout")
    pieces = []
    for number in range(shards.n_documents):
        ids = shards.document(number)
        pieces += [ids[start : start + seq_len + 1] for start in range(0, len(ids) - 1, seq_len)]
    pieces.sort(key=len)
    for start in range(0, len(pieces), batch_size):
        batch, lengths = pad([piece.tolist() for piece in pieces[start : start + batch_size]], pad_id)
        yield shift(batch, torch.arange(batch.shape[1]) < lengths[:, None])


def _repeated(window: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """The window, or with the chance `share` its beginning again and again."""
    if rng.random() >= share:
        return window
    longest = max(SHORTEST_PIECE, len(window) // 2)
    return np.resize(window[: rng.integers(SHORTEST_PIECE, longest + 1)], len(window))


def _tokens(windows: list[np.ndarray]) -> Tokens:
    ids = torch.from_numpy(np.stack(windows).astype(np.int64))
    return Tokens(ids[:, :-1], ids[:, 1:], torch.ones_like(ids[:, 1:], dtype=torch.bool))
