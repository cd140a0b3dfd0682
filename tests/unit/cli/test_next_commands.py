"""What a command suggests to type next."""

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from malmoi.cli import app, next_commands
from malmoi.cli.next_commands import placed


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        ("v2 is a candidate; next: malmoi versions compare v2",
         "v2 is a candidate; next: malmoi versions compare --workspace demo v2"),
        ("no job yet; malmoi improve begins one", "no job yet; malmoi improve --workspace demo begins one"),
        ("`malmoi users add NAME --role owner`", "`malmoi users add --workspace demo NAME --role owner`"),
        ("malmoi data show says more; see malmoi versions show --help",
         "malmoi data show says more; see malmoi versions show --help"),
        ("malmoi models pull x --workspace w brings it", "malmoi models pull x --workspace w brings it"),
    ],
)  # fmt: skip
def test_a_suggested_command_names_the_workspace(monkeypatch: pytest.MonkeyPatch, said: str, whole: str) -> None:
    monkeypatch.delenv("MALMOI_WORKSPACE", raising=False)
    monkeypatch.setattr(next_commands, "typed_workspace", Path("demo"))
    assert placed(said) == whole
    for default in (None, Path("workspace")):
        monkeypatch.setattr(next_commands, "typed_workspace", default)
        assert placed(said) == said


def test_every_command_that_is_given_a_workspace_takes_one() -> None:
    commands: Any = get_command(app)
    for name in ("improve", "versions", "jobs", "users", "keys", "runs", "models", "data"):
        group = commands.commands[name]
        for inside in getattr(group, "commands", {name: group}).values():
            if (name, inside.name) != ("data", "show"):
                assert "workspace" in {one.name for one in inside.params}, (name, inside.name)
