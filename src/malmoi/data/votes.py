"""Votes on single answers -> micro-batches in which each prompt also has an answer to another one.

Unlike a ranking, a vote says nothing about another answer to the same prompt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from malmoi.data.batch import pad
from malmoi.data.comparisons import encode_ranking
from malmoi.data.formats import votes
from malmoi.data.stream import Shuffled
from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate


@dataclass(frozen=True)
class Vote:
    """A prompt, an answer to it, and whether somebody liked it. prompt, answer: ids"""

    prompt: np.ndarray
    answer: np.ndarray
    is_good: bool


@dataclass(frozen=True)
class Answers:
    """Answers to predict, padded on the right.

    ids: (B, T) prompt and answer; mask: (B, T), True where the next token is one of the answer
    """

    ids: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> "Answers":
        return Answers(self.ids.to(device), self.mask.to(device))


@dataclass(frozen=True)
class Votes:
    """A micro-batch of votes.

    own: each prompt with its answer; other: each prompt with the answer to another prompt of the micro-batch
    is_good: (B,)
    """

    own: Answers
    other: Answers
    is_good: Tensor

    @property
    def count(self) -> int:
        return len(self.is_good)

    def to(self, device: torch.device) -> "Votes":
        return Votes(self.own.to(device), self.other.to(device), self.is_good.to(device))


def read_votes(path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int) -> list[Vote]:
    """Votes of a file. Raises DataError, with file and line, for a row that is malformed or too long."""
    found = []
    for number, row in votes(path):
        *prompt, answer = row["messages"]
        try:
            encoded = encode_ranking(tokenizer, template, prompt, [answer["content"]], [1])
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        ids = np.asarray(encoded.ids[0])
        if len(ids) > seq_len:
            raise DataError(f"{path}:{number}: {len(ids)} tokens are more than the model's context ({seq_len})")
        found.append(Vote(ids[: encoded.n_prompt], ids[encoded.n_prompt :], row["label"]))
    return found


def all_alike(path: Path) -> bool:
    """Whether all votes of a file are 👍, or all are 👎."""
    return len({row["label"] for _, row in votes(path)}) == 1


def collate_votes(rows: Sequence[Vote], pad_id: int, seq_len: int) -> Votes:
    """Pack votes into a micro-batch. The other answer is that of the row before; it is cut where it is too long."""
    others = [rows[place - 1].answer for place in range(len(rows))]
    return Votes(
        _answers([(row.prompt, row.answer) for row in rows], pad_id),
        _answers([(row.prompt, other[: seq_len - len(row.prompt)]) for row, other in zip(rows, others, strict=True)],
                 pad_id),
        torch.tensor([row.is_good for row in rows]),
    )  # fmt: skip


def _answers(rows: Sequence[tuple[np.ndarray, np.ndarray]], pad_id: int) -> Answers:
    ids, lengths = pad([np.concatenate(row) for row in rows], pad_id)
    place, first = torch.arange(ids.shape[1]), torch.tensor([len(prompt) - 1 for prompt, _ in rows])
    return Answers(ids, (place >= first[:, None]) & (place < lengths[:, None] - 1))


def vote_steps(
    rows: Sequence[Vote], pad_id: int, seq_len: int, batch_size: int, micro_batch_size: int, seed: int
) -> Shuffled:
    """Steps of `batch_size` votes. No micro-batch has a single one: it would have no other answer."""

    def collate(epoch: int, chosen: np.ndarray) -> list[Votes]:
        return [collate_votes([rows[row] for row in part], pad_id, seq_len) for part in parts(chosen, micro_batch_size)]

    return Shuffled(len(rows), batch_size, seed, collate)


def parts(chosen: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The rows in parts of about `size`, each of two rows at least."""
    n_parts = -(-len(chosen) // size)
    while n_parts > 1 and len(chosen) // n_parts < 2:
        n_parts -= 1
    yield from np.array_split(chosen, n_parts)
