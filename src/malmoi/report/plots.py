"""Plots as inline SVG with the page's colours and fonts, so that they adapt to light mode, dark mode and print."""

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from malmoi.facts import FREE_HUES, HUES, Bars, Curve, Diagonal, Layer, Level, Line, Plot, Points, Trail

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Matplotlib draws in placeholder colours; `_inline` replaces them by CSS variables of the page.
PLACEHOLDERS = {hue: f"#0{n:x}0{n:x}0{n:x}" for n, hue in enumerate(HUES, start=1)}
INK, MUTED, RULE, GREY = (PLACEHOLDERS[hue] for hue in ("ink", "muted", "rule", "grey"))
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": MUTED,
    "lines.linewidth": 1.6,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
# Size in inches of a half and of a third of the page, so that letters have the same size in both.
HALF, THIRD = (4.2, 2.3), (2.9, 1.9)
N_POINTS = 240
LONGEST_LABEL = 24
LEAST_SPAN = 0.3
"""Least range of a y axis, as a share of its largest value."""
BAR = 0.11
"""Least height in inches of each bar of a plot with many."""
DASHES: Any = (0, (4, 3))


class Hues:
    """The hue of each colour on one page: a hue's name means itself, another name keeps the free hue it first gets."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}

    def __call__(self, colour: str) -> str:
        return colour if colour in HUES else self.given.setdefault(colour, FREE_HUES[len(self.given) % len(FREE_HUES)])


def key_of(plot: Plot) -> list[tuple[str, str]]:
    """(label, colour) of each entry of the plot's legend, without duplicates."""
    found: dict[str, str] = {}
    for layer in plot.layers:
        shown = [bar for group in layer.groups for bar in group.bars] if isinstance(layer, Bars) else [layer]
        found |= {one.label: one.colour for one in shown if not isinstance(one, Level | Trail | Diagonal) and one.label}
    return list(found.items())


def draw(plot: Plot, hues: Hues, salt: str) -> str:
    """The plot as SVG. salt: different for each plot of a page, so that their ids differ"""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=_size(plot), layout="constrained")
        axes = figure.subplots()
        axes.locator_params(nbins=5)
        for layer in plot.layers:
            _draw_layer(axes, layer, hues)
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        if plot.x_limits:
            axes.set_xlim(*plot.x_limits)
        if plot.y_limits:
            axes.set_ylim(*plot.y_limits)
        elif not any(isinstance(layer, Bars) for layer in plot.layers):
            axes.set_ylim(*wide_enough(*axes.get_ylim()))
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue())


def wide_enough(low: float, high: float) -> tuple[float, float]:
    """Limits around the same middle of at least `LEAST_SPAN` of the larger end: noise looks as small as it is."""
    missing = LEAST_SPAN * max(abs(low), abs(high)) - (high - low)
    if missing <= 0:
        return low, high
    low, high = (max(0.0, low - missing / 2) if low >= 0 else low - missing / 2), high + missing / 2
    return low, high


def _size(plot: Plot) -> tuple[float, float]:
    """Width and height in inches; bars that are many make the plot higher."""
    width, height = THIRD if plot.small else HALF
    n_bars = sum(len(group.bars) for layer in plot.layers if isinstance(layer, Bars) for group in layer.groups)
    return width, max(height, BAR * n_bars)


def _inline(svg: str) -> str:
    """Remove what a page does not need: prologue, metadata, fixed size, group names, fonts; use the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', svg)
    svg = re.sub(r'(?<=<g) id="[^"]*"| font-family: [^;"]*;?|(?<=\n) +', "", svg)
    for hue, placeholder in PLACEHOLDERS.items():
        svg = svg.replace(placeholder, f"var(--{hue})")
    return svg


def _draw_layer(axes: "Axes", layer: Layer, hues: Hues) -> None:
    match layer:
        case Curve():
            _curve(axes, layer.points, PLACEHOLDERS[hues(layer.colour)])
        case Line():
            _line(axes, layer, PLACEHOLDERS[hues(layer.colour)])
        case Trail():
            _trail(axes, layer.points, PLACEHOLDERS[hues(layer.colour)])
        case Level():
            _level(axes, layer, PLACEHOLDERS[hues(layer.colour)])
        case Diagonal():
            ends = [layer.low, layer.high]
            axes.plot(ends, ends, color=GREY, linestyle=DASHES, linewidth=1.1)
        case Bars():
            _bars(axes, layer, hues)


def _curve(axes: "Axes", points: Points, colour: str) -> None:
    """A faint line of at most N_POINTS averages of neighbouring steps, and their moving average; one step is a dot."""
    parts = np.array_split(np.array(points), min(N_POINTS, len(points)))
    steps, values = np.array([part.mean(axis=0) for part in parts]).T
    axes.plot(steps, values, color=colour, alpha=0.35, linewidth=0.9)
    axes.plot(steps, _smooth(values), "o" if len(points) == 1 else "-", color=colour, markersize=3.5)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Moving average over a twentieth of the series, less at its ends."""
    reach = max(1, len(values) // 40)
    return np.array([values[max(0, i - reach) : i + reach + 1].mean() for i in range(len(values))])


def _line(axes: "Axes", line: Line, colour: str) -> None:
    for (x, _), ends in zip(line.points, line.intervals, strict=False):
        axes.plot([x, x], ends, color=colour, alpha=0.25, linewidth=1.2)
    axes.plot(*zip(*line.points, strict=True), "o-", color=colour, markersize=3.5)
    for number in line.ringed:
        axes.plot(*line.points[number], "o", markersize=9, markerfacecolor="none", color=colour)


def _trail(axes: "Axes", points: Points, colour: str) -> None:
    x, y = np.array(points).T
    pale_to_dark: Any = np.linspace(0.2, 1, len(points))
    axes.scatter(x, y, s=12, color=colour, alpha=pale_to_dark, linewidths=0)
    axes.plot(_smooth(x), _smooth(y), color=MUTED, linewidth=0.8, alpha=0.7)


def _level(axes: "Axes", level: Level, colour: str) -> None:
    axes.axhline(level.value, color=colour, linestyle=DASHES, linewidth=1.1)
    at_the_end: Any = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(level.label, (1, level.value), (0, 2.5), ha="right", va="bottom", color=colour, **at_the_end)


def _bars(axes: "Axes", bars: Bars, hues: Hues) -> None:
    place, centres = 0.0, []
    for group in bars.groups:
        first = place
        for bar in group.bars:
            axes.barh(place, bar.value["mean"], height=0.86, color=PLACEHOLDERS[hues(bar.colour)])
            axes.plot([bar.value["low"], bar.value["high"]], [place, place], color=INK, linewidth=1)
            place += 1
        centres.append((first + place - 1) / 2)
        if group.mark is not None:
            axes.plot([group.mark, group.mark], [first - 0.5, place - 0.5], color=INK, linewidth=2)
        place += 0.6
    if bars.level is not None:
        axes.axvline(bars.level, color=GREY, linestyle=DASHES, linewidth=1.1)
    axes.set_yticks(centres, _short([group.label for group in bars.groups]))
    axes.invert_yaxis()
    axes.grid(False, axis="y")


def _short(labels: Sequence[str]) -> list[str]:
    return [label if len(label) <= LONGEST_LABEL else f"{label[:14]}…{label[-9:]}" for label in labels]
