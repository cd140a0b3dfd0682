"""JSON lines: one document in each row."""

from collections.abc import Iterator
from typing import Any

from malmoi.corpus.documents import Document
from malmoi.corpus.input_file import InputFile, Reader, Unreadable
from malmoi.errors import DataError
from malmoi.files import parse_json


def read(file: InputFile) -> Iterator[Document | Unreadable]:
    for where, line in file.lines():
        if isinstance(line, Unreadable):
            yield line
        elif line.strip():
            yield _row(where, line, file.source)


def _row(where: str, line: str, source: str) -> Document | Unreadable:
    try:
        return _document(parse_json(line), source)
    except DataError as error:
        return Unreadable("unusable row", f"{where}: {error}")
    except (ValueError, RecursionError) as error:
        return Unreadable("not JSON", f"{where}: not valid JSON ({error}); write one object per line")


def _document(row: Any, source: str) -> Document:
    if not isinstance(row, dict):
        raise DataError(f"a row is an object, this is a {type(row).__name__}")
    if isinstance(row.get("metadata"), dict):  # datatrove's form, which `malmoi corpus build` writes
        return _of_page(row, source)
    facts = {}
    for name in ("title", "source", "license", "licence", "origin"):
        facts[name] = row.get(name) or ""
        if not isinstance(facts[name], str):
            raise DataError(f'"{name}" is a {type(row[name]).__name__}, not text')
    url = row["url"] if isinstance(row.get("url"), str) else ""
    text, title = _text(row), facts["title"].strip()
    if title and text.strip() and not text.lstrip().startswith(title):
        text = f"{title}\n\n{text}"
    return Document(
        text=text,
        source=facts["source"] or url or (f"{source}#{title}" if title else source),
        license=facts["license"] or facts["licence"] or "unknown",
        origin=facts["origin"] or "unknown",
    )


def _of_page(row: dict[str, Any], source: str) -> Document:
    known = {name: value for name, value in row["metadata"].items() if isinstance(value, str) and value}
    page_id = row.get("id") if isinstance(row.get("id"), str) else ""
    return Document(
        text=_text(row), source=known.get("url") or known.get("source") or known.get("archive") or source,
        license=known.get("license", "unknown"), origin=known.get("origin", "unknown"), id=page_id or "",
        date=known.get("date", ""), title=known.get("title", ""), author=known.get("author", ""),
    )  # fmt: skip


def _text(row: dict[str, Any]) -> str:
    """The row's text, or the turns of its conversation with a blank line between them."""
    messages = row["messages"] if isinstance(row.get("messages"), list) else []
    turns = [turn.get("content") if isinstance(turn, dict) else None for turn in messages]
    for candidate in ([row.get("text")], [row.get("content")], turns, [row.get("prompt"), row.get("response")]):
        texts = [text for text in candidate if isinstance(text, str)]
        if texts and len(texts) == len(candidate):
            return "\n\n".join(texts)
    raise DataError('no text; a row needs "text", "content", "messages", or "prompt" and "response"')


READER = Reader((".jsonl", ".jsonl.gz"), read, has_rows=True)
