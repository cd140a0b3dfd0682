"""A command that is refused leaves nothing that was not there: no lock, no folder, no workspace."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.errors import UserError
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.opening import opened


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
        (["data", "add", "chats.jsonl", "--person", "Nobody", "--workspace", "new/made"], "nobody here has this name"),
        (["models", "import", "broken.gguf", "--workspace", "new/made"], "is not a GGUF file"),
        (["run", "nano", "--only", "ppo", "--workspace", "new/made"], "leave --only out"),
        (["run", "nano", "--from", "nowhere", "--workspace", "new/made"], "not in this recipe"),
        (["run", "picture", "--set", "pictures.source=/nowhere", "--workspace", "new/made"], "no such file or folder"),
        (["serve", "--host", "256.1.1.1", "--workspace", "new/made"], "no such address"),
    ],
)
def test_nothing_is_left(
    policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.md").write_text("The boat came into the harbour in the evening, and the people of the town were glad. " * 9)
    Path("sft.toml").write_text(f'model = "{policy_folder.as_posix()}"\ndata = "a.md"\nn_steps = 1\n')
    Path("broken.gguf").write_bytes(b"none")
    Path("chats.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "Hi"}] * 2}) + "\n")
    Path("full").mkdir()
    Path("full/x").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2 and message in done.stderr, done.output + repr(done.exception)
    assert sorted(tmp_path.rglob("*")) == before


def refuse(folder: Path) -> None:
    with pytest.raises(UserError, match="no"), opened(folder):
        raise UserError("no")


def test_a_new_workspace_that_somebody_uses_stays(tmp_path: Path) -> None:
    for number, use in enumerate(("file", "run", "row", "open")):
        folder = tmp_path / f"{number}"
        with pytest.raises(UserError, match="no"), opened(folder) as workspace:
            ledger = Ledger.open(workspace)
            if use == "file":
                (folder / "notes.txt").write_text("mine")
            elif use == "run":
                (workspace.runs / "other").mkdir()
            elif use == "row":
                ledger.start_run(stage="sft", recipe="r", fingerprint="0", settings={}, seed=1, inputs={})
                assert not [*workspace.runs.iterdir()] or [one.rmdir() for one in workspace.runs.iterdir()]
            if use != "open":
                ledger.close()
            raise UserError("no")
        assert (folder / "malmoi.toml").exists() and workspace.database.exists(), use
        ledger.close()


def test_an_old_workspace_stays(tmp_path: Path) -> None:
    with opened(tmp_path / "old"):
        pass
    refuse(tmp_path / "old")
    assert (tmp_path / "old" / "malmoi.toml").exists()


def test_folders_that_were_there_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    refuse(tmp_path / "there" / "new" / "made")
    assert [*tmp_path.rglob("*")] == [tmp_path / "there"]
