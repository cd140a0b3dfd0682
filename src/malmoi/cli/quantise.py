"""`malmoi quantise`: what fewer bits cost, and what they win."""

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli import completion
from malmoi.cli.options import Json, WorkspaceOption, a_path


def quantise(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model of the workspace or a model folder; default: the newest.",
            autocompletion=completion.model_names,
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(metavar="FORMATS", help="Formats to compare with the usual one, separated by commas.")
    ] = "int8,int4",
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Held-out text; default: the newest corpus's, or Python's documentation.",
            parser=a_path,
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Measure what a model loses and gains with 8-bit or 4-bit weights.

    Shows bytes of all weights, tokens per second of one stream, perplexity, and how often the likeliest next token
    stays the same. Quantising takes a second; `malmoi chat --weights` does it when it loads a model.

    \b
    Example:
      malmoi quantise smollm2-135m
    """
    from malmoi.cli.next_commands import after_quantising
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import quantised_table
    from malmoi.evals.quantised import measure_formats
    from malmoi.inference.weights import weights_named
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.heldout import heldout_text
    from malmoi.workspace.models import find_model

    here, formats = Workspace(workspace), [*map(weights_named, ("auto", *weights.split(",")))]
    name, folder = find_model(here, model)
    found = measure_formats(name, folder, formats, *heldout_text(here, text))
    if as_json:
        print_json(found)
        return
    show(quantised_table(found))
    fastest = max(found["formats"], key=lambda row: row["tokens_per_s"])["weights"]
    command = after_quantising(model or name, workspace, fastest)
    typer.secho(f"{fastest} is the fastest here; next: {command}", err=True, dim=True)
