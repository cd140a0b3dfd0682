"""Messages -> ids, and which of them are trained on.

The template is Jinja, travels in the model folder and is the one description of the format. `{% generation %}` marks
what the assistant says, as in transformers; a template without it is trained on from the assistant's text to the end
of its turn. What people write is encoded as plain text, so nobody can end a turn or speak as another role by typing
`<|end|>`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from malmoi.errors import CheckpointError, DataError
from malmoi.files import write_text
from malmoi.text import spelt
from malmoi.tokenizer.bpe import ROLES, Piece, Tokenizer, any_of
from malmoi.tokenizer.jinja import BEGIN, END, FILE, find_template, render

Message = Mapping[str, Any]

# Private-use characters around the number of the message and of its part that stand here in the rendered text.
_OPEN, _CLOSE = "\ue000", "\ue006"
_PARTS = re.compile(f"({_OPEN}[0-9]+[.][0-9]+{_CLOSE}|{BEGIN}|{END})")


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

    def encode(
        self, tokenizer: Tokenizer, messages: Sequence[Message], *, add_generation_prompt: bool = False
    ) -> tuple[list[int], list[bool]]:
        """Ids of a conversation and, for each, whether it is trained on (what the assistant says, end of turn too).

        With `add_generation_prompt` the ids end where the assistant begins to speak. Whatever is trained on, typed in
        a chat or asked in an evaluation passes here, so here its spelling becomes Unicode NFC.
        Raises DataError when a message lacks a known role or its text, or the template refuses the conversation.
        """
        check_messages(messages)
        messages = [{**message, "content": spelt(message["content"])} for message in messages]
        # Tokens that are not special but structure this format, such as <think>: an assistant may write them.
        structure = [token for token in tokenizer.plain_tokens if token in self.source]
        marked, texts = [], {}
        for number, message in enumerate(messages):
            content, parts = _mark(number, message, structure)
            marked.append({"role": message["role"], "content": content})
            apart = () if message["role"] == "assistant" else structure
            texts.update({mark: tokenizer.apart(part, apart) for mark, part in parts.items()})
        rendered = render(self.source, marked, tokenizer.names, add_generation_prompt=add_generation_prompt)
        if BEGIN not in rendered:
            rendered = _mark_trained(rendered, messages, tokenizer.end_of_turn)
        pieces, is_trained = [], False
        for part in _PARTS.split(rendered):
            if part in (BEGIN, END):
                is_trained = part == BEGIN
            else:
                pieces.append(Piece(texts.get(part, part), part not in texts, is_trained))
        return tokenizer.encode_pieces(pieces)


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


def _mark(number: int, message: Message, structure: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The content with marks in place of text, and mark -> text.

    What templates look at stays: white space at the ends, which many trim, and in the assistant's words the
    structure, such as </think>, at which some split. The assistant's words have a mark even where there are none.
    """
    is_assistant = message["role"] == "assistant"
    parts = re.split(f"({any_of(structure).pattern})", message["content"]) if is_assistant else [message["content"]]
    texts: dict[str, str] = {}
    content = ""
    for part_number, part in enumerate(parts):
        text = part.strip()
        if part_number % 2 or not (text or is_assistant):
            content += part
        else:
            mark = f"{_OPEN}{number}.{part_number}{_CLOSE}"
            texts[mark] = text
            lead = _lead(part)
            content += lead + mark + part[len(lead) + len(text) :]
    return content, texts


def _lead(text: str) -> str:
    """The white space that it begins with."""
    return text[: len(text) - len(text.lstrip())]


def _mark_trained(rendered: str, messages: Sequence[Message], end_of_turn: str) -> str:
    """Put markers around each text of the assistant and what follows it up to the end of its turn."""
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            mark = f"{_OPEN}{number}[.][0-9]+{_CLOSE}"
            span = re.search(f"(?s){mark}(?:.*{mark})?(?:[^{_OPEN}]*?{re.escape(end_of_turn)})?", rendered)
            if span is not None:
                lead = _lead(message["content"])
                begin = span.start() - len(lead) * rendered.endswith(lead, 0, span.start())
                rendered = rendered[:begin] + BEGIN + rendered[begin : span.end()] + END + rendered[span.end() :]
    return rendered


def _resource(name: str) -> str:
    return (resources.files("malmoi.tokenizer") / name).read_text(encoding="utf-8")
