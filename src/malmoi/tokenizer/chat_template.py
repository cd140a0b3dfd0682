"""Messages -> ids, and which of them are trained on.

A chat template is a Jinja file in the model folder; only it defines the format. Training covers an answer from the end
of the template's generation prompt, where a model begins to write, to the end of its `{% generation %}` block, as in
transformers, or without such a block to the end of its turn. What people write is encoded as plain text, so nobody can
end a turn or speak as another role by typing `<|end|>`. Documents are such text too; see `documents`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from malmoi.errors import CheckpointError, DataError, excerpt
from malmoi.files import write_text
from malmoi.tokenizer.bpe import ROLES, Tokenizer
from malmoi.tokenizer.chat_encoder import ChatEncoder
from malmoi.tokenizer.documents import check_documents, place_of_last
from malmoi.tokenizer.jinja import FILE, find_template
from malmoi.tokenizer.template_clock import fixed_time

Message = Mapping[str, Any]
IdsAndMask = tuple[list[int], list[bool]]
"""Ids, and for each whether it is trained on."""
_ASKED = {"role": "user", "content": "a"}
_ANSWERED = {"role": "assistant", "content": "b"}


@dataclass(frozen=True)
class ChatTemplate:
    """One chat format. source: the Jinja text."""

    source: str

    @classmethod
    def default(cls) -> "ChatTemplate":
        """Malmoi's own template, for tokenizers with its special tokens."""
        return cls(_resource(FILE))

    @classmethod
    def plain(cls) -> "ChatTemplate":
        """For a model without a template: it names roles in plain text and ends turns with the eos token."""
        return cls(_resource("plain_template.jinja"))

    @classmethod
    def load(cls, folder: Path) -> "ChatTemplate":
        source = find_template(folder)
        if source is None:
            raise CheckpointError(f"{folder / FILE}: no such file; a chat model's folder holds its template")
        return cls(source)

    def save(self, folder: Path) -> None:
        write_text(folder / FILE, self.source)

    @fixed_time()
    def encode(
        self, tokenizer: Tokenizer, messages: Sequence[Message], *, add_generation_prompt: bool = False
    ) -> IdsAndMask:
        """Ids of a conversation, and for each whether it is trained on (the assistant's words and the end of its turn).

        With `add_generation_prompt` the ids end where the assistant begins to speak. They are a prefix of the ids of
        the same conversation with an answer, and the first id after that prefix is trained on. If a template's answers
        do not begin with its prompt, training begins after the ids that both share. All text that is trained on, typed
        in a chat or asked in an evaluation passes through here, so here it becomes Unicode NFC.
        Raises DataError if a message lacks a known role or its text, or the template refuses the conversation.
        """
        check_messages(messages)
        return ChatEncoder(self.source, tokenizer, messages, add_generation_prompt).ids_and_mask()

    @fixed_time()
    def training_rows(self, tokenizer: Tokenizer, messages: Sequence[Message]) -> list[IdsAndMask]:
        """A conversation as rows to train on, with every answer as the template writes it when it is the last one.

        Some templates write an earlier answer differently (without its thoughts), and documents are written only for
        the last answer. An answer of such a template, or to a message with documents, gets a separate row, which ends
        with it; all other answers are in the last row. Answers marked `"trained": False` are not trained on.
        Raises DataError like `encode`, and if answers are marked that cannot be told apart in the template's text.
        """
        check_messages(messages)
        whole = ChatEncoder(self.source, tokenizer, messages, False)
        untrained = {number for number in whole.turns if not messages[number].get("trained", True)}
        if untrained and not whole.has_every_answer:
            raise DataError(
                "some answers are marked as not to be trained on, but the chat template writes answers without a border"
            )
        documented = _with_earlier_documents(messages)
        separate = documented | {*whole.rewritten_answers({*untrained, *documented})}
        rows = []
        for number in sorted(separate - untrained):
            own = ChatEncoder(self.source, tokenizer, messages[: number + 1], False)
            rows.append(own.ids_and_mask({n for n in own.turns if n != number}))
        return [*rows, whole.ids_and_mask(separate | untrained)]

    def is_continued(self, tokenizer: Tokenizer) -> bool:
        """Whether its answers continue its generation prompt."""
        try:
            prompt, _ = self.encode(tokenizer, [_ASKED], add_generation_prompt=True)
            whole, _ = self.encode(tokenizer, [_ASKED, _ANSWERED])
        except DataError:  # the code that uses the template gets the error
            return True
        return whole[: len(prompt)] == prompt


def _with_earlier_documents(messages: Sequence[Message]) -> set[int]:
    """Numbers of the answers to messages with documents that are not the last user's message."""
    found, last, documents = set(), place_of_last(messages), False
    for number, message in enumerate(messages[: max(0, last)]):
        if message["role"] == "user":
            documents = bool(message.get("documents"))
        elif message["role"] == "assistant" and documents:
            found.add(number)
    return found


def check_messages(messages: Sequence[Message]) -> None:
    if not messages:
        raise DataError("conversation: has no messages")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise DataError(f'message {number}: expected {{"role": …, "content": …}}, got {excerpt(message)}')
        if message.get("role") not in ROLES:
            raise DataError(f"message {number}: role {excerpt(message.get('role'))} is none of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise DataError(f"message {number}: has no text (content)")
        try:
            message["content"].encode()
        except UnicodeEncodeError as error:
            raise DataError(f"message {number}: half a character (lone surrogate) at {error.start}") from None
        check_documents(number, message)


def _resource(name: str) -> str:
    return (resources.files("malmoi.tokenizer") / name).read_text(encoding="utf-8")
