"""Pictures in a terminal: a sheet of them in coloured half blocks, under a bar while they are drawn."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.color import Color
from rich.console import Console, Group
from rich.style import Style
from rich.text import Text

from malmoi import progress
from malmoi.cli.console import watched

if TYPE_CHECKING:
    from malmoi.image.draw import Progress
    from malmoi.image.files import Pixels

SIDE, GAP = 20, 2
"""Of a picture in the sheet: columns; a character shows two pixels, one above the other."""


def sheet(pictures: Sequence["Pixels"], columns: int) -> Text:
    """The pictures in rows, as many in a row as fit."""
    from malmoi.image.files import resized

    n_row = max(1, (columns + GAP) // (SIDE + GAP))
    shown = Text(no_wrap=True)
    for first in range(0, len(pictures), n_row):
        row = []
        for one in pictures[first : first + n_row]:
            height, width = one.shape[:2]
            tall = max(2, min(2 * SIDE, round(height * SIDE / width / 2) * 2))
            row.append(resized(one, (tall, SIDE)))
        for y in range(0, max(len(one) for one in row), 2):
            for one in row:
                for x in range(SIDE):
                    style = None
                    if y < len(one):
                        above, below = (Color.from_rgb(*map(int, one[y + i, x])) for i in (0, 1))
                        style = Style(color=above, bgcolor=below)
                    shown.append("▀" if style else " ", style)
                shown.append(" " * GAP)
            shown.append("\n")
    return shown


def shows_colour(console: Console) -> bool:
    return console.is_terminal and console.color_system in ("256", "truecolor") and "utf" in console.encoding.lower()


@contextlib.contextmanager
def drawing_bar() -> Iterator[Callable[["Progress"], None]]:
    """Follow a drawing on standard error: a bar with a sheet under it where there is colour, else as other work."""
    console = Console(stderr=True, highlight=False)
    if not shows_colour(console):
        with watched():
            yield lambda step: progress.report(step.done, step.of, "steps")
        return
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn())
    task: Any = bar.add_task("", total=None)
    with Live(bar, console=console, transient=True, auto_refresh=False) as live:

        def follow(step: "Progress") -> None:
            bar.update(task, completed=step.done, total=step.of)
            live.update(Group(bar, sheet(step.preview(), console.width)), refresh=True)

        live.refresh()
        yield follow
