"""Rows of tables as text: the values with the names of their columns."""

import re
from collections.abc import Sequence

SAMPLE_ROWS = 50
MAX_NAME_CHARS = 60
SHORT_CHARS = 200
"""A row with a longer value, or one of several lines, has each value on a line of its own."""
_NUMBER = re.compile(r"[-+(]?[\s$€£¥₩]*[\d.,:/\-\s%]*\d[\d.,:/\-\sTZ%)원]*")

Row = Sequence[str]


def find_header(rows: Sequence[Row]) -> int | None:
    """The index of the row that names the columns, None if none does. rows: the first rows of a table

    It is the first row with two or more values (titles above it have one), if none of them is a number or a date, none
    comes again below in its column, all are short, and most differ. A table of one column has no names.
    """
    at = next((at for at, row in enumerate(rows) if sum(map(bool, row)) > 1), None)
    if at is None or at + 1 == len(rows):
        return None
    names = [name for name in rows[at] if name]
    if any(len(name) > MAX_NAME_CHARS or _NUMBER.fullmatch(name) for name in names):
        return None
    if len(set(names)) * 2 < len(names) or len(names) * 2 < max(map(len, rows[at + 1 :])):
        return None
    below = ({row[column] for row in rows[at + 1 :] if column < len(row)} for column in range(len(rows[at])))
    if any(name and name in values for name, values in zip(rows[at], below, strict=True)):
        return None
    return at


def row_text(names: Row, values: Row) -> str:
    """A row as "Name: Kim; Phone: 010", without empty values. A value without a name is written without one."""
    named = zip((*names, *[""] * len(values)), values, strict=False)
    parts = [f"{name}: {value}" if name else value for name, value in named if value]
    is_long = any(len(part) > SHORT_CHARS or "\n" in part for part in parts)
    return ("\n" if is_long else "; ").join(parts)


def table_text(rows: Sequence[Row]) -> str:
    """The rows of a table within a text, a line each. Rows that do not fit the names are joined with bars."""
    rows = [[" ".join(value.split()) for value in row] for row in rows]
    at = find_header(rows[:SAMPLE_ROWS])
    lines = []
    for index, row in enumerate(rows):
        if at is not None and index > at and len(row) == len(rows[at]):
            lines.append(row_text(rows[at], row))
        elif index != at:
            lines.append(" | ".join(filter(None, row)))
    return "\n".join(filter(None, lines))
