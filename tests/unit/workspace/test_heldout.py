"""Held-out text: the user's own, the newest of the workspace, or Python's documentation."""

from pathlib import Path

from malmoi.files import write_jsonl, write_text
from malmoi.workspace.folder import Workspace
from malmoi.workspace.heldout import heldout_text


def test_the_newest_text_is_taken_and_no_conversations(workspace: Workspace) -> None:
    for number, row in ((1, {"text": "old"}), (4, {"text": "new"}), (5, {"messages": [{"content": "text"}]})):
        write_jsonl(workspace.runs / f"{number:04}-stage" / "out" / "heldout.jsonl", [row, row])
    write_jsonl(workspace.runs / "0006-stage" / "out" / "heldout.jsonl", [])
    assert heldout_text(workspace) == ("held-out text of 0004-stage", ["new", "new"])


def test_text_that_is_given_comes_first(workspace: Workspace, tmp_path: Path) -> None:
    write_jsonl(workspace.runs / "0001-corpus" / "out" / "heldout.jsonl", [{"text": "old"}])
    write_text(tmp_path / "mine.txt", "My own text.")
    assert heldout_text(workspace, tmp_path / "mine.txt") == (str(tmp_path / "mine.txt"), ["My own text."])


def test_without_any_python_is_read(tmp_path: Path) -> None:
    source, documents = heldout_text(Workspace(tmp_path / "none"))
    assert source == "Python's documentation" and len(documents) > 10
