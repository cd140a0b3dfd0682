"""What many commands share: options, and the open ledger of a workspace."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from malmoi.workspace.ledger import Ledger

HELP = {"help_option_names": ["-h", "--help"]}

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", envvar="MALMOI_WORKSPACE", metavar="DIR", help="Folder that holds the assistant.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@contextlib.contextmanager
def open_ledger(folder: Path) -> "Iterator[Ledger]":
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(Workspace.open(folder, create=False)) as ledger:
        yield ledger
