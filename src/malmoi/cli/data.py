"""`malmoi data`: what is in files of conversations, rankings and prompts."""

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli.options import HELP, Json, WorkspaceOption
from malmoi.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Conversations, rankings and prompts: show.", context_settings=HELP)


@app.command("show")
def data_show(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A file, or OWNER/NAME on the hub.", show_default=False)
    ],
    n: Annotated[int, typer.Option("-n", metavar="N", min=0, help="How many examples.")] = 3,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Show them as this model reads them, with what is trained on.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="KIND", help="rankings, conversations or prompts; by default what the file holds."
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Show what a file of conversations, rankings or prompts holds: its format, counts, bad rows, examples.

    JSON lines, JSON and Parquet, packed or not; the columns tell the format. With --model, tokens that are trained on
    are coloured, or are put in ⟦ ⟧ where there are no colours.

    \b
    Example:
      malmoi data show rankings.jsonl.gz -n 1
      malmoi data show chats.parquet --model smollm2-135m
    """
    from malmoi.commands import data
    from malmoi.workspace.folder import Workspace

    if as_json and model is not None:
        raise ConfigError("--model: shows rows to people; with --json they are as they were read, so leave one out")
    found = data.look(source, n, kind, workspace)
    print(data.as_json(found)) if as_json else data.show_found(found, model, Workspace(workspace))
