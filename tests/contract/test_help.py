"""The help pages: quick, complete, and the same as in docs/reference/cli.md.

After a change to the command line: `MALMOI_WRITE_DOCS=1 python -m pytest tests/contract/test_help.py`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from malmoi.cli import app

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
INTRODUCTION = """# Command line

Exit codes:

- 0: done.
- 2: a mistake that you can correct, in one line on stderr.
- 130: stopped; the same command continues from there.
- 141: the program that read the output has ended (`| head`).
- 1: a bug in Malmoi. Please report it, with what `malmoi --debug …` or `MALMOI_DEBUG=1` shows.

`malmoi help COMMAND` is `malmoi COMMAND --help`; `malmoi quantize` is `malmoi quantise`. `malmoi --install-completion`
lets bash, zsh and fish complete commands, options, and the names of models, runs, recipes, stages and workspaces;
`malmoi --show-completion` prints what it would add to the shell's settings. [environment.md](environment.md) lists the
environment variables.
"""
LOOK = """
import sys
from malmoi.cli import main
sys.argv = ["malmoi", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"torch", "numpy", "sqlalchemy", "matplotlib", "tokenizers", "jinja2"} & set(sys.modules)
    print(*sorted(heavy), file=sys.stderr)
"""


def commands(command: Any, name: str = "malmoi") -> Iterator[tuple[str, Any]]:
    """(full name, command) of everything that can be typed, groups first."""
    yield name, command
    for below, found in getattr(command, "commands", {}).items():
        yield from commands(found, f"{name} {below}")


COMMANDS = dict(commands(typer.main.get_command(app)))


def page() -> str:
    """docs/reference/cli.md as it should be."""
    return "\n".join([INTRODUCTION, *(section(name, command) for name, command in COMMANDS.items())])


def section(name: str, command: Any) -> str:
    told, _, example = cleandoc(command.help or "").replace("\b\n", "").partition("Example:\n")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.help and p.name != "help"]
    words = [
        name,
        *(["[OPTIONS]"] if options else []),
        *(metavar(p) if p.required else f"[{metavar(p)}]" for p in arguments),
    ]
    usage = " ".join([*words, *(["COMMAND"] if hasattr(command, "commands") else [])])
    parts = [f"## {name}\n", told.strip() + "\n", f"```\n{usage}\n```\n"]
    if arguments or options:
        rows = [(metavar(p), p) for p in arguments]
        rows += [(f"{p.opts[0]} {p.metavar}" if p.metavar else p.opts[0], p) for p in options]
        parts.append(
            "\n".join(["| | |", "|-|-|", *(f"| `{cell(shown)}` | {cell(meaning(p))} |" for shown, p in rows)]) + "\n"
        )
    if example:
        parts.append(f"```\n{cleandoc('  ' + example.strip())}\n```\n")
    return "\n".join(parts)


def metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def meaning(parameter: Any) -> str:
    default = parameter.default
    shown = "" if default is None or default is False or parameter.required else f" Default: `{default}`."
    variable = f" Or set `{parameter.envvar}`." if parameter.envvar else ""
    return f"{parameter.help}{shown}{variable}"


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["chat", "-h"], ["runs", "list", "--help"], ["--version"]]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LOOK, *words], capture_output=True, text=True, timeout=600, check=True)
    assert done.stderr.split() == []


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if not hasattr(command, "commands")])
def test_every_command_says_what_it_does_with_an_example(name: str) -> None:
    done = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert done.exit_code == 0
    assert f"malmoi {name.split()[1]}" in done.output.partition("Example:")[2]
    assert all(p.help for p in COMMANDS[name].params)


def test_the_reference_is_up_to_date() -> None:
    if os.environ.get("MALMOI_WRITE_DOCS"):
        REFERENCE.write_text(page(), encoding="utf-8")
    assert REFERENCE.read_text(encoding="utf-8") == page()
