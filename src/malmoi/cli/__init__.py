"""The command line: parses, calls, prints. Every command imports what it needs itself, so that `--help` is quick.

Each command has its function in the file of its name or of its group; `making` has demo, run, train and doctor.
`pinned` adds to `versions`. `options`, `printing`, `tables` and `console` are shared. `reporting` makes an error one
line and an exit code.
"""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from malmoi import __version__
from malmoi.cli import (
    ask,
    chat,
    corpus,
    corpus_label,  # noqa: F401  # a command of `corpus`
    data,
    data_changes,  # noqa: F401  # commands of `data`
    draw,
    evaluate,
    generate,
    improve,
    index,
    making,
    models,
    pinned,
    quantise,
    runs,
    serve,
    settings,
    stages,
    users,
)
from malmoi.cli.options import HELP
from malmoi.cli.reporting import DEBUG, Reporting, finish_output, open_standard_streams

app = typer.Typer(cls=Reporting, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=HELP)  # fmt: skip # noqa: E501
commands: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Begin": {
        "demo": making.demo, "ask": ask.ask, "chat": chat.chat, "draw": draw.draw, "index": index.index,
        "serve": serve.serve,
    },
    "Train": {"run": making.run, "train": making.train, "doctor": making.doctor, "plan": making.plan,
              "stages": stages.stages},
    "Look": {
        "eval": evaluate.evaluate, "generate": generate.generate, "lineage": runs.lineage, "runs": runs.app,
        "data": data.app, "corpus": corpus.app,
    },
    "Improve": {"improve": improve.improve, "versions": pinned.app, "jobs": improve.jobs},
    "Models": {"models": models.app, "quantise": quantise.quantise},
    "People": {"users": users.users, "keys": users.keys, "settings": settings.settings},
}  # fmt: skip
"""Group of the help page -> its commands, in the order in which they are shown."""
for group, inside in commands.items():
    for name, command in inside.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=group)
        else:
            app.command(name, rich_help_panel=group)(command)


def main() -> None:
    if sys.platform == "win32":
        print(
            "error: Malmoi runs on Linux and macOS; on Windows, install WSL (wsl --install), run it there",
            file=sys.stderr,
        )
        sys.exit(2)
    open_standard_streams()
    # What a terminal cannot show, or should not have sent, must not end the program.
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        stream.reconfigure(errors=errors)  # type: ignore[union-attr]
    try:
        app(prog_name="malmoi")
    finally:
        finish_output()


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"malmoi {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help=f"Show where an error comes from (or {DEBUG}=1).")] = False,
) -> None:
    """Build an assistant of your own: text, tokenizer, pretraining, demonstrations, rankings, reward model, PPO, chat.

    Begin with `malmoi demo`; then `malmoi chat --workspace demo`.
    """
    if debug:
        os.environ[DEBUG] = "1"
