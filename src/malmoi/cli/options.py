"""What many commands share: options, and the open ledger of a workspace."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.errors import RENAME, quoted, spelt_out

if TYPE_CHECKING:
    from malmoi.workspace.ledger import Ledger

HELP = {"help_option_names": ["-h", "--help"]}
MOST_SEED = 2**63 - 1


def a_path(given: str | Path) -> Path:
    """A path as typed, or the option's default. An empty one would mean the current folder, which nobody meant."""
    text = str(given)
    if not text.strip():
        raise typer.BadParameter("is empty; name a file or folder")
    if "\0" in text:
        raise typer.BadParameter("has a zero byte in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        named = f"{spelt_out(text)} is not UTF-8"
        raise typer.BadParameter(f"{named}; rename the file or folder, such as by {RENAME} {quoted(text)}") from None
    return Path(text)


WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace", envvar="MALMOI_WORKSPACE", metavar="DIR", parser=a_path, help="Folder that holds the assistant."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@contextlib.contextmanager
def open_ledger(folder: Path) -> "Iterator[Ledger]":
    """The ledger, to read in it; the workspace may be one that cannot be written."""
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(Workspace.open(folder, create=False), only_read=True) as ledger:
        yield ledger
