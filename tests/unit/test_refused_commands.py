"""A command that is refused leaves nothing that was not there: no lock, no folder, no workspace."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from malmoi.cli import app


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["corpus", "build", "nowhere", "--out", "new/made"], "nowhere: no such file or folder"),
        (["corpus", "build", "a.md", "--out", "new/made", "--set", "min_score=2"], "min_score"),
        (["corpus", "build", "a.md", "--out", "new/made", "--set", "languages=['fr']"], "no page is left"),
        (["corpus", "build", "a.md", "--out", "new/made", "--on", "ray://127.0.0.1:9"], "ray"),
        (["corpus", "build", "a.md", "--out", "full"], "full: holds something else than a corpus"),
        (["corpus", "label", "nowhere", "--to", "new/labels.jsonl"], "nowhere: no such file or folder"),
        (["train", "sft", "sft.toml", "--out", "new/made"], "a.md"),
        (["train", "sft", "sft.toml", "--out", "full"], "is not empty"),
        (["index", "nowhere", "--workspace", "new"], "nowhere: no such file or folder"),
        (["data", "add", "nowhere.jsonl", "--workspace", "new"], "nowhere.jsonl: no such file"),
        (["models", "import", "nowhere", "--workspace", "new"], "nowhere: no such file or folder"),
        (["users", "add", "Mina", "--role", "king", "--workspace", "new"], "role: expected one of"),
    ],
)
def test_nothing_is_left(
    policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.md").write_text("The boat came into the harbour in the evening, and the people of the town were glad. " * 9)
    Path("sft.toml").write_text(f'model = "{policy_folder.as_posix()}"\ndata = "a.md"\nn_steps = 1\n')
    Path("full").mkdir()
    Path("full/x").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and message in done.stderr, done.output + repr(done.exception)
    assert sorted(tmp_path.rglob("*")) == before
