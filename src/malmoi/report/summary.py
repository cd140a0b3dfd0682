"""The table that a run prints at its end."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from malmoi.units import duration

if TYPE_CHECKING:
    from rich.table import Table

Report = Mapping[str, Any]


def summary_rows(report: Report) -> list[tuple[str, str, str]]:
    """(figure, before → after, 95 % interval) for each figure of the stages' summaries, then time and memory."""
    rows = [(figure, values, interval) for figure, values, interval in report["summary"]]
    rows.append(("time in all", duration(report["seconds"]["total"]), ""))
    rows.append(("peak memory", f"{report['peak_memory_bytes'] / 1e9:.2f} GB", ""))
    return rows


def summary_table(report: Report) -> "Table":
    """The summary as a table for rich, with alarms as its caption; its columns are named if they hold figures."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", caption_justify="left")
    table.show_header = bool(report["summary"])
    table.add_column("held out")
    table.add_column("figure", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    for row in summary_rows(report):
        table.add_row(*map(Text, row))
    if alarms := report["alarms"]:
        table.caption = Text("\n".join(f"alarm: {cause}" for cause in alarms), style="yellow")
    return table
