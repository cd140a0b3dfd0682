"""What the README tells a newcomer to type exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from malmoi.cli import app

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
LINES = [line.split(" #")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("malmoi ")]
TARGETS = [line.split()[1] for line in LINES if line.startswith("make ")]


def test_there_is_something_to_type() -> None:
    assert len(COMMANDS) >= 6 and TARGETS == ["demo", "install", "test"]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_is_understood(line: str) -> None:
    """Parsed as the command line would, options and all, without running it."""
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    context = command.make_context("malmoi", list(words), resilient_parsing=True)
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, words)
        assert command is not None, line
        # Not resilient: an unknown option or a missing argument is an error here.
        parse = not hasattr(command, "commands")
        context = command.make_context(name, list(words), parent=context, resilient_parsing=not parse)


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_files_and_folders_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:src|docs|recipes)/[\w./-]+|CONTRIBUTING\.md)`", text):
        assert (ROOT / name).exists(), name
