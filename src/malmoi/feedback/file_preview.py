"""What a file that somebody brings holds: its kind, its first rows as a model reads them, how much would be learned."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.corpus.readers import reader_of
from malmoi.data.formats import RowReport, conversations
from malmoi.data.overview import Overview, Piece, as_read, best_first, overview
from malmoi.data.rows import Row
from malmoi.data.table import SUFFIXES
from malmoi.errors import DataError, UserError
from malmoi.feedback.chat_files import FORMAT
from malmoi.feedback.open_webui import is_open_webui
from malmoi.files import parse_json
from malmoi.retrieval.passages import Passage, passages
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.choice import choose
from malmoi.workspace.folder import Workspace

DOCUMENTS, CONVERSATIONS, RANKINGS, PROMPTS, CHATS = KINDS = (
    "documents", "conversations", "rankings", "prompts", "chats"
)  # fmt: skip
N_ROWS, N_MEASURED = 10, 200
LONGEST_SHOWN = 1200
"""Characters of a text that are shown."""
MARKED = "marked as not to be learned from"

Read = list[tuple[str, list[Piece]]]
"""Texts of a row, each with its title; pieces that would be learned are marked."""


@dataclass(frozen=True)
class Text:
    """How a model reads: its tokenizer, its template, and how many tokens it reads at once."""

    tokenizer: Tokenizer
    template: ChatTemplate
    seq_len: int


@dataclass(frozen=True)
class Preview:
    """What a file holds.

    n_rows: all rows; of documents, those that were looked at
    rows: the first, [{"where", "texts": [{"title", "pieces": [{"text", "learned"}]}]}]
    learned: share of the text that would be learned, 0 to 1; None: nothing of this kind is learned by itself
    n_too_long: of the rows that were measured, those that are longer than the model reads
    left_out: reason -> rows; examples: the first of them, with file and line
    problem: why the file cannot be added, {"code", "message"}
    """

    kind: str
    name: str
    n_rows: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    learned: float | None = None
    n_too_long: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    problem: dict[str, str] | None = None

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


def preview(path: Path, text: Text | None = None) -> Preview:
    """What is in a file of documents, conversations, rankings, questions, or chats of a person.

    text: of the model that would learn it; None: what is learned is told by who speaks
    Raises DataError, with only the file's name, if it holds nothing that is known.
    """
    try:
        if not path.name.lower().endswith(SUFFIXES):
            return _of_documents(path)
        if (n_chats := _n_chats(path)) is not None:
            return Preview(CHATS, path.name, n_chats)
        try:
            found = overview([path], N_MEASURED)
        except DataError:
            if reader_of(path.name) is None or not _has_documents(path):
                raise
            return _of_documents(path)
        return _of_rows(path, found, text)
    except DataError as error:
        raise DataError(named(str(error), path)) from None


def reading_of(workspace: Workspace) -> Text | None:
    """How the model in service reads; None where there is none."""
    from malmoi.formats.folder import load_config, load_text  # with torch, which takes seconds

    with contextlib.suppress(UserError):
        folder = choose(workspace, None).folder
        return Text(*load_text(folder), load_config(folder).seq_len)
    return None


def named(said: str, path: Path) -> str:
    """A sentence in which a file has its name, and not its place on this machine."""
    return said.replace(str(path), path.name)


def _of_documents(path: Path) -> Preview:
    report = ReadReport()
    n_documents = 0

    def counted() -> Iterator[Any]:
        nonlocal n_documents
        for document in read_folder(path, "skip", report):
            n_documents += 1
            yield document

    shown = [_passage_row(passage) for passage in islice(passages(counted()), N_ROWS)]
    if not shown:
        raise DataError(f"{path}: no text in it")
    examples = [named(one, path) for one in report.examples]
    return Preview(DOCUMENTS, path.name, n_documents, shown, None, 0, dict(report.skipped), examples)


def _passage_row(passage: Passage) -> dict[str, Any]:
    where = passage.place or (f"line {passage.line}" if passage.line else passage.heading)
    return _shown(where, [(passage.heading, [(passage.text, False)])])


def _has_documents(path: Path) -> bool:
    try:
        return next(read_folder(path, "skip", ReadReport()), None) is not None
    except DataError:
        return False


def _n_chats(path: Path) -> int | None:
    """The number of chats in a file that a chat page exported; None if it is another file."""
    if not path.name.lower().endswith(".json"):
        return None
    try:
        found = parse_json(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError):
        return None
    if isinstance(found, dict) and found.get("format") == FORMAT and isinstance(found.get("chats"), list):
        return len(found["chats"])
    return len(found) if found and is_open_webui(found) else None


def _of_rows(path: Path, found: Overview, text: Text | None) -> Preview:
    read = [(where, _as_read(found.kind, row, text)) for where, row in found.examples]
    n_learned, n_all = _counted(texts for _, texts in read)
    too_long = sum(_is_too_long(texts, text) for _, texts in read) if text is not None else 0
    left_out, examples = found.facts.get("left out", {}), found.facts.get("such as", [])
    learned = None if found.kind == PROMPTS or not n_all else n_learned / n_all
    problem = None
    if found.kind == PROMPTS and (marked := _marked(path)):
        left_out, learned = marked, 0.0
    if learned == 0:
        problem = {"code": "nothing_learned", "message": "nothing of it would be learned"}
    return Preview(
        found.kind, path.name, found.facts[found.kind],
        [_shown(named(where, path), texts) for where, texts in read[:N_ROWS]], learned, too_long, dict(left_out),
        [named(one, path) for one in examples], problem,
    )  # fmt: skip


def _marked(path: Path) -> dict[str, int]:
    """Reasons for which no answer of a file is learned, if people marked its answers so."""
    report = RowReport()
    try:
        for _ in conversations(path, "skip", report):
            return {}
    except DataError:
        pass
    return dict(report.skipped) if report.skipped[MARKED] else {}


def _as_read(kind: str, row: Row, text: Text | None) -> Read:
    if text is not None:
        try:
            return as_read(kind, row, text.tokenizer, text.template)
        except DataError:  # the template refuses it: shown as people wrote it
            pass
    said: Read = [
        (turn["role"], [(turn["content"], turn["role"] == "assistant" and turn.get("trained", True))])
        for turn in row["messages"]
    ]
    if kind != CONVERSATIONS:
        said = [(title, [(words, False) for words, _ in pieces]) for title, pieces in said]
    return said + [(f"rank {rank}", [(answer, True)]) for rank, answer in best_first(row)]


def _counted(rows: Iterable[Read]) -> tuple[int, int]:
    """Characters that would be learned, and all characters."""
    counts: Counter[bool] = Counter()
    for texts in rows:
        for _, pieces in texts:
            for words, is_learned in pieces:
                counts[is_learned] += len(words)
    return counts[True], counts.total()


def _is_too_long(texts: Read, text: Text) -> bool:
    longest = max(("".join(words for words, _ in pieces) for _, pieces in texts), key=len, default="")
    return len(text.tokenizer.encode(longest)) > text.seq_len


def _shown(where: str, texts: Sequence[tuple[str, Sequence[Piece]]]) -> dict[str, Any]:
    room, shown = LONGEST_SHOWN, []
    for title, pieces in texts:
        kept = []
        for words, is_learned in pieces:
            cut = words if len(words) <= room else f"{words[: max(0, room)]}…"
            room -= len(cut)
            kept.append({"text": cut, "learned": is_learned})
            if room <= 0:
                break
        shown.append({"title": title.strip(), "pieces": kept})
        if room <= 0:
            break
    return {"where": where, "texts": shown}
