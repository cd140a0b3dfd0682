"""Every command that a page prints is one: parsed as the command line would, options and all, without running it."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from malmoi.cli import app

ROOT = Path(__file__).parents[2]
HELP = ROOT / "docs" / "reference" / "cli.md"
"""Made from the command line itself."""
PAGES = sorted({*(ROOT / "docs").rglob("*.md"), *ROOT.glob("README*.md"), ROOT / "CONTRIBUTING.md"} - {HELP})


def commands_of(page: Path) -> list[str]:
    """Lines of blocks of code that begin with `malmoi`, also after a pipe; not what only shows a form, with [ ]."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(?:sh|bash)?\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    parts = [part for block in blocks for line in block.splitlines() for part in re.split(r" \| ", line)]
    commands = [re.split(r" [#>] ", part)[0].removeprefix("$ ").strip() for part in parts]
    return [command for command in commands if command.startswith("malmoi ") and "[" not in command]


COMMANDS = sorted({(command, page.relative_to(ROOT).as_posix()) for page in PAGES for command in commands_of(page)})


def test_there_is_something_to_type() -> None:
    assert len(COMMANDS) > 50


@pytest.mark.parametrize(("line", "page"), COMMANDS)
def test_command_is_understood(line: str, page: str) -> None:
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    context = command.make_context("malmoi", list(words), resilient_parsing=True)
    while hasattr(command, "commands"):
        name, command, words = command.resolve_command(context, words)
        assert command is not None, line
        # Not resilient: an unknown option or a missing argument is an error here.
        parse = not hasattr(command, "commands")
        context = command.make_context(name, list(words), parent=context, resilient_parsing=not parse)
