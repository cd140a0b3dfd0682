"""Conversations -> padded micro-batches in which only the assistant's turns are trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malmoi.data.batch import Tokens, pad, shift
from malmoi.data.formats import conversations
from malmoi.data.stream import Shuffled
from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate


@dataclass(frozen=True)
class Chat:
    """One conversation as ids, and which of them are trained on."""

    ids: list[int]
    trained: list[bool]


def read_chats(path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int) -> list[Chat]:
    """Conversations of a file in any of `formats.FORMATS`.

    Raises DataError, with file and line, for a row that is malformed, has nothing to train on, or is too long.
    """
    chats = []
    for number, row in conversations(path):
        try:
            ids, trained = encode_chat(tokenizer, template, row["messages"])
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if not any(trained):
            raise DataError(f"{path}:{number}: no assistant turn, so nothing to train on")
        if len(ids) > seq_len + 1:
            raise DataError(f"{path}:{number}: {len(ids)} tokens are more than the model's context ({seq_len})")
        chats.append(Chat(ids, trained))
    return chats


def encode_chat(
    tokenizer: Tokenizer, template: ChatTemplate, messages: Sequence[Mapping[str, Any]]
) -> tuple[list[int], list[bool]]:
    """Ids of a conversation and which of them are trained on: all that the assistant says, but for the turns that are
    marked `"trained": False`.

    Raises DataError where turns are marked and the template does not train on each answer as one piece.
    """
    ids, trained = template.encode(tokenizer, messages)
    wanted = [bool(message.get("trained", True)) for message in messages if message["role"] == "assistant"]
    if all(wanted):
        return ids, trained
    pieces = [(is_on, len(list(part))) for is_on, part in groupby(trained)]
    if sum(is_on for is_on, _ in pieces) != len(wanted):
        raise DataError("some answers are marked as not to be trained on, and the chat template runs answers together")
    wishes = iter(wanted)
    return ids, [on for is_on, n in pieces for on in [is_on and next(wishes)] * n]


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
        trained[i, : len(chat.trained)] = torch.tensor(chat.trained)
    return shift(ids, trained)
