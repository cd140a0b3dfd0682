"""Questions to begin with are answered."""

from pathlib import Path

import pytest

from malmoi.retrieval.index import Index
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.suggestions import drawn_questions, suggestions
from malmoi.retrieval.update import update_index

NOTES = {
    "hours.md": "# Opening hours\n\nThe library opens at nine.\n\n# Tickets\n\nA ticket costs four euros.\n",
    "안내.md": "# 급식 안내\n\n급식은 열두 시에 시작한다.\n",
}


@pytest.mark.parametrize("files", [["hours.md"], ["안내.md"], ["hours.md", "안내.md"]])
def test_what_is_suggested_is_answered(tmp_path: Path, files: list[str]) -> None:
    (tmp_path / "notes").mkdir()
    for file in files:
        (tmp_path / "notes" / file).write_text(NOTES[file])
    update_index(tmp_path / "notes", tmp_path / "index")
    lookup = Lookup(Index.open(tmp_path / "index"))
    found = suggestions(lookup)
    assert found["ko"] and bool(found["en"]) == ("hours.md" in files)
    for question in [*found["en"], *found["ko"]]:
        assert lookup.find([{"role": "user", "content": question}]).sources
    assert not [question for question in found["en"] if "급식" in question]
    # Drawn by chance, but none twice, and only what is answered.
    asked = drawn_questions(lookup, "ko", 10)
    assert sorted(asked) == sorted(set(asked)) and set(found["ko"]) <= set(asked)
    assert drawn_questions(lookup, "ko", 10, known=asked) == []
    assert len(drawn_questions(lookup, "ko", 1)) == 1
