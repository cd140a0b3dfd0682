"""What files of conversations, rankings or prompts hold: counts, bad rows, examples, and how a model reads them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from malmoi.data.comparisons import ranking_ids
from malmoi.data.formats import RowReport, conversations, prompts, rankings
from malmoi.data.rows import Row
from malmoi.data.table import read_table
from malmoi.errors import DataError
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

READERS: dict[str, Callable[..., Iterator[tuple[int, Row]]]] = {
    "rankings": rankings, "conversations": conversations, "prompts": prompts,
}  # fmt: skip
Piece = tuple[str, bool]
"""Text as a model reads it, special tokens included, and whether it is trained on."""


class Overview(NamedTuple):
    """What files hold. kind: as in READERS; facts: counts by name; examples: the first rows, each with file and line"""

    kind: str
    facts: dict[str, Any]
    examples: list[tuple[str, Row]]


def overview(files: Sequence[Path], n: int, kind: str | None = None, commit: str | None = None) -> Overview:
    """Read files of one source to their end, and keep the first `n` rows.

    kind: rankings, conversations or prompts; None: the first of these that the files hold
    commit: of the hub that they come from; it is one of the facts
    Raises DataError if they hold nothing of the kind.
    """
    refusals: list[tuple[int, bool, DataError]] = []
    for name in [kind] if kind else READERS:
        report, numbered = RowReport(), []
        try:
            for file in files:
                numbered += [(f"{file}:{number}", row) for number, row in READERS[name](file, "skip", report)]
        except DataError as error:
            refusals.append((report.n_recognised, name == "conversations", error))
            continue
        return Overview(name, _facts(name, commit, report, [row for _, row in numbered]), numbered[:n])
    for file in files:  # raises the error of a file that cannot be read at all
        for _ in read_table(file):
            break
    # The kind whose columns most rows have is what the files were meant to be; if no column is known, conversations.
    raise max(refusals, key=lambda refusal: refusal[:2])[2]


def _facts(kind: str, commit: str | None, report: RowReport, rows: Sequence[Row]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        kind: len(rows),
        "format": dict(report.formats),
        "trees": len({row["tree"] for row in rows}),
    }
    facts["messages"] = _counted(len(row["messages"]) for row in rows)
    documents = [sum(len(turn.get("documents") or ()) for turn in row["messages"]) for row in rows]
    facts["documents"] = _counted(documents) if any(documents) else None
    if kind == "rankings":
        facts["answers"] = _counted(len(row["answers"]) for row in rows)
        facts["with ties"] = sum(len(set(row["ranks"])) < len(row["ranks"]) for row in rows)
        facts["annotators"] = _counted(len(row["annotators"]) for row in rows if "annotators" in row)
    facts["answers by"] = _counted(row["origin"] for row in rows if "origin" in row)
    facts["languages"] = _counted(row["lang"] for row in rows if "lang" in row)
    facts |= {"commit": commit, "not used": dict(report.unused)}
    facts |= {"left out": dict(report.skipped), "such as": report.examples}
    return {name: value for name, value in facts.items() if value not in (None, {}, [])}


def _counted(values: Iterable[Any]) -> dict[str, int]:
    return {str(value): n for value, n in sorted(Counter(values).items())}


def best_first(row: Row) -> list[tuple[int, str]]:
    """Ranks and answers of a ranking, the best first; none for a row of another kind."""
    return sorted(zip(row.get("ranks", ()), row.get("answers", ()), strict=True), key=lambda ranked: ranked[0])


def as_read(kind: str, row: Row, tokenizer: Tokenizer, template: ChatTemplate) -> list[tuple[str, list[Piece]]]:
    """The texts that a model reads of a row, each with its title, by the functions that training uses."""

    def pieces(ids: Sequence[int], trained: Sequence[bool]) -> list[Piece]:
        parts = groupby(zip(ids, trained, strict=True), key=lambda token: token[1])
        decode = tokenizer.backend.decode
        return [(str(decode([id for id, _ in part], skip_special_tokens=False)), is_on) for is_on, part in parts]

    if kind == "conversations":
        read = template.training_rows(tokenizer, row["messages"])
        return [("", pieces(ids, trained)) for ids, trained in read if any(trained)]
    prompt, _ = template.encode(tokenizer, row["messages"], add_generation_prompt=True)
    if kind == "prompts":
        return [("", pieces(prompt, [False] * len(prompt)))]
    ranked = best_first(row)
    whole = ranking_ids(tokenizer, template, row["messages"], [answer for _, answer in ranked])
    judged = [pieces(ids, [place >= len(prompt) for place in range(len(ids))]) for ids in whole]
    return [(f"rank {rank}  ", found) for (rank, _), found in zip(ranked, judged, strict=True)]
