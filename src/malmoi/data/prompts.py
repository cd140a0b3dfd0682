"""Conversations that wait for an answer -> ids that end where the assistant begins to speak."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.data.batch import as_ids
from malmoi.data.formats import raw_prompts
from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate, Message


@dataclass(frozen=True)
class Prompt:
    """One conversation that waits for an answer.

    ids: (T,) int32; row: everything its line said, for those who judge the answer
    """

    messages: Sequence[Message]
    ids: np.ndarray
    row: dict[str, Any]


def read_prompts(path: Path, tokenizer: Tokenizer, template: ChatTemplate, longest: int) -> list[Prompt]:
    """Prompts of a file in any of `formats.FORMATS`: what stands before the last answer.

    Raises DataError, with file and line, for a malformed row or a prompt of more than `longest` tokens.
    """
    prompts = []
    for number, row, messages in raw_prompts(path):
        try:
            ids, _ = template.encode(tokenizer, messages, add_generation_prompt=True)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if len(ids) > longest:
            raise DataError(f"{path}:{number}: {len(ids)} tokens leave no room for an answer (at most {longest})")
        prompts.append(Prompt(messages, as_ids(ids), row))
    return prompts
