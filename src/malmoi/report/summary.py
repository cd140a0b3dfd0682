"""The figures of a report in words: for the terminal's table and for the page."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Report = Mapping[str, Any]

# What the terminal shows: figure, section, key before (or none), key after, key of the interval (or none).
SUMMARY = (
    ("held-out bits per byte, before → after", "pretrain", "bpb_before", "bpb_after", None),
    ("  xz -9", "pretrain", None, "bpb_xz", None),
    ("  xz -9 with the training text at hand", "pretrain", None, "bpb_xz_primed", None),
    ("pretraining tokens per second", "pretrain", None, "tokens_per_s", None),
    ("exact answers, base → SFT", "sft", "exact_base", "exact_sft", "exact_sft"),
    ("exact answers on unseen items", "sft", None, "exact_unseen_items", "exact_unseen_items"),
    ("gold score, base → SFT", "sft", "gold_base", "gold_sft", "gold_sft"),
    ("reward model's pairwise accuracy", "reward", None, "accuracy", "accuracy"),
    ("gold score when sampled, SFT → PPO", "ppo", "gold_sft", "gold_ppo", "gold_ppo"),
    ("  paired difference", "ppo", None, "gold_difference", "gold_difference"),
    ("distinct answers per prompt, SFT → PPO", "ppo", "distinct_sft", "distinct_ppo", "distinct_ppo"),
    ("KL to SFT, nats per answer", "ppo", None, "kl", None),
)


def summary_rows(report: Report) -> list[tuple[str, str, str]]:
    """(figure, before → after, 95 % interval) for every figure that the report has."""
    rows = []
    for figure, name, before, after, interval in SUMMARY:
        section = report.get(name, {})
        if after in section and (before is None or before in section):
            values = [show(section[key]) for key in (before, after) if key]
            rows.append((figure, " → ".join(values), show_interval(section[interval]) if interval else ""))
    for name, row in report.get("compare", {}).get("methods", {}).items():
        if name not in ("sft", "best of 1"):
            figure = f"{name}: wins against SFT, by the judge (KL {row['kl']:.2f})"
            rows.append((figure, show(row["win_rate"]), show_interval(row["win_rate"])))
    for name, model in report.get("compare", {}).get("models", {}).items():
        if model["accuracy"]:
            rows.append((f"{name} model: people's pairs", show(model["accuracy"]), show_interval(model["accuracy"])))
    rows.append(("time in all", duration(report["seconds"]["total"]), ""))
    rows.append(("peak memory", f"{report['peak_memory_bytes'] / 1e9:.2f} GB", ""))
    return rows


def summary_table(report: Report) -> "Table":
    """The table that ends a run, for rich to print; alarms of PPO stand under it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", caption_justify="left")
    table.add_column("held out")
    table.add_column("figure", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    for row in summary_rows(report):
        table.add_row(*map(Text, row))
    if alarms := report.get("ppo", {}).get("alarms"):
        table.caption = Text("\n".join(f"alarm: {cause}" for cause in alarms.values()), style="yellow")
    return table


def show(value: Any) -> str:
    """A figure for people: the mean of an interval, three decimals, thousands with commas."""
    number = value["mean"] if isinstance(value, Mapping) else value
    if number is None:
        return "–"
    return f"{number:,}" if isinstance(number, int) else f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3f}"


def show_interval(value: Any) -> str:
    """[low, high], or nothing for a plain number."""
    if not isinstance(value, Mapping):
        return ""
    return f"[{value['low']:.3f}, {value['high']:.3f}]" if value["n"] else "nothing to measure"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
