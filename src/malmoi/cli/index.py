"""`malmoi index`: make the index of a folder of files, or bring it up to date."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malmoi.cli.options import Json, WorkspaceOption, a_path
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.workspace.indexes import Indexed


def index(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of files, or one file.", parser=a_path)],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the index; default: that of the folder.")
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Encoding of text that is not UTF-8, such as cp949 or euc-kr; default: as before, else utf-8.",
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Make an index of your files, in which chat, ask and generate look answers up.

    The same command brings it up to date: files that have changed are read again, files that are gone leave it. What
    cannot be read is passed over and counted. Other commands may read the index meanwhile.

    \b
    Example:
      malmoi index ./notes
      malmoi index ./handbook --name work --workspace demo
    """
    from malmoi.cli.console import watched
    from malmoi.cli.printing import print_json
    from malmoi.corpus.encodings import encoding_name
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.indexes import index_folder

    try:
        encoding = None if encoding is None else encoding_name(encoding)
    except ValueError as error:
        raise ConfigError(f"--encoding {encoding}: {error}") from None
    with watched():
        made = index_folder(Workspace(workspace.resolve()), source, name, encoding)
    print_json(_as_json(made)) if as_json else _show(made, workspace)


def _as_json(made: "Indexed") -> dict[str, Any]:
    done = made.updated
    told = ("files", "passages", "languages", "endings")
    return {
        "name": made.name, "folder": str(made.folder), **{key: done.facts[key] for key in told}, "read": done.n_read,
        "unchanged": done.n_unchanged, "removed": done.n_removed, "changing": done.n_changing,
        "skipped": dict(done.report.skipped),
        "notes": dict(done.report.notes),
    }  # fmt: skip


def _show(made: "Indexed", workspace: Path) -> None:
    from malmoi.cli.next_commands import after_index
    from malmoi.cli.printing import printable

    done, facts = made.updated, made.updated.facts
    endings = ", ".join(f"{n:,} {ending or 'without ending'}" for ending, n in facts["endings"].items())
    lines = [
        f"{made.name}: {facts['passages']:,} passages of {facts['files']:,} documents ({endings})",
        f"{done.n_read:,} files read, {done.n_unchanged:,} unchanged, {done.n_removed:,} gone",
    ]
    lines += [f"passed over: {n:,} × {reason}" for reason, n in done.report.skipped.items()]
    lines += [f"  {example}" for example in done.report.examples]
    lines += [f"read, and worth knowing: {n:,} × {note}" for note, n in done.report.notes.items()]
    if done.n_changing:
        lines.append(f"{done.n_changing:,} files changed while they were read; run the same command again")
    for line in (*lines, f"next: {after_index(workspace)}"):
        print(printable(line))
