"""What the shell completes, asked as bash, zsh and fish ask it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from malmoi.workspace.folder import Workspace

LOOK = """
import atexit, os, sys
heavy = {"torch", "numpy", "sqlalchemy", "matplotlib", "tokenizers", "jinja2", "rich"}
atexit.register(lambda: print(*sorted(heavy & set(sys.modules)), file=sys.stderr))
from malmoi.cli import main
main()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two workspaces."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MALMOI_WORKSPACE", raising=False)
    for name, models in {"workspace": ("sft", "ppo"), "demo": ("base",)}.items():
        workspace = Workspace.open(name)
        for number, model in enumerate(models, start=1):
            (workspace.models / model).mkdir()
            (workspace.runs / f"000{number}-{model}").mkdir()
    (tmp_path / "deed").mkdir()
    return tmp_path


def completed(line: str, **environment: str) -> list[str]:
    """What bash would offer for the last word of a line."""
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_MALMOI_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env={**os.environ, **asked, **environment}, capture_output=True, text=True
    )
    assert done.stderr.split() == [], done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("malmoi ch", {"chat"}),
        ("malmoi chat ", {"ppo", "sft"}),
        ("malmoi chat s", {"sft"}),
        ("malmoi chat --workspace demo ", {"base"}),
        ("malmoi chat --workspace de", {"demo"}),
        ("malmoi models show p", {"ppo"}),
        ("malmoi runs show 0001", {"0001-sft"}),
        ("malmoi lineage 0002", {"0002-ppo"}),
        ("malmoi run na", {"nano", "nano-small"}),
        ("malmoi run nano --from pr", {"pretrain"}),
        ("malmoi chat x --workspace missing ", set()),
    ],
)
def test_names_are_completed(place: Path, line: str, offered: set[str]) -> None:
    assert set(completed(line)) == offered


def test_the_workspace_of_the_environment_counts(place: Path) -> None:
    assert completed("malmoi chat ", MALMOI_WORKSPACE="demo") == ["base"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_ask_in_their_own_way(place: Path, shell: str) -> None:
    asked = {"_TYPER_COMPLETE_ARGS": "malmoi chat s", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        env={**os.environ, **asked, "_MALMOI_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
    )
    assert "sft" in done.stdout and "ppo" not in done.stdout
