"""Documents of a row: in a user's turn, or in a column of their own, which belongs to the last user's turn."""

from collections.abc import Mapping
from typing import Any

from malmoi.data.columns import DOCUMENT_TEXTS, is_given
from malmoi.data.table import BadRow
from malmoi.errors import excerpt
from malmoi.text import is_blank

DOCUMENTS = "documents"


def documents_of(value: Any) -> list[dict[str, str]]:
    """Documents in any published form (texts; objects of title and text or contents), each as title and text."""
    if not isinstance(value, list):
        hint = "; put it into a list" if isinstance(value, str | Mapping) else ""
        raise BadRow('"documents" is not a list', f" but {excerpt(value)}{hint}")
    return [_document(number, one) for number, one in enumerate(value)]


def _document(number: int, one: Any) -> dict[str, str]:
    said = {"text": one} if isinstance(one, str) else one
    where = f" (document {number}: {excerpt(one)})"
    if not isinstance(said, Mapping):
        raise BadRow('"documents" holds what is no document', f"{where}; each has a title and a text")
    texts = [said[name] for name in DOCUMENT_TEXTS if said.get(name) is not None]
    title = said.get("title") if said.get("title") is not None else ""
    if not texts or not isinstance(title, str) or not all(isinstance(text, str) for text in texts):
        raise BadRow('"documents" holds one without text', f'{where}; give {{"title": …, "text": …}}')
    if len(set(texts)) > 1:
        raise BadRow('"documents" holds one with two texts', f"{where}; give one of {', '.join(DOCUMENT_TEXTS)}")
    if is_blank(texts[0]):
        raise BadRow('"documents" holds an empty one', f"{where}; leave it out or fill it")
    return {"title": title, "text": texts[0]}


def of_turn(number: int, turn: Mapping[str, Any], role: Any) -> dict[str, Any]:
    """The documents of a turn as a part of its message; empty if it has none."""
    if not is_given(turn.get(DOCUMENTS)):
        return {}
    if role != "user":
        raise BadRow('"documents" of a turn that is not the user\'s', f" (message {number}); move them to the question")
    return {DOCUMENTS: documents_of(turn[DOCUMENTS])}


def with_documents(row: Mapping[str, Any], turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns, with the documents of the row's own column in the last user's turn."""
    if not is_given(row.get(DOCUMENTS)):
        return turns
    given = documents_of(row[DOCUMENTS])
    last = max((number for number, turn in enumerate(turns) if turn["role"] == "user"), default=None)
    if last is None:  # refused later, with a message of its own
        return turns
    if turns[last].get(DOCUMENTS, given) != given:
        raise BadRow('two different "documents"', " (of the row and of the last question); give one of them")
    return [*turns[:last], {**turns[last], DOCUMENTS: given}, *turns[last + 1 :]]
