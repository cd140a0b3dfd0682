"""`malmoi runs` and `malmoi lineage`: what is in the ledger of a workspace."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.cli import completion
from malmoi.cli.options import HELP, Json, WorkspaceOption, open_ledger
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.workspace.ledger import Ledger
    from malmoi.workspace.versions import Version

app = typer.Typer(no_args_is_help=True, help="What was run in a workspace: list, show, compare.", context_settings=HELP)  # fmt: skip # noqa: E501

RunArgument = Annotated[
    str,
    typer.Argument(metavar="ID", help="A run: 0007-ppo, or 7.", show_default=False, autocompletion=completion.run_ids),
]


@app.command("list")
def runs_list(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List all runs, oldest first.

    \b
    Example:
      malmoi runs list --workspace demo
    """
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import runs_table
    from malmoi.workspace.runs import list_runs

    with open_ledger(workspace) as ledger:
        rows = list_runs(ledger)
    print_json(rows) if as_json else show(runs_table(rows))


@app.command("show")
def runs_show(run: RunArgument, workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Show one run: its settings, inputs, outputs and last metrics.

    \b
    Example:
      malmoi runs show 7 --workspace demo
    """
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import run_table
    from malmoi.workspace.runs import show_run

    with open_ledger(workspace) as ledger:
        row = show_run(ledger, run)
    print_json(row) if as_json else show(run_table(row))


@app.command("compare")
def runs_compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="ID ID...", help="Two or more runs.", show_default=False, autocompletion=completion.run_ids
        ),
    ],
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Compare runs: the settings that differ, and the last metrics of each.

    \b
    Example:
      malmoi runs compare 7 9 --workspace demo
    """
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import compare_table
    from malmoi.workspace.runs import compare_runs

    if len(set(names)) < 2:
        raise ConfigError("runs compare: give two or more different runs")
    with open_ledger(workspace) as ledger:
        rows = compare_runs(ledger, names)
    print_json(rows) if as_json else show(compare_table(rows))


def lineage(
    what: Annotated[
        str,
        typer.Argument(
            help="A run, an answer (answer-12), a drawing (drawing-3), a version (v2), a path, or the first digits of "
            "a SHA-256.",
            autocompletion=completion.run_ids,
        ),
    ],
    down: Annotated[
        bool,
        typer.Option("--down", help="The other way: everything made from it, or from a person's judgements."),
    ] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Show where something comes from: runs, seeds, settings and people, down to the text.

    An answer of `chat` or `ask` comes from its sources, each a sentence in a line of a file, whose row of the corpus
    says licence and origin; from the index in which they were found; and from the model. A picture of `draw`, named by
    its PNG file, comes from its model, and that from its captions.

    \b
    Example:
      malmoi lineage models/ppo --workspace demo
      malmoi lineage 0001-corpus --down --workspace demo
      malmoi lineage answer-1 --workspace demo
      malmoi lineage v2 --workspace demo
      malmoi lineage circle-1.png --workspace picture
    """
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import answer_tree, drawing_tree, lineage_tree, made_table
    from malmoi.workspace.answer_lineage import answer_rows, trace_answer
    from malmoi.workspace.answers import is_answer
    from malmoi.workspace.drawings import drawing_rows, is_drawing, trace_drawing
    from malmoi.workspace.runs import descend, lineage_rows, made_row, trace
    from malmoi.workspace.version_lineage import version_called

    if down and (is_answer(what) or is_drawing(what)):
        kind = "an answer" if is_answer(what) else "a picture"
        raise ConfigError(f"{what}: nothing is made from {kind}; leave --down out")
    with open_ledger(workspace) as ledger:
        if is_answer(what):
            answer = trace_answer(ledger, what)
            print_json(answer_rows(answer, ledger)) if as_json else show(answer_tree(answer, ledger))
            return
        if is_drawing(what):
            drawing = trace_drawing(ledger, what)
            print_json(drawing_rows(drawing, ledger)) if as_json else show(drawing_tree(drawing, ledger))
            return
        version = version_called(ledger, what)
        if version is not None and not down:
            _show_version(ledger, version, as_json)
            return
        if down:
            found = descend(ledger, what if version is None else version.policy_sha256)
            print_json([made_row(made) for made in found]) if as_json else show(made_table(found))
        else:
            tree = trace(ledger, what)
            print_json(lineage_rows(tree, ledger)) if as_json else show(lineage_tree(tree, ledger))


def _show_version(ledger: "Ledger", version: "Version", as_json: bool) -> None:
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import version_tree
    from malmoi.workspace.version_lineage import trace_version, version_rows

    traced = trace_version(ledger, version)
    print_json(version_rows(traced, ledger)) if as_json else show(version_tree(traced, ledger))
