"""The development questions about notes: what counts as right, and that every one of them can be answered."""

from pathlib import Path

import pytest

from benchmarks.notes import NOTES, Asked, ask, shares
from malmoi.corpus.documents import Document
from malmoi.files import read_json
from malmoi.retrieval.findings import Findings
from malmoi.retrieval.passages import passages_of
from malmoi.retrieval.sentences import sentences

FOLDERS = read_json(NOTES)
FOLDER = {
    "files": {"shop.md": "# Shop\n\nThe shop opens at 8:30. Mira Stone runs it.\n"},
    "questions": [
        {"question": "When does the shop open?", "file": "shop.md", "sentence": "8:30"},
        {"question": "Who runs the shop?", "file": "other.md", "sentence": "Mira"},
        {"question": "Who runs the shop?", "file": "shop.md", "sentence": "8:30"},
    ],
    "unanswered": ["How much is a sofa?", "Who runs the shop?"],
}


def test_right_is_the_sentence_in_its_file_or_nothing(tmp_path: Path) -> None:
    asked = list(ask(FOLDER, tmp_path / "index"))
    assert [one.is_right for one in asked] == [True, False, False, True, False]
    assert shares(asked).startswith("right 0.333") and "declined 0.000" in shares(asked)
    assert "declined 0.500" in shares(asked).partition("not answered")[2]


def test_nothing_found_is_right_only_where_nothing_answers() -> None:
    assert Asked("Why?", "", "", Findings()).is_right and not Asked("Why?", "a.md", "a", Findings()).is_right


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder["name"] for folder in FOLDERS])
def test_every_answer_is_a_piece_of_one_sentence_of_its_file(folder: dict) -> None:  # type: ignore[type-arg]
    for row in folder["questions"]:
        document = Document(folder["files"][row["file"]], row["file"], line=1)
        found = [one.text for passage in passages_of(document) for one in sentences(passage.text)]
        assert any(row["sentence"] in text for text in found), row
