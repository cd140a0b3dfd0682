"""Conversations -> padded micro-batches in which only the assistant's turns are trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from malmoi.data.batch import Tokens, as_ids, pad, shift
from malmoi.data.formats import conversations
from malmoi.data.stream import Shuffled
from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate


@dataclass(frozen=True)
class Chat:
    """One conversation as ids, and which of them are trained on."""

    ids: Sequence[int] | np.ndarray
    trained: Sequence[bool] | np.ndarray


def read_chats(path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int) -> list[Chat]:
    """Conversations of a file in any of `formats.FORMATS`; one may be several (`ChatTemplate.training_rows`).

    Raises DataError, with file and line, for a row that is malformed, has nothing to train on, or is too long.
    """
    chats = []
    for number, row in conversations(path):
        try:
            found = template.training_rows(tokenizer, row["messages"])
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if not any(any(trained) for _, trained in found):
            raise DataError(f"{path}:{number}: no assistant turn, so nothing to train on")
        longest = max(len(ids) for ids, _ in found)
        if longest > seq_len + 1:
            raise DataError(f"{path}:{number}: {longest} tokens are more than the model's context ({seq_len})")
        chats += [Chat(as_ids(ids), np.array(trained)) for ids, trained in found if any(trained)]
    return chats


def chat_steps(chats: list[Chat], pad_id: int, batch_size: int, micro_batch_size: int, seed: int) -> Shuffled:
    """Steps of `batch_size` conversations, sorted by length within a step so that little is padding."""

    def collate(epoch: int, rows: np.ndarray) -> list[Tokens]:
        chosen = sorted((chats[row] for row in rows), key=lambda chat: len(chat.ids))
        return [
            collate_chats(chosen[i : i + micro_batch_size], pad_id) for i in range(0, len(chosen), micro_batch_size)
        ]

    return Shuffled(len(chats), batch_size, seed, collate)


def collate_chats(chats: Sequence[Chat], pad_id: int) -> Tokens:
    ids, _ = pad([chat.ids for chat in chats], pad_id)
    trained = torch.zeros_like(ids, dtype=torch.bool)
    for i, chat in enumerate(chats):
        trained[i, : len(chat.trained)] = torch.from_numpy(np.asarray(chat.trained, dtype=np.bool_))
    return shift(ids, trained)
