"""Conversations -> padded micro-batches in which only the assistant's turns are trained on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from malmoi.data.batch import Tokens, compact_ids, pad, shift
from malmoi.data.formats import conversations
from malmoi.data.stream import Shuffled
from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

REPLY_TIMES = 5
"""An answer that is demonstrated as often as this is a reply by heart."""


@dataclass(frozen=True)
class TokenizedConversation:
    """One conversation as ids (T,), and which of them are trained on (T,)."""

    ids: Sequence[int] | np.ndarray
    trained: Sequence[bool] | np.ndarray


def read_conversations(
    path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int
) -> list[TokenizedConversation]:
    """Conversations of a file in any of `formats.FORMATS`; one may become several (`ChatTemplate.training_rows`).

    Raises DataError, with file and line, for a row that is malformed, has nothing to train on, or is too long.
    """
    read = []
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
        read += [TokenizedConversation(compact_ids(ids), np.array(trained)) for ids, trained in found if any(trained)]
    return read


class Taught(NamedTuple):
    """What demonstrations teach about documents.

    documents: whether a question brings documents along, to be answered from them
    replies: answers that are given again and again without documents, such as to a greeting
    """

    documents: bool
    replies: tuple[str, ...] = ()


def taught_by(path: Path) -> Taught:
    """What the conversations of a file teach about documents."""
    documents, said = False, Counter[str]()
    for _, row in conversations(path):
        if any(message.get("documents") for message in row["messages"]):
            documents = True
        else:
            said[row["messages"][-1]["content"]] += 1
    return Taught(documents, tuple(sorted(text for text, n in said.items() if n >= REPLY_TIMES)) if documents else ())


def conversation_steps(
    conversations: list[TokenizedConversation], pad_id: int, batch_size: int, micro_batch_size: int, seed: int
) -> Shuffled:
    """Steps of `batch_size` conversations, sorted by length within a step to keep padding small."""

    def collate(epoch: int, rows: np.ndarray) -> list[Tokens]:
        chosen = sorted((conversations[row] for row in rows), key=lambda conversation: len(conversation.ids))
        starts = range(0, len(chosen), micro_batch_size)
        return [collate_conversations(chosen[i : i + micro_batch_size], pad_id) for i in starts]

    return Shuffled(len(conversations), batch_size, seed, collate)


def collate_conversations(conversations: Sequence[TokenizedConversation], pad_id: int) -> Tokens:
    ids, _ = pad([conversation.ids for conversation in conversations], pad_id)
    trained = torch.zeros_like(ids, dtype=torch.bool)
    for i, conversation in enumerate(conversations):
        trained[i, : len(conversation.trained)] = torch.from_numpy(np.asarray(conversation.trained, dtype=np.bool_))
    return shift(ids, trained)
