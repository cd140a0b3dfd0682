"""docs/reference/data-columns.md is true: every line is tried, and no column that the code knows is missing there.

Odd values in odd columns are read whole or refused: never a traceback, never passed over without a word.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from malmoi.data import columns
from malmoi.data.formats import FORMATS, RowReport, conversations, prompts, rankings
from malmoi.errors import DataError

PAGE = (Path(__file__).parents[3] / "docs/reference/data-columns.md").read_text(encoding="utf-8")


class Line(NamedTuple):
    form: str
    rows: list[dict[str, Any]]
    column: str
    value: Any
    outcome: str


def lines() -> Iterator[Line]:
    for section in PAGE.split("\n## ")[1:]:
        form = section.partition("\n")[0]
        rows = re.search(r"```json\n(.*?)\n```", section, re.S)
        for column, value, outcome in re.findall(r"(?m)^\| `([^`]+)` \| `(.*?)` \| ([a-z ]+) \|", section):
            assert rows is not None
            yield Line(form, [json.loads(row) for row in rows[1].split("\n")], column, json.loads(value), outcome)


LINES = list(lines())


def put(row: dict[str, Any], path: str, value: Any) -> str:
    """Set `messages[1].weight` or `weight`; returns the column's own name."""
    found = re.fullmatch(r"(\w+)\[(\d+)\]\.(.+)", path)
    if found is None:
        row[path] = value
        return path
    row[found[1]][int(found[2])][found[3]] = value
    return found[3]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def reader_of(path: Path) -> Any:
    try:
        list(rankings(path))
    except DataError:
        return conversations
    return rankings


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.form}: {line.column} = {line.value!r:.20}")
def test_every_column_becomes_what_the_page_says(tmp_path: Path, line: Line) -> None:
    path = write(tmp_path / "rows.jsonl", line.rows)
    read, before, after = reader_of(path), RowReport(), RowReport()
    plain = [row for _, row in read(path, "strict", before)]
    if line.form not in ("Every form", "Every turn"):
        assert list(before.formats) == [line.form]
    name = put(line.rows[0], line.column, line.value)
    write(path, line.rows)
    if line.outcome == "refused":
        with pytest.raises(DataError, match=r"rows\.jsonl:\d") as caught:
            list(read(path))
        if line.form.startswith("Every") and "content" not in name and "role" not in name:
            assert f'"{name}"' in str(caught.value)
    elif line.outcome == "left out":
        with pytest.raises(DataError, match="holds no"):
            list(read(path))
    else:
        found = [row for _, row in read(path, "strict", after)]
        assert (found == plain) == (line.outcome != "read")
        named = line.column if "[" not in line.column else re.sub(r"\[\d+\]", "[]", line.column)
        assert (named in after.unused) == (line.outcome == "ignored")


def test_the_page_names_every_column_that_the_code_knows() -> None:
    written = {re.sub(r".*\.", "", line.column) for line in LINES} | set(re.findall(r"`([^`\n]+)`", PAGE))
    known = {
        *columns.REFUSED, *columns.REFUSED_IN_TURN, *columns.NEEDS_READER, *columns.LABELS, *columns.WEIGHTS,
        *columns.MASKS, *columns.SYSTEM, *columns.FACTS, *columns.IN_TURN,
        *(name for form in FORMATS for name in (*form.columns, *form.reads, *form.asks)),
    }  # fmt: skip
    assert known - written - {"from", "value", "messages", "conversations"} == set()
    assert {form.name for form in FORMATS} - {"messages", "prompts"} <= set(re.findall(r"(?m)^## (.+)$", PAGE))


DEEP = "a list that is nested deeply"  # as a value it would be too deep to be printed where the test fails
ODD = st.sampled_from(
    [None, "", " ", "\u200b", "\x00", "\ud800", 0, 1, -1, 10**30, 0.5, float("nan"), float("inf"), True, False, [], {},
     [[]], [None], [{}], ["a"], [["a", "b"]], [{"role": "user"}], [{"from": "gpt", "value": 3}], {"a": 1}, "[]", "a",
     DEEP]
)  # fmt: skip
NAMES = st.sampled_from(sorted({line.column for line in LINES} | columns.IN_TURN | {"x", "\ud800"}))
ROWS = st.sampled_from(sorted({json.dumps(row) for line in LINES for row in line.rows}))


def changed(row: Any, path: str, value: Any) -> None:
    column, _, rest = path.partition("[")
    if not rest:
        row[column] = value
    elif isinstance(turns := row.get(column), list) and turns and isinstance(turns[0], dict):
        turns[int(rest[0]) % len(turns) if int(rest[0]) < len(turns) else 0][path.rpartition(".")[2]] = value


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@example(
    row='{"instruction": "What?", "response1": "A cat.", "response2": "A dog.", "annotator1": 1}',
    changes=[("annotator1", "a" * 2_000)],
)
@example(row='{"messages": [{"role": "user", "content": "What?"}]}', changes=[("messages[0].role", "a" * 2_000)])
@given(row=ROWS, changes=st.lists(st.tuples(NAMES, ODD), min_size=1, max_size=3))
def test_odd_rows_end_in_a_line_or_in_a_row(tmp_path: Path, row: str, changes: list[tuple[str, Any]]) -> None:
    made = json.loads(row)
    for path, value in changes:
        changed(made, path, json.loads("[" * 500 + "]" * 500) if value == DEEP else value)
    (tmp_path / "rows.jsonl").write_text(json.dumps(made) + "\n")
    for read in (conversations, rankings, prompts):
        report = RowReport()
        try:
            found = [row for _, row in read(tmp_path / "rows.jsonl", "strict", report)]
        except DataError as error:
            str(error).encode()
            assert "\n" not in str(error) and len(str(error)) < 1000
            continue
        for name, value in made.items():
            assert not (name in columns.REFUSED and columns.is_given(value))
        kept = json.dumps(found)
        # As a conversation, a ranking is its best answer.
        for name in columns.NEEDS_READER if read is rankings else ("history", "input", "context"):
            if columns.is_given(made.get(name)) and isinstance(made[name], str):
                assert json.dumps(made[name])[1:-1].strip() in kept or name in report.unused
