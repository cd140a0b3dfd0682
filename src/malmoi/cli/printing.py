"""How commands print: tables for people, JSON for machines, and no characters that could steer a terminal."""

import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from malmoi.files import to_json

WIDE = 200
"""Columns where no terminal sets a limit: a pipe, a file."""
# They change the direction of the text after them, and can make a line read as another.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """The text without characters that could steer a terminal: escape and other controls, direction overrides."""
    return "".join(c for c in text if c in "\n\t" or (unicodedata.category(c) != "Cc" and c not in _DIRECTIONS))


def source_place(row: Mapping[str, Any]) -> str:
    """Where a source is: notes/plan.md:12, page 3."""
    line, place = (f":{row['line']}" if row["line"] else ""), (f", {row['place']}" if row["place"] else "")
    return f"{row['file']}{line}{place}"


def source_text(row: Mapping[str, Any], most: int | None = None) -> str:
    """A source on one line: notes/plan.md:12  # Heading: the sentence. most: characters of heading and of sentence"""
    heading, sentence = (_shortened(" ".join(row[part].split()), most) for part in ("heading", "sentence"))
    return f"{source_place(row)}  {f'# {heading}: ' if heading else ''}{sentence}"


def _shortened(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most else text[: most - 1].rstrip() + "…"


def print_json(value: Any) -> None:
    print(to_json(value, indent=2))


def show(what: Table | Tree) -> None:
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(what)


def table(columns: Sequence[str], rows: Any) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(escape(str(column)), overflow="fold")
    for row in rows:
        table.add_row(*(escape(f"{cell:.5g}" if isinstance(cell, float) else str(cell)) for cell in row))
    return table
