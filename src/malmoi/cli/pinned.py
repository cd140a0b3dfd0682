"""`malmoi versions pin|pinned|unpin|check|export`: questions that every version is asked, and taking one elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli import versions
from malmoi.cli.next_commands import placed
from malmoi.cli.options import Json, WorkspaceOption, a_path, open_ledger, open_workspace
from malmoi.cli.versions import By, Name, verdict_lines, who

app = versions.app
"""These commands belong to `malmoi versions`."""


@app.command()
def pin(
    question: Annotated[str, typer.Argument(help="A question.", show_default=False)],
    must: Annotated[
        list[str] | None,
        typer.Option(metavar="WORDS", help="Words that a right answer holds; give it again for more."),
    ] = None,
    by: By = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Pin a question: every version is asked it, and a candidate must not lose what the version in service knows.

    \b
    Example:
      malmoi versions pin "When does the library open?" --must nine --workspace demo
    """
    from malmoi.feedback.pinned import pin as keep
    from malmoi.feedback.terminal import person_at_terminal
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        row = keep(ledger, question, must or (), person_at_terminal(ledger, who(by)))
    print(f"{row['id']} is pinned{'' if row['must'] else '; it is only shown, because no --must says what is right'}")


@app.command()
def pinned(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List the pinned questions.

    \b
    Example:
      malmoi versions pinned --workspace demo
    """
    from malmoi.cli.printing import print_json, show, table
    from malmoi.feedback.pinned import pinned_questions

    with open_ledger(workspace) as ledger:
        rows = pinned_questions(ledger)
    if as_json:
        print_json(rows)
    elif not rows:
        print(placed("no question is pinned; malmoi versions pin QUESTION --must WORDS"))
    else:
        shown = [(row["id"], row["text"], ", ".join(row["must"]) or "(only shown)") for row in rows]
        show(table(["id", "question", "a right answer holds"], shown))


@app.command()
def unpin(
    id: Annotated[str, typer.Argument(metavar="ID", help="Of a pinned question.", show_default=False)],
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Remove a pinned question: no version is asked it any more, and it no longer counts.

    \b
    Example:
      malmoi versions unpin q-3fa92c41d7e0b518 --workspace demo
    """
    from malmoi.feedback.pinned import unpin as take_out
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        take_out(ledger, id)
    print(f"{id} is taken out")


@app.command()
def export(
    version: Name,
    form: Annotated[
        str, typer.Option("--to", metavar="FORM", help="hf: a folder; gguf, gguf-q8_0: a file, with 32 or 8 bits.")
    ] = "gguf-q8_0",
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="What to write; default: in the workspace's exports.", parser=a_path),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Take a version elsewhere, and say what that costs in quality.

    \b
    Example:
      malmoi versions export v2 --workspace demo
    """
    from malmoi.cli.printing import print_json
    from malmoi.pipeline.export import export_version
    from malmoi.units import size

    with open_ledger(workspace) as ledger:
        row = export_version(ledger, version, form, out)
    if as_json:
        print_json(row)
        return
    print(f"{row['path']}  {size(row['n_bytes'])}")
    if cost := row["cost"]:
        print(f"on {cost['text']}: {cost['bits_per_byte']:.4f} bits per byte, {cost['bits_per_byte_before']:.4f} "
              f"before; the likeliest next token is the same in {cost['agreement']:.1%}")  # fmt: skip
    if row["alone"]:
        print("note: this is only the policy; the reward model that picks the best of n answers stays here")


@app.command()
def check(version: Name, workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Ask a version the pinned questions that it has not been asked, and the judge what it finds.

    A job of malmoi improve does this at its end.

    \b
    Example:
      malmoi versions check v2 --workspace demo
    """
    from malmoi.cli.printing import print_json
    from malmoi.errors import ConfigError
    from malmoi.feedback.contenders import Match
    from malmoi.feedback.gate_comparisons import verdict_of
    from malmoi.workspace.ledger import Ledger
    from malmoi.workspace.versions import find_version, in_service

    with Ledger.open(open_workspace(workspace)) as ledger:
        candidate, serving = find_version(ledger, version), in_service(ledger)
        if serving is None or serving.number == candidate.number:
            raise ConfigError(f"{version}: is in service, and there is nothing to compare it with")
        Match(ledger, candidate, serving).check()
        verdict = verdict_of(ledger, candidate, serving)
    print_json(verdict.to_row()) if as_json else print("\n".join(verdict_lines(verdict)))
