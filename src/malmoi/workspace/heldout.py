"""Text to measure a model on that it was not trained on."""

import json
from pathlib import Path

from malmoi.corpus.folder import ReadReport, read_folder
from malmoi.files import read_jsonl
from malmoi.synthetic.pydocs import read_python_docs
from malmoi.workspace.folder import Workspace


def heldout_text(workspace: Workspace, text: Path | None = None) -> tuple[str, list[str]]:
    """Where the text comes from, in words, and its documents.

    text: a file or folder; None: the newest held-out text of the workspace, or Python's documentation if there is none
    """
    if text is not None:
        return str(text), [document.text for document in read_folder(text, "strict", ReadReport())]
    for path in sorted(workspace.runs.glob("*/out/heldout.jsonl"), reverse=True):
        if _holds_text(path):
            return f"held-out text of {path.parents[1].name}", [row["text"] for row in read_jsonl(path)]
    return "Python's documentation", [document.text for document, _ in read_python_docs()]


def _holds_text(path: Path) -> bool:
    """Whether the rows are documents: conversations and rankings are held out in files of this name too."""
    with path.open("rb") as file:
        first = file.readline()
    return b'"text"' in first and "text" in json.loads(first)
