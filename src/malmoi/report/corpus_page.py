"""The report of a corpus: what came through each step and what was dropped, with samples to look at, as one page.

The samples are text of strangers' pages. All of it is escaped, addresses are no links, and the page loads nothing: a
policy in it forbids the browser to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from malmoi.corpus.built import open_built
from malmoi.corpus.form import STEPS, TIMES
from malmoi.errors import printable
from malmoi.facts import Curve, Diagonal, Line, Plot
from malmoi.files import read_json, write_text
from malmoi.report.plots import Hues, draw
from malmoi.units import duration, size

REPORT = "report.html"
N_BARS = 15
WHAT = {
    "read": "records of archives and files that hold a page",
    "extract": "their main text",
    "language": "text in the wanted languages",
    "quality": "prose, by a score and by published rules",
    "share": "the best pages of each language",
    "near": "no copy of another page",
    "lines": "more than lines that its site repeats",
    "contamination": "nothing of the evaluation sets",
    "personal": "personal data masked, or the page dropped",
    "remove": "not removed later",
}


@dataclass(frozen=True)
class Bar:
    """A row with a bar. share: of the longest, from 0 to 1; more: what is printed after it"""

    label: str
    share: float
    more: Sequence[str]


def write_corpus_report(folder: Path) -> Path:
    """Write `report.html` into the folder of a corpus. Raises DataError if it holds none."""
    index = open_built(folder)
    times = read_json(folder / TIMES) if (folder / TIMES).exists() else {}
    path = folder / REPORT
    write_text(path, render_corpus(index, times, folder.resolve().name))
    return path


def render_corpus(index: Mapping[str, Any], times: Mapping[str, float], name: str) -> str:
    """The page. index: what `index.json` holds; times: what `times.json` holds"""
    from jinja2 import Environment

    here = resources.files(__package__)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["text"] = printable
    page = environment.from_string((here / "corpus.html.jinja").read_text(encoding="utf-8"))
    dropped = {step: dict(reasons) for step, reasons in index["dropped"].items()}
    return page.render(
        css=(here / "page.css").read_text(encoding="utf-8"),
        name=name,
        index=index,
        n_dropped=sum(n for reasons in dropped.values() for n in reasons.values()),
        text_size=size(index["n_text_bytes"]),
        read_size=size(index["n_bytes"]),
        what=WHAT,
        funnel=list(_funnel(index, dropped)),
        reasons=[(step, reason, n) for step in STEPS
                 for reason, n in sorted(dropped.get(step, {}).items(), key=lambda one: (-one[1], one[0]))],
        tables=[(title, _bars(index.get(key, {}))) for title, key in
                (("Languages", "languages"), ("Licences", "licenses"), ("Domains", "domains"))],
        lengths=_bars({f"from {int(least):,}": n for least, n in index.get("lengths_by_power", {}).items()}, 64),
        speeds=list(_speeds(index, times)),
        seconds=duration(times["seconds"]) if "seconds" in times else "",
        plots=_plots(index.get("classifier")),
        samples=[(step, index["samples"].get(step, []), index["kept_samples"].get(step, [])) for step in STEPS
                 if index["samples"].get(step) or index["kept_samples"].get(step)],
        settings=index["plan"]["settings"],
    )  # fmt: skip


def _funnel(index: Mapping[str, Any], dropped: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[str, Bar]]:
    """(step, what came through it)."""
    passed = index.get("passed", {})
    for step in STEPS:
        n_dropped = sum(dropped.get(step, {}).values())
        if step in passed:
            n, n_bytes = passed[step]
        elif step == "remove" and n_dropped:
            n, n_bytes = index["n_kept"], index["n_text_bytes"]
        else:
            continue
        minus = f"−{n_dropped:,}" if n_dropped else ""
        yield step, Bar(step, n / max(1, index["n_read"]), (f"{n:,}", minus, size(n_bytes)))


def _bars(counts: Mapping[str, int], most: int = N_BARS) -> list[Bar]:
    """The most frequent names; the others together."""
    longest, total = max(counts.values(), default=1), max(1, sum(counts.values()))
    shown = list(counts.items())[:most]
    rest = total - sum(n for _, n in shown)
    bars = [Bar(name, n / longest, (f"{n:,}", f"{n / total:.1%}")) for name, n in shown]
    return bars + ([Bar("others", min(1.0, rest / longest), (f"{rest:,}", f"{rest / total:.1%}"))] if rest else [])


def _speeds(index: Mapping[str, Any], times: Mapping[str, float]) -> Iterator[Bar]:
    """Processor time of each step, and how much of what it is given it works through in a second."""
    passed, before = index.get("passed", {}), (0, index["n_bytes"])
    longest = max((times.get(f"cpu_{step}", 0.0) for step in STEPS), default=0.0) or 1.0
    for step in STEPS:
        seconds = times.get(f"cpu_{step}", 0.0)
        n, n_bytes = before
        if step == "read" and step in passed:
            n = passed[step][0]
        if seconds:
            yield Bar(step, seconds / longest, (duration(seconds), f"{n_bytes / 1e6 / seconds:,.1f} MB/s",
                                                f"{n / seconds:,.0f} pages/s"))  # fmt: skip
        before = passed.get(step, before)


def _plots(judged: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """(caption, SVG) of the classifier's ROC and its calibration."""
    if judged is None:
        return []
    roc = Plot("Pages to keep that it keeps, and pages to drop that it keeps, for every threshold",
               [Curve(judged["roc"], "blue"), Diagonal(0, 1)], x_label="to drop, but kept", y_label="to keep, and kept",
               x_limits=(0, 1), y_limits=(0, 1.02))  # fmt: skip
    said = [(said, kept) for said, kept, _ in judged["calibration"]]
    calibration = Plot("What it says, and how often people say keep", [Line(said, "green"), Diagonal(0, 1)],
                       x_label="said by the classifier", y_label="said by people", x_limits=(0, 1),
                       y_limits=(0, 1.02))  # fmt: skip
    hues = Hues()
    return [(plot.caption, draw(plot, hues, plot.caption)) for plot in (roc, calibration)]
