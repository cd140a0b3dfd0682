"""Data in and out: `malmoi data add`, `questions`, `list`, `freeze`, `snapshots`, `export`, `forget`"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malmoi.cli.data import app, show_pieces
from malmoi.cli.options import Json, WorkspaceOption, a_path, open_ledger, open_workspace
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.feedback.file_preview import Preview
    from malmoi.workspace.ledger import Ledger

Whose = Annotated[str, typer.Option("--from", metavar="WHOSE", help="Rankings by people, simulated, or all.")]


@app.command("add")
def data_add(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Documents, or files of answers or rankings.", parser=a_path, show_default=False
        ),
    ],
    check: Annotated[bool, typer.Option("--check", help="Only show what would be learned; add nothing.")] = False,
    by_program: Annotated[
        bool, typer.Option("--by-program", help="A program ranked or wrote these, not people.")
    ] = False,
    person: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose chats these are, for a file of chats.")
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Add files to what the assistant looks up or learns from, and show first how a model would read them.

    Documents are copied into the workspace and looked up. Answers, rankings and questions may be in any form that
    `malmoi data show` reads, or as `malmoi data export` wrote them; the next `malmoi improve` learns from them. The
    same file again adds nothing. A file is refused if nothing would be learned from it.

    \b
    Example:
      malmoi data add handbook.pdf notes.md --workspace demo
      malmoi data add rankings.jsonl --check
    """  # fmt: skip
    from malmoi.cli.console import watched
    from malmoi.cli.printing import print_json
    from malmoi.feedback.accounts import id_of_name
    from malmoi.feedback.file_adding import add_file
    from malmoi.feedback.file_preview import CHATS, preview, reading_of
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.ledger import Ledger
    from malmoi.workspace.opening import opened

    text = reading_of(Workspace(workspace.resolve()))
    found = [preview(file, text) for file in files]
    rows: list[dict[str, Any]] = [one.to_row() for one in found]
    if not as_json:
        for one in found:
            _show_preview(one)
    if refused := [one for one in found if one.problem is not None]:
        raise ConfigError(f"{refused[0].name}: nothing of it would be learned; every answer in it is marked so")
    if not check:
        if any(one.kind == CHATS for one in found) and person is None:
            raise ConfigError("--person: a file of chats belongs to somebody; give their name")
        with opened(workspace) as here, Ledger.open(here) as ledger, watched():
            who = "" if person is None else id_of_name(ledger, person)
            added = [add_file(ledger, file, who, by_program=by_program) for file in files]
        rows = [row | {"added": one.to_row()} for row, one in zip(rows, added, strict=True)]
        for row in [] if as_json else rows:
            _show_added(row)
    if as_json:
        print_json(rows)


