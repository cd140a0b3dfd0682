"""Documents that people add: what is listed, and counted, beside a recipe's text."""

import json
from pathlib import Path

from malmoi.workspace.documents import NAME, add_documents, list_documents
from malmoi.workspace.folder import Workspace


def test_a_recipes_text_is_one_row_and_counts_its_documents(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "w")
    for part, names in (("train", "abc"), ("heldout", "d")):
        rows = [json.dumps({"text": f"{name} is a letter.", "source": name}) for name in names]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    text = workspace.path / NAME / "letters"
    text.mkdir(parents=True)
    for part in ("train", "heldout"):
        (text / f"{part}.jsonl").symlink_to(tmp_path / f"{part}.jsonl")
    (tmp_path / "차.md").write_text("# 차\n\n차는 뜨겁다.\n", encoding="utf-8")
    add_documents(workspace, [tmp_path / "차.md"])
    found = list_documents(workspace)
    assert found["files"] == 5  # four letters, and a file
    assert [(one["file"], one["passages"], one["added"]) for one in found["documents"]] == [
        ("letters", 4, False), ("차.md", 1, True),
    ]  # fmt: skip
