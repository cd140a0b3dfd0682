"""`malmoi data show`: what files of conversations, rankings and prompts hold. `data_changes` adds and exports."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malmoi.cli.options import HELP, Json, WorkspaceOption
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from malmoi.data.overview import Overview, Piece
    from malmoi.data.rows import Row
    from malmoi.tokenizer.bpe import Tokenizer
    from malmoi.tokenizer.chat_template import ChatTemplate

TRAINED = "green"

app = typer.Typer(
    no_args_is_help=True, help="What is learned from: show, add, freeze, export, forget.", context_settings=HELP
)


@app.command("show")
def data_show(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A file, or OWNER/NAME on the hub.", show_default=False)
    ],
    n: Annotated[int, typer.Option("-n", metavar="N", min=0, help="Number of examples.")] = 3,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Show them as this model reads them; mark trained tokens."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="KIND", help="rankings, conversations or prompts; default: detected from the file."
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Show what a file of conversations, rankings or prompts holds: its format, counts, bad rows, examples.

    Reads JSON lines, JSON and Parquet, compressed or not; the columns decide the format. With --model, tokens that are
    trained on are coloured, or are in ⟦ ⟧ if there are no colours.

    \b
    Example:
      malmoi data show rankings.jsonl.gz -n 1
      malmoi data show chats.parquet --model smollm2-135m
    """
    from malmoi.cli.printing import print_json
    from malmoi.data.overview import READERS, overview
    from malmoi.formats.folder import load_text
    from malmoi.stages.data import open_source
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.models import find_model

    if as_json and model is not None:
        raise ConfigError("--model: marks tokens for people, and --json prints the rows as read; leave one out")
    if kind is not None and kind not in READERS:
        raise ConfigError(f"--as {kind}: not known; {', '.join(READERS)} are")
    opened = open_source(source, workspace / "data")
    found = overview(opened.files, n, kind, opened.commit)
    if as_json:
        print_json({**found.facts, "rows": [{"where": where, **row} for where, row in found.examples]})
    else:
        _show(found, load_text(find_model(Workspace(workspace), model)[1]) if model else None)


def _show(found: "Overview", text: "tuple[Tokenizer, ChatTemplate] | None") -> None:
    """Counts, then the examples.

    text: tokenizer and template of the model that reads them; text that is trained on is coloured on a terminal, and in
    ⟦ ⟧ elsewhere
    """
    from rich.console import Console
    from rich.text import Text

    from malmoi.cli.printing import WIDE, printable
    from malmoi.data.overview import as_read

    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False, soft_wrap=True)
    for name, value in found.facts.items():
        for line in value if isinstance(value, list) else [_inline(value)]:
            console.print(Text(f"{name:14}{printable(line)}"))
    for where, row in found.examples:
        console.print(Text(f"\n{where}  {row['source']}, tree {row['tree']}", style="bold"))
        if text is None:
            for line in _turns(row):
                console.print(line)
            continue
        for title, pieces in as_read(found.kind, row, *text):
            show_pieces(console, title, pieces)


def show_pieces(console: "Console", title: str, pieces: "Sequence[Piece]") -> None:
    """A text as a model reads it; what it learns is coloured on a terminal, and in ⟦ ⟧ elsewhere."""
    from rich.text import Text

    console.print(Text.assemble((title, "bold"), _marked(pieces, console.is_terminal)))


def _inline(value: Any) -> str:
    if not isinstance(value, dict):
        return f"{value:,}" if isinstance(value, int) else str(value)
    shown = [f"{name}: {n:,}" for name, n in value.items()]
    return ", ".join([*shown[:12], *(["…"] if len(shown) > 12 else [])])


def _turns(row: "Row") -> "Iterator[Text]":
    """A row as people wrote it: a line for each message and answer."""
    from rich.text import Text

    from malmoi.cli.printing import printable
    from malmoi.data.overview import best_first

    for turn in row["messages"]:
        for document in turn.get("documents") or ():
            yield Text(f"{'document':10} {printable(document['title'])}: {printable(document['text'])}", style="dim")
        yield Text(f"{turn['role']:10} {printable(turn['content'])}", style=TRAINED * (turn["role"] == "assistant"))
    for rank, answer in best_first(row):
        yield Text(f"{f'rank {rank}':10} {printable(answer)}", style=TRAINED)


def _marked(pieces: "Sequence[Piece]", in_colour: bool) -> "Text":
    from rich.text import Text

    from malmoi.cli.printing import printable

    text = Text()
    for piece, is_trained in pieces:
        shown = printable(piece)
        style = TRAINED if is_trained else "dim"
        text.append(shown if in_colour or not is_trained else f"⟦{shown}⟧", style=style)
    return text
