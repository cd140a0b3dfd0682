"""Messages -> ids, and which of them are trained on.

The template is Jinja, travels in the model folder and is the one description of the format. What is trained on begins
where the template's generation prompt ends: there a model that answers begins to write. `{% generation %}` marks where
an answer ends, as in transformers; without it that is the end of its turn. What people write is encoded as plain text,
so nobody can end a turn or speak as another role by typing `<|end|>`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from malmoi.errors import CheckpointError, DataError
from malmoi.files import write_text
from malmoi.text import spelt
from malmoi.tokenizer.bpe import ROLES, Tokenizer
from malmoi.tokenizer.clock import dated
from malmoi.tokenizer.conversation import Conversation
from malmoi.tokenizer.jinja import FILE, find_template

Message = Mapping[str, Any]
Row = tuple[list[int], list[bool]]
"""Ids and, for each, whether it is trained on."""
_ASKED = {"role": "user", "content": "a"}
_ANSWERED = {"role": "assistant", "content": "b"}


@dataclass(frozen=True)
class ChatTemplate:
    """One chat format. source: the Jinja text."""

    source: str

    @classmethod
    def default(cls) -> "ChatTemplate":
        """Ours, for tokenizers with our special tokens."""
        return cls(_resource(FILE))

    @classmethod
    def plain(cls) -> "ChatTemplate":
        """For a model that has none: it names the roles in plain text and ends turns by the eos token."""
        return cls(_resource("plain_template.jinja"))

    @classmethod
    def load(cls, folder: Path) -> "ChatTemplate":
        source = find_template(folder)
        if source is None:
            raise CheckpointError(f"{folder / FILE}: no such file; a chat model's folder holds its template")
        return cls(source)

    def save(self, folder: Path) -> None:
        write_text(folder / FILE, self.source)

    @dated()
    def encode(self, tokenizer: Tokenizer, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> Row:
        """Ids of a conversation and, for each, whether it is trained on (what the assistant says, end of turn too).

        With `add_generation_prompt` the ids end where the assistant begins to speak. The ids of the same conversation
        with an answer begin with these, and the first after them is trained on. Where the template writes a prompt
        that its answers do not begin with, what is trained on begins after what both begin with. Whatever is trained
        on, typed in a chat or asked in an evaluation passes here, so here its spelling becomes Unicode NFC.
        Raises DataError when a message lacks a known role or its text, or the template refuses the conversation.
        """
        check_messages(messages)
        return Conversation(self.source, tokenizer, _spelt(messages), add_generation_prompt).row()

    @dated()
    def training_rows(self, tokenizer: Tokenizer, messages: Sequence[Message]) -> list[Row]:
        """A conversation as it is learned from: every answer as it was written when it was the last one.

        Some templates write an earlier answer otherwise than the last (without its thoughts). Such an answer has a row
        of its own, which ends with it; all others are in the last row. Nothing is learned from answers that are marked
        `"trained": False`. Errors as of `encode`, and where answers are marked that the template runs together.
        """
        check_messages(messages)
        said = _spelt(messages)
        whole = Conversation(self.source, tokenizer, said, False)
        unwanted = {number for number in whole.turns if not messages[number].get("trained", True)}
        if unwanted and not whole.is_told_apart:
            raise DataError(
                "some answers are marked as not to be trained on, and the chat template runs answers together"
            )
        apart = whole.otherwise_written()
        rows = []
        for number in apart:
            if number not in unwanted:
                own = Conversation(self.source, tokenizer, said[: number + 1], False)
                rows.append(own.row({n for n in own.turns if n != number}))
        return [*rows, whole.row({*apart, *unwanted})]

    def is_continued(self, tokenizer: Tokenizer) -> bool:
        """Whether its answers begin where its generation prompt ends."""
        try:
            prompt, _ = self.encode(tokenizer, [_ASKED], add_generation_prompt=True)
            whole, _ = self.encode(tokenizer, [_ASKED, _ANSWERED])
        except DataError:  # a template that cannot be used says so when it is
            return True
        return whole[: len(prompt)] == prompt


def _spelt(messages: Sequence[Message]) -> list[dict[str, str]]:
    """What the template is shown."""
    return [{"role": message["role"], "content": spelt(message["content"])} for message in messages]


def check_messages(messages: Sequence[Message]) -> None:
    if not messages:
        raise DataError("conversation: has no messages")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise DataError(f'message {number}: expected {{"role": …, "content": …}}, got {message!r}')
        if message.get("role") not in ROLES:
            raise DataError(f"message {number}: role {message.get('role')!r} is none of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise DataError(f"message {number}: lacks its text (content)")
        try:
            message["content"].encode()
        except UnicodeEncodeError as error:
            raise DataError(f"message {number}: half a character (lone surrogate) at {error.start}") from None


def _resource(name: str) -> str:
    return (resources.files("malmoi.tokenizer") / name).read_text(encoding="utf-8")
