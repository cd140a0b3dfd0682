"""A workspace that Malmoi made before stages were bound by kind goes on: all its work is found, nothing is made again.

`earlier_workspace.tar.xz` holds text, a recipe (tests/e2e/tiny.toml, smaller) and the workspace in which commit
1457b65 ran it.
"""

import tarfile
from pathlib import Path

import pytest

from malmoi.pipeline.recipe import read_recipe
from malmoi.pipeline.run import run_recipe
from malmoi.pipeline.watcher import Watcher
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

pytestmark = pytest.mark.usefixtures("float32")
KEPT = Path(__file__).with_name("earlier_workspace.tar.xz")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    with tarfile.open(KEPT) as kept:
        kept.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return Workspace.open("w")


def test_work_is_found_and_only_what_a_change_touches_is_made_again(workspace: Workspace) -> None:
    """Up to the demonstrations, which are made in another way now."""
    stages = 'stages=["corpus", "tokenizer", "pretrain"]'
    done = run_recipe(read_recipe(Path("earlier.toml"), [stages]), workspace, Watcher())
    assert [stage for stage, made in done.items() if not made.skipped] == []
    assert [made.run_id[:4] for made in done.values()] == ["0001", "0002", "0003"]
    again = run_recipe(read_recipe(Path("earlier.toml"), [stages, "pretrain.n_steps=2"]), workspace, Watcher())
    assert [stage for stage, made in again.items() if not made.skipped] == ["pretrain"]


def test_its_lineage_and_models_are_read(workspace: Workspace) -> None:
    with Ledger.open(workspace) as ledger:
        found = {node.run.stage for node in ledger.lineage("0009-ppo").walk()}
        assert found == {"corpus", "tokenizer", "pretrain", "demonstrations", "sft", "sample", "rank", "reward", "ppo"}
    assert {path.name for path in workspace.models.iterdir()} == {"base", "sft", "reward", "ppo"}
