"""Prompts -> ids that end where the assistant begins to speak."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.data.batch import compact_ids
from malmoi.data.formats import raw_prompts
from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate, Message


@dataclass(frozen=True)
class TokenizedPrompt:
    """One conversation that ends with the user's turn.

    ids: (T,) int32; row: all columns of its line, for the code that scores the answer
    """

    messages: Sequence[Message]
    ids: np.ndarray
    row: dict[str, Any]


def read_prompts(path: Path, tokenizer: Tokenizer, template: ChatTemplate, longest: int) -> list[TokenizedPrompt]:
    """Prompts of a file in any of `formats.FORMATS`: what comes before the last answer.

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
        prompts.append(TokenizedPrompt(messages, compact_ids(ids), row))
    return prompts
