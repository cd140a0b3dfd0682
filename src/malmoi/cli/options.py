"""What many commands share: options, and opening a workspace and its ledger."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.cli import completion, next_commands
from malmoi.errors import RENAME, printable, shell_quoted

if TYPE_CHECKING:
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.ledger import Ledger

HELP = {"help_option_names": ["-h", "--help"]}
MOST_SEED = 2**63 - 1


def a_path(given: str | Path) -> Path:
    """A path as typed, or the option's default. Refuses an empty one, which Python reads as the current folder."""
    text = str(given)
    if not text.strip():
        raise typer.BadParameter("is empty; name a file or folder")
    if "\0" in text:
        raise typer.BadParameter("has a zero byte in it")
    try:
        text.encode()
    except UnicodeEncodeError:
        named = f"{printable(text)} is not UTF-8"
        raise typer.BadParameter(
            f"{named}; rename the file or folder, such as by {RENAME} {shell_quoted(text)}"
        ) from None
    return Path(text)


def a_workspace(given: str | Path) -> Path:
    """A folder of a workspace, which may not be there yet. Refuses a file."""
    path = a_path(given)
    with contextlib.suppress(OSError):  # a place that may not be read says so when it is opened
        if path.is_file():
            raise typer.BadParameter(f"{path} is a file; a workspace is a folder, choose another path")
    next_commands.typed_workspace = path
    return path


WorkspaceOption = Annotated[
    Path,
    typer.Option(
        "--workspace", envvar="MALMOI_WORKSPACE", metavar="DIR", parser=a_workspace,
        help="Folder that holds the assistant.", autocompletion=completion.workspaces,
    ),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
On = Annotated[
    str | None,
    typer.Option(
        metavar="ray[://HOST:PORT]",
        help="Compute on a Ray cluster, whose machines share this folder; without an address, on this machine's Ray.",
    ),
]
Ranks = Annotated[
    int | None,
    typer.Option(
        min=1, max=4096, show_default=False,
        help="With --on: processes that train together; default: one for each GPU, or for each machine.",
    ),
]  # fmt: skip
Model = Annotated[
    str,
    typer.Argument(
        help="A model of the workspace or a model folder.", show_default=False, autocompletion=completion.model_names
    ),
]
Weights = Annotated[
    str,
    typer.Option(metavar="FORMAT", help="Number format of the weights: auto, float32, bfloat16, int8, int4."),
]


def open_workspace(folder: Path) -> "Workspace":
    """An existing workspace; a missing one is an error."""
    from malmoi.workspace.folder import Workspace

    return Workspace.open(folder, create=False)


@contextlib.contextmanager
def open_ledger(folder: Path) -> "Iterator[Ledger]":
    """The ledger of a workspace, to read from; the workspace may be read-only."""
    from malmoi.workspace.ledger import Ledger

    with Ledger.open(open_workspace(folder), only_read=True) as ledger:
        yield ledger
