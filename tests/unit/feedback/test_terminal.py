"""What is typed at a terminal for a workspace."""

from pathlib import Path

import pytest

from malmoi.feedback.terminal import workspace_option


def test_a_command_names_the_workspace_that_it_would_not_find_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("MALMOI_WORKSPACE", raising=False)

    def said(path: Path, *, owner: bool = True) -> str:
        return workspace_option(path, tell_place=owner)

    assert said(Path("workspace")) == said(here / "workspace") == ""
    assert said(here / "demo") == said(Path("demo"), owner=False) == " --workspace demo"
    assert said(here / "my notes") == " --workspace 'my notes'"
    assert said(here / "-x") == " --workspace ./-x"
    assert said(tmp_path / "there") == f" --workspace {tmp_path / 'there'}"
    assert said(tmp_path / "there", owner=False) == " --workspace there"
    monkeypatch.setenv("MALMOI_WORKSPACE", "elsewhere")
    assert said(here / "workspace") == " --workspace workspace"
