"""The same rows from every kind of file, and what is said of files that are broken."""

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from malmoi.data.table import BadRow, iterate_rows, read_table
from malmoi.errors import ConfigError, DataError

ROWS = [{"prompt": "What?", "n": 1}, {"prompt": "낱말?", "n": None}]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()


def parquet(path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    from pyarrow.parquet import write_table

    write_table(pa.Table.from_pylist(ROWS), path)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "a.jsonl": lambda path: path.write_bytes(LINES),
    "a.JSONL.GZ": lambda path: path.write_bytes(gzip.compress(LINES)),
    "a.ndjson": lambda path: path.write_bytes(b"\xef\xbb\xbf" + LINES + b"\r\n\n"),
    "a.json": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
    "lines.json": lambda path: path.write_bytes(LINES),
    "a.json.gz": lambda path: path.write_bytes(gzip.compress(json.dumps(ROWS).encode())),
    "a.parquet": parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_gives_the_same_rows_numbered_from_one(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    assert list(read_table(tmp_path / name)) == [(1, ROWS[0]), (2, ROWS[1])]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", r"not valid JSON"),
        (b'{"a": "\xff"}', r"not UTF-8 at byte 7 \(0xff\)"),
        (b"[" * 100_000, r"not valid JSON"),
        (b'{"a": ' * 100_000, r"not valid JSON"),
        (b'{"a": 1, "b": {"c": 2, "d": 3, "c": 4}}', r'not valid JSON \("c" is there twice; remove one\)'),
        (b'{"a": ' + b"9" * 5000 + b"}", r"not valid JSON \(a number of more than 4,300 digits; write it as text\)"),
    ],
)
def test_a_broken_line_is_named_and_the_next_can_be_read(tmp_path: Path, line: bytes, says: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"{}\n\n" + line + b"\n{}")
    with pytest.raises(DataError, match=rf"a\.jsonl:3: {says}"):
        list(read_table(tmp_path / "a.jsonl"))
    found = list(iterate_rows(tmp_path / "a.jsonl"))
    assert [number for number, _ in found] == [1, 3, 4]
    assert isinstance(found[1][1], BadRow) and found[2][1] == {}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl.gz", gzip.compress(LINES * 99, mtime=0)[:-30], "cut short or damaged"),
        ("a.jsonl.gz", LINES, "cut short or damaged"),
        ("a.parquet", b"PAR1 and no more", "not Parquet, or damaged"),
        ("a.json", b'[{"a": 1}, {', "not valid JSON"),
        ("a.csv", b"a,b", "not a format that is read"),
    ],
)
def test_a_broken_file_says_so(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="Parquet is an extra")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        list(read_table(tmp_path / name))


def test_no_file_and_no_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_table(tmp_path / "a.jsonl"))
    with pytest.raises(DataError, match="not a format"):
        list(read_table(tmp_path))
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r'pip install "malmoi\[parquet\]"'):
        list(read_table(tmp_path / "a.parquet"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("text", ['{"a": "가"}\n{"a": "나"}\n', '[{"a": "가"},\n{"a": "나"}]'])
def test_a_table_with_the_mark_of_another_encoding_is_converted(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode(encoding))
    assert [row for _, row in read_table(path)] == [{"a": "가"}, {"a": "나"}]


def test_a_korean_table_in_another_encoding_names_the_command_that_converts_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"a": "오늘은 비가 온다"}\n'.encode("cp949"))
    with pytest.raises(DataError, match=r"looks like CP949; convert it: iconv -f CP949 -t UTF-8 \S+a\.jsonl > "):
        list(read_table(path))


def test_one_object_on_several_lines_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ROWS[0], indent=1))
    assert list(read_table(path)) == [(1, ROWS[0])]


def test_a_broken_first_line_of_a_json_file_loses_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf\r\n{"a": }\r\n{"a": 1}\r\n\r\n{"a": 2}')
    found = list(iterate_rows(path))
    assert [number for number, _ in found] == [2, 3, 5]
    assert isinstance(found[0][1], BadRow) and [row for _, row in found[1:]] == [{"a": 1}, {"a": 2}]
