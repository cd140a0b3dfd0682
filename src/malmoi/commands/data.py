"""`malmoi data show`: what a file of conversations, rankings or prompts holds, as training will read it."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from malmoi.cli.printing import WIDE, printable
from malmoi.data.comparisons import ranking_ids
from malmoi.data.formats import RowReport, conversations, prompts, rankings
from malmoi.data.rows import Row
from malmoi.data.table import read_table
from malmoi.errors import ConfigError, DataError
from malmoi.files import to_json
from malmoi.pipeline.sources import open_source
from malmoi.workspace.folder import Workspace
from malmoi.workspace.models import find_model

READERS: dict[str, Callable[..., Iterator[tuple[int, Row]]]] = {
    "rankings": rankings, "conversations": conversations, "prompts": prompts,
}  # fmt: skip
TRAINED = "green"


class Found(NamedTuple):
    """What a source holds. kind: as in READERS; facts: counts by name; shown: the first rows, each with its file and
    line"""

    kind: str
    facts: dict[str, Any]
    shown: list[tuple[str, Row]]


def look(entry: str, n: int, kind: str | None, folder: Path) -> Found:
    """Read a whole source (a file, or a name on the hub) and keep its first `n` rows.

    kind: rankings, conversations or prompts; None: the first of these that the file holds
    Raises DataError when there is nothing of the kind.
    """
    if kind is not None and kind not in READERS:
        raise ConfigError(f"--as {kind}: not known; {', '.join(READERS)} are")
    source = open_source(entry, folder / "data")
    refusals: list[tuple[int, bool, DataError]] = []
    for name in [kind] if kind else READERS:
        report, numbered = RowReport(), []
        try:
            for file in source.files:
                numbered += [(f"{file}:{number}", row) for number, row in READERS[name](file, "skip", report)]
        except DataError as error:
            refusals.append((report.n_recognised, name == "conversations", error))
            continue
        return Found(name, _facts(name, source.commit, report, [row for _, row in numbered]), numbered[:n])
    for file in source.files:  # a file that is broken says so itself
        for _ in read_table(file):
            break
    # What most rows have the columns of is what they were meant to be; of unknown columns, conversations.
    raise max(refusals, key=lambda refusal: refusal[:2])[2]


def _facts(kind: str, commit: str | None, report: RowReport, rows: Sequence[Row]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        kind: len(rows),
        "format": dict(report.formats),
        "trees": len({row["tree"] for row in rows}),
    }
    facts["messages"] = _counted(len(row["messages"]) for row in rows)
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


def show_found(found: Found, model: str | None, workspace: Workspace) -> None:
    """Counts, then the examples. With a model's tokenizer they are shown as the model reads them, what is trained on
    in colour on a terminal and in ⟦ ⟧ elsewhere."""
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, soft_wrap=True)
    encode = _encoder(model, workspace) if model else None
    for name, value in found.facts.items():
        for line in value if isinstance(value, list) else [_inline(value)]:
            console.print(Text(f"{name:14}{printable(line)}"))
    for where, row in found.shown:
        console.print(Text(f"\n{where}  {row['source']}, tree {row['tree']}", style="bold"))
        marked = console.is_terminal
        for text in _as_read(found.kind, row, encode, marked) if encode else _as_said(row):
            console.print(text)


def _inline(value: Any) -> str:
    if not isinstance(value, dict):
        return f"{value:,}" if isinstance(value, int) else str(value)
    shown = [f"{name}: {n:,}" for name, n in value.items()]
    return ", ".join([*shown[:12], *(["…"] if len(shown) > 12 else [])])


def _as_said(row: Row) -> Iterator[Text]:
    for turn in row["messages"]:
        yield Text(f"{turn['role']:10} {printable(turn['content'])}", style=TRAINED * (turn["role"] == "assistant"))
    for rank, answer in _best_first(row):
        yield Text(f"{f'rank {rank}':10} {printable(answer)}", style=TRAINED)


def _best_first(row: Row) -> list[tuple[int, str]]:
    return sorted(zip(row.get("ranks", ()), row.get("answers", ()), strict=True), key=lambda ranked: ranked[0])


Piece = tuple[str, bool]
"""Text as a model reads it, special tokens included, and whether it is learned from."""
Encode = Callable[[str, Row], list[tuple[str, list[Piece]]]]
"""The kind of a row, and the row -> what a model reads of it, each with its title."""


def _encoder(model: str, workspace: Workspace) -> Encode:
    """Through the functions that training reads its files with."""
    from malmoi.formats.folder import load_text

    tokenizer, template = load_text(find_model(workspace, model)[1])

    def pieces(ids: Sequence[int], trained: Sequence[bool]) -> list[Piece]:
        parts = groupby(zip(ids, trained, strict=True), key=lambda token: token[1])
        decode = tokenizer.backend.decode
        return [(str(decode([id for id, _ in part], skip_special_tokens=False)), is_on) for is_on, part in parts]

    def encode(kind: str, row: Row) -> list[tuple[str, list[Piece]]]:
        if kind == "conversations":
            read = template.training_rows(tokenizer, row["messages"])
            return [("", pieces(ids, trained)) for ids, trained in read if any(trained)]
        asked, _ = template.encode(tokenizer, row["messages"], add_generation_prompt=True)
        if kind == "prompts":
            return [("", pieces(asked, [False] * len(asked)))]
        ranked = _best_first(row)
        whole = ranking_ids(tokenizer, template, row["messages"], [answer for _, answer in ranked])
        judged = [pieces(ids, [place >= len(asked) for place in range(len(ids))]) for ids in whole]
        return [(f"rank {rank}  ", found) for (rank, _), found in zip(ranked, judged, strict=True)]

    return encode


def _as_read(kind: str, row: Row, encode: Encode, in_colour: bool) -> Iterator[Text]:
    for title, pieces in encode(kind, row):
        yield Text.assemble((title, "bold"), _marked(pieces, in_colour))


def _marked(pieces: Sequence[tuple[str, bool]], in_colour: bool) -> Text:
    text = Text()
    for piece, is_on in pieces:
        shown = printable(piece)
        text.append(shown if in_colour or not is_on else f"⟦{shown}⟧", style=TRAINED if is_on else "dim")
    return text


def as_json(found: Found) -> str:
    rows = [{"where": where, **row} for where, row in found.shown]
    return to_json({**found.facts, "rows": rows}, indent=2)
