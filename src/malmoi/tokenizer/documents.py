"""Documents of a user's message: what chat templates are given, and how they are written for a template without them.

A template gets the documents of the last user's message as `documents`, as in transformers. Those of earlier messages
are not written again: with the answer they have served their purpose, and the context is small.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from malmoi.errors import DataError, excerpt
from malmoi.text import nfc
from malmoi.tokenizer.jinja import render

Documents = Sequence[Mapping[str, str]]
"""Each has `title`, which may be empty, and `text`."""
_EXAMPLE = {"title": "malmoi-title", "text": "malmoi-text"}


def check_documents(number: int, message: Mapping[str, Any]) -> None:
    """Raises DataError unless the documents of message `number`, if any, are texts with titles and the user's."""
    documents = message.get("documents")
    if documents is None or documents == []:
        return
    if message.get("role") != "user":
        raise DataError(f"message {number}: only a user's message has documents, not one of role {message.get('role')}")
    if not isinstance(documents, Sequence) or isinstance(documents, str):
        raise DataError(f"message {number}: documents are a list of {{title, text}}, not {excerpt(documents)}")
    for place, document in enumerate(documents):
        where = f"message {number}, document {place}"
        texts = (document.get("title", ""), document.get("text")) if isinstance(document, Mapping) else (None,)
        for text in texts:
            if not isinstance(text, str):
                raise DataError(f"{where}: expected {{title, text}}, both texts; got {excerpt(document)}")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise DataError(f"{where}: half a character (lone surrogate) at {error.start}") from None


def place_of_last(messages: Sequence[Mapping[str, Any]], role: str = "user") -> int:
    """The number of the last message of a role, -1 if there is none."""
    return max((number for number, message in enumerate(messages) if message["role"] == role), default=-1)


def with_last_documents(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The messages without the documents of all but the last user's message."""
    last = place_of_last(messages)
    return [
        message if number == last or "documents" not in message else {**message, "documents": None}
        for number, message in enumerate(messages)
    ]


def template_input(
    source: str, names: Mapping[str, str], messages: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, str]], list[dict[str, str]] | None]:
    """The messages and the documents that a template gets, in Unicode NFC.

    If the template does not write `documents`, they are in the text of the last user's message, and are None here.
    """
    said = [{"role": message["role"], "content": nfc(message["content"])} for message in messages]
    last = place_of_last(messages)
    given = (messages[last].get("documents") or ()) if last >= 0 else ()
    documents = [{"title": nfc(one.get("title", "")), "text": nfc(one["text"])} for one in given]
    if not documents:
        return said, None
    if writes_documents(source, tuple(sorted(names.items()))):
        return said, documents
    said[last]["content"] = _folded(documents, said[last]["content"])
    return said, None


@lru_cache(maxsize=32)
def writes_documents(source: str, names: tuple[tuple[str, str], ...]) -> bool:
    """Whether a chat template writes the documents that it is given."""
    if "documents" not in source:
        return False
    try:
        written = render(source, [{"role": "user", "content": "a"}], dict(names), documents=[_EXAMPLE])
    except DataError:
        return False
    return _EXAMPLE["text"] in written


def _folded(documents: Documents, question: str) -> str:
    """Documents and question as one text."""
    written = []
    for number, document in enumerate(documents, start=1):
        title = f"{document['title']}\n" if document["title"] else ""
        written.append(f"[{number}] {title}{document['text']}")
    return "\n\n".join(["Documents:\n" + written[0], *written[1:], f"Question: {question}"])
