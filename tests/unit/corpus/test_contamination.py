"""Texts of evaluation sets are found whatever their files are called, packed or not, in either form of Unicode."""

import gzip
import json
import unicodedata
from pathlib import Path

import pytest

from malmoi.corpus.steps.contamination import EvaluationSets
from malmoi.errors import DataError

KOREAN = (
    "항구의 아침은 언제나 조용하고 배들은 물때를 기다리며 줄을 맞춰 서 있었다고 할머니가 말해 주었지만 나는 믿지 않았다"
)
ENGLISH = "Nobody in the village had ever seen a lighthouse that was painted in so many colours before that spring"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    row = json.dumps({"question": text}).encode() + b"\n"
    path.write_bytes(gzip.compress(row) if path.suffix == ".gz" else row)
    return path


def test_files_of_one_name_are_one_set(tmp_path: Path) -> None:
    sets = EvaluationSets.read([write(tmp_path / "a/test.jsonl", KOREAN), write(tmp_path / "b/test.jsonl", ENGLISH)])
    assert sets.found_in(KOREAN) == sets.found_in(ENGLISH) == "test.jsonl"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_packed_set_is_found_in_either_form_of_unicode(tmp_path: Path, form: str) -> None:
    sets = EvaluationSets.read([write(tmp_path / "quiz.jsonl.gz", unicodedata.normalize(form, KOREAN))])
    assert sets.found_in(KOREAN) == sets.found_in(unicodedata.normalize("NFD", KOREAN)) == "quiz.jsonl.gz"
    assert sets.found_in(ENGLISH) == ""


def test_a_packed_set_that_is_cut_short_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "quiz.jsonl.gz", KOREAN)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"quiz.jsonl.gz: cut short or damaged"):
        EvaluationSets.read([path])
