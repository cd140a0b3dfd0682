"""Conversations that wait for an answer -> ids that end where the assistant begins to speak."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.errors import DataError
from malmoi.files import read_jsonl
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate, Message, check_messages


@dataclass(frozen=True)
class Prompt:
    """One conversation that waits for an answer. row: everything its line said, for those who judge the answer."""

    messages: Sequence[Message]
    ids: list[int]
    row: dict[str, Any]


def read_prompts(path: Path, tokenizer: Tokenizer, template: ChatTemplate, longest: int) -> list[Prompt]:
    """Rows {"messages": [...]} that end with a user's turn (a last assistant's turn is left off).

    Raises DataError, with file and line, for a malformed row or a prompt of more than `longest` tokens.
    """
    prompts = []
    for number, row in enumerate(read_jsonl(path), start=1):
        where = f"{path}:{number}"
        messages = row.get("messages") if isinstance(row, dict) else None
        if not isinstance(messages, list) or not messages:
            raise DataError(f'{where}: expected {{"messages": [...]}}')
        try:
            check_messages(messages)
            if messages[-1]["role"] == "assistant":
                messages = messages[:-1]
            ids, _ = template.encode(tokenizer, messages, add_generation_prompt=True)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        if len(ids) > longest:
            raise DataError(f"{where}: {len(ids)} tokens leave no room for an answer (at most {longest})")
        prompts.append(Prompt(messages, ids, row))
    if not prompts:
        raise DataError(f"{path}: holds no prompt")
    return prompts
