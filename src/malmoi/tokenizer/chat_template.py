"""Messages -> ids, and which of them are trained on.

The template is Jinja, travels in the model folder and is the one description of the format: `{% generation %}`
marks what the assistant says, as in transformers. What people write is encoded as plain text, so nobody can end a
turn or speak as another role by typing `<|end|>`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from malmoi.errors import CheckpointError, DataError
from malmoi.files import write_text
from malmoi.tokenizer.bpe import ROLES, SPECIAL_TOKENS, Tokenizer

FILE = "chat_template.jinja"
Message = Mapping[str, str]

# Private-use characters: they mark where content and trained spans begin and end in the rendered text.
_CONTENT, _BEGIN, _END = "\ue000", "\ue001", "\ue002"
_PIECES = re.compile(f"({_CONTENT}[0-9]+{_CONTENT}|{_BEGIN}|{_END})")
_SPECIAL = re.compile("(" + "|".join(map(re.escape, SPECIAL_TOKENS)) + ")")


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: wraps what the assistant says in markers."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own interface)

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> str:
        return f"{_BEGIN}{caller()}{_END}"


@dataclass(frozen=True)
class ChatTemplate:
    """One chat format. source: the Jinja text."""

    source: str

    @classmethod
    def default(cls) -> "ChatTemplate":
        return cls((resources.files("malmoi.tokenizer") / FILE).read_text(encoding="utf-8"))

    @classmethod
    def load(cls, folder: Path) -> "ChatTemplate":
        try:
            return cls((folder / FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"{folder / FILE}: no such file; a chat model's folder holds its template") from None

    def save(self, folder: Path) -> None:
        write_text(folder / FILE, self.source)

    @cached_property
    def _template(self) -> Any:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation])
        return environment.from_string(self.source)

    def encode(
        self, tokenizer: Tokenizer, messages: Sequence[Message], *, add_generation_prompt: bool = False
    ) -> tuple[list[int], list[bool]]:
        """Ids of a conversation and, for each, whether it is trained on (what the assistant says, end of turn too).

        With `add_generation_prompt` the ids end where the assistant begins to speak.
        Raises DataError when a message lacks a known role or its text.
        """
        check_messages(messages)
        numbered = [{"role": m["role"], "content": f"{_CONTENT}{i}{_CONTENT}"} for i, m in enumerate(messages)]
        try:
            rendered = self._template.render(messages=numbered, add_generation_prompt=add_generation_prompt)
        except TemplateError as error:
            raise DataError(f"chat template: {error}") from None
        ids: list[int] = []
        trained: list[bool] = []
        is_trained = False
        for piece in _PIECES.split(rendered):
            if piece in (_BEGIN, _END):
                is_trained = piece == _BEGIN
                continue
            if piece.startswith(_CONTENT):
                new = tokenizer.encode(messages[int(piece[1:-1])]["content"])
            else:
                new = _encode_markup(tokenizer, piece)
            ids += new
            trained += [is_trained] * len(new)
        return ids, trained


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


def _encode_markup(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encode text of the template itself, in which special tokens are real.

    The engine could find them itself, but by a switch that all threads share: while one encodes a template, what
    people wrote would be special in another.
    """
    ids: list[int] = []
    for piece in _SPECIAL.split(text):
        ids += [tokenizer.special_id(piece)] if piece in SPECIAL_TOKENS else tokenizer.encode(piece)
    return ids
