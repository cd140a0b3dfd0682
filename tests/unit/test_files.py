"""What is written as JSON is read by every program."""

import json
import math
from pathlib import Path

import pytest

from malmoi.cli.printing import print_json
from malmoi.files import read_json, read_jsonl, to_json, write_json, write_jsonl


def strictly(text: str) -> object:
    def refuse(constant: str) -> object:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_no_number_becomes_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    value = {"낱말": [1.5, math.nan, (math.inf, 2)], "deep": {"low": -math.inf, "text": "NaN"}}
    expected = {"낱말": [1.5, None, [None, 2]], "deep": {"low": None, "text": "NaN"}}
    assert strictly(to_json(value)) == expected
    write_json(tmp_path / "a.json", value)
    write_jsonl(tmp_path / "a.jsonl", [value, 3])
    assert strictly((tmp_path / "a.json").read_text()) == read_json(tmp_path / "a.json") == expected
    assert read_jsonl(tmp_path / "a.jsonl") == [expected, 3] and "낱말" in (tmp_path / "a.jsonl").read_text()
    print_json(value)
    assert strictly(capsys.readouterr().out) == expected