@app.command("questions")
def data_questions(
    n: Annotated[int, typer.Option("--n", min=1, max=100, help="How many.")] = 20,
    language: Annotated[str, typer.Option("--language", metavar="en|ko", help="In which language.")] = "en",
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who asks; default: the name of this account.")] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Ask questions that the workspace's documents answer, for people to rank.

    They are about headings and functions drawn by chance; none is asked twice. Answers are made when the
    machine is free.

    \b
    Example:
      malmoi data questions --n 10 --language ko --workspace demo
    """
    if language not in ("en", "ko"):
        raise ConfigError(f"--language: {language} is neither en nor ko")
    from malmoi.cli.answers import open_lookup
    from malmoi.cli.printing import print_json, printable
    from malmoi.cli.versions import who
    from malmoi.feedback.document_questions import ask_from_documents
    from malmoi.feedback.terminal import person_at_terminal
    from malmoi.workspace.indexes import find_index

    with open_ledger(workspace) as ledger:
        index = find_index(open_workspace(workspace))
        lookup = None if index is None else open_lookup(index)
        person = "" if lookup is None else person_at_terminal(ledger, who(by))
        asked = ask_from_documents(ledger, person, lookup, language, n)
    print_json(asked) if as_json else print("\n".join(map(printable, asked)))


@app.command("list")
def data_list(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Say what the assistant looks up and learns from: documents, answers, rankings, by whom.

    \b
    Example:
      malmoi data list --workspace demo
    """
    from malmoi.cli.printing import print_json, printable
    from malmoi.feedback.forgetting import people_with_data
    from malmoi.feedback.shown_data import data_overview
    from malmoi.workspace.documents import list_documents

    with open_ledger(workspace) as ledger:
        found = data_overview(ledger) | {"people": people_with_data(ledger)}
        texts = list_documents(open_workspace(workspace))
    if as_json:
        print_json(found | {"look_up": texts})
        return
    lines = [
        f"documents   {texts['files']:,}, {texts['passages']:,} passages",
        *(f"  {title}" for title in texts["titles"]),
        f"answers     {found['answers']:,} that people wrote",
        f"rankings    {found['rankings']:,} by people",
        f"labels      {found['labels']:,} of pages, keep or drop",
        f"snapshots   {found['snapshots']:,}",
        f"withheld    {found['n_withheld_chats']:,} chats that may not teach",
    ]
    for one in found["people"]:
        mark = " (simulated)" if one["simulated"] else ""
        said = f"{one['n_rankings']:,} rankings, {one['n_answers']:,} answers, {one['n_labels']:,} labels"
        lines.append(f"  {one['name']}{mark}: {said}")
    for line in lines:
        print(printable(line))


@app.command("remove")
def data_remove(
    name: Annotated[str, typer.Argument(metavar="FILE", help="A document that was added.", show_default=False)],
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Take a document out of the look-up again.

    \b
    Example:
      malmoi data remove notes.md --workspace demo
    """
    from malmoi.cli.printing import printable
    from malmoi.workspace.documents import remove_document

    remove_document(open_workspace(workspace), name)
    print(printable(f"{name} is not looked up any more"))


@app.command("freeze")
def data_freeze(whose: Whose = "people", workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Freeze the rankings and answers that may be learned from now, each into a file that never changes.

    The same selection gives the same bytes. It leaves out what people withdrew, and chats that may not teach.

    \b
    Example:
      malmoi data freeze --workspace demo
    """
    from malmoi.feedback.snapshots import freeze_now
    from malmoi.workspace.ledger import Ledger

    if whose not in ("people", "simulated", "all"):
        raise ConfigError(f"--from {whose}: expected people, simulated, all")
    with Ledger.open(open_workspace(workspace)) as ledger:
        rows = freeze_now(ledger, whose)  # type: ignore[arg-type]
    _show_snapshots(rows, as_json)


@app.command("snapshots")
def data_snapshots(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List the snapshots, the newest first: those that were frozen, and those that runs made.

    \b
    Example:
      malmoi data snapshots --workspace demo
    """
    from malmoi.feedback.snapshots import list_snapshots

    with open_ledger(workspace) as ledger:
        rows = list_snapshots(ledger)
    _show_snapshots(rows, as_json)


@app.command("export")
def data_export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A new file, .jsonl or .parquet.", parser=a_path, show_default=False)
    ],
    form: Annotated[
        str,
        typer.Option(metavar="FORM", help="ranked or pairs (of rankings), messages (of answers), labels (of pages)."),
    ] = "ranked",
    snapshot: Annotated[
        str | None, typer.Option(metavar="ID", help="A snapshot's first digits; default: as it is now.")
    ] = None,
    whose: Whose = "people",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Write rankings or answers to a file, for other tools, or for `malmoi data add` in another workspace.

    pairs has a row for each two answers if one is better: prompt, chosen, rejected, and the group they are from.
    labels is what people said of pages, keep or drop: `malmoi corpus build --set labels=[...]` learns from it.

    \b
    Example:
      malmoi data export rankings.jsonl --workspace demo
      malmoi data export labels.jsonl --form labels --workspace demo
      malmoi data export pairs.parquet --form pairs --workspace demo
    """
    from malmoi.cli.printing import printable
    from malmoi.feedback.exchange import FORMATS, write_exported
    from malmoi.feedback.shown_data import export_rows

    if file.suffix.removeprefix(".") not in FORMATS:
        raise ConfigError(f"{file}: the name of the file ends with .jsonl or .parquet")
    if whose not in ("people", "simulated", "all"):
        raise ConfigError(f"--from {whose}: expected people, simulated, all")
    if file.exists():
        raise ConfigError(f"{file}: is there already; choose another name")
    with open_ledger(workspace) as ledger:
        rows = export_rows(ledger, form, snapshot, whose)
    if not rows:
        raise ConfigError("there is nothing to export yet")
    write_exported(file, rows)
    print(printable(f"{file}: {len(rows):,} rows"))


@app.command("forget")
def data_forget(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person's name, or id.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; otherwise only list what has learned from them.")] = False,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Delete what a person said here: account, chats, rankings, answers, questions, labels.

    It is in no snapshot from then on. What has learned from it already stays as it is, and is listed; so are copies of
    the database from before (malmoi.db.bak-…), which keep it until you delete them.

    \b
    Example:
      malmoi data forget Mina --workspace demo
      malmoi data forget Mina --yes --workspace demo
    """
    from malmoi.cli.printing import print_json, printable
    from malmoi.feedback.forgetting import forget_person, learned_from_person, people_with_data, still_named_in
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(workspace)) as ledger:
        id = _id_of(ledger, name)
        if yes:
            learned = forget_person(ledger, id)
        else:
            [named] = [one["name"] for one in people_with_data(ledger) if one["id"] == id]
            learned = learned_from_person(ledger, id) | {"files": still_named_in(ledger, id, named)}
    if as_json:
        print_json(learned | {"forgotten": yes})
        return
    print(printable(f"{name} is forgotten" if yes else f"{name} would be forgotten with --yes"))
    for title, found in (
        ("snapshots", learned["snapshots"]),
        ("models", [f"{one['run']} {one['hash'][:12]}" for one in learned["artefacts"]]),
        ("versions", learned["versions"]),
    ):
        print(printable(f"  {title} that learned from it: {', '.join(found) or 'none'}"))
    print(printable(f"  files that keep it until you delete them: {', '.join(learned['files']) or 'none'}"))


def _id_of(ledger: "Ledger", name: str) -> str:
    from malmoi.feedback.forgetting import people_with_data

    people = people_with_data(ledger)
    found = [one["id"] for one in people if name in (one["name"], one["id"])]
    if len(found) == 1:
        return str(found[0])
    said = f"{len(found)} people have this name; give the id" if found else "nobody of this name said anything here"
    raise ConfigError(f"{name}: {said}; malmoi data list --json shows who")


def _show_preview(found: "Preview") -> None:
    from rich.console import Console

    from malmoi.cli.printing import WIDE, printable

    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, soft_wrap=True, markup=False)
    learned = "" if found.learned is None else f", {100 * found.learned:.0f} % of the text would be learned"
    console.print(printable(f"{found.name}: {found.kind}, {found.n_rows:,} rows{learned}"))
    for row in found.rows:
        console.print(printable(str(row["where"])), style="bold")
        for text in row["texts"]:
            show_pieces(
                console,
                text["title"] and f"{text['title']}  ",
                [(one["text"], one["learned"]) for one in text["pieces"]],
            )
    if found.n_too_long:
        console.print(f"{found.n_too_long:,} of these are longer than the model reads")
    for reason, n in found.left_out.items():
        console.print(printable(f"left out: {n:,} × {reason}"))


def _show_added(row: dict[str, Any]) -> None:
    from malmoi.cli.printing import printable

    added = row["added"]
    known = f", {added['n_known']:,} were there already" if added["n_known"] else ""
    print(printable(f"{row['name']}: {added['n']:,} new{known}"))
    for reason, n in added["left_out"].items():
        if n:
            print(printable(f"  left out: {n:,} × {reason}"))


def _show_snapshots(rows: list[dict[str, Any]], as_json: bool) -> None:
    from malmoi.cli.printing import print_json, show, table

    if as_json:
        print_json(rows)
        return
    shown = [
        (row["name"], row["what"], f"{row['n']:,}", ", ".join(f"{one['name']} {one['n']:,}" for one in row["people"]),
         row["run"] or "", row["created_at"][:19])
        for row in rows
    ]  # fmt: skip
    show(table(["snapshot", "of", "rows", "by", "run", "made"], shown))
