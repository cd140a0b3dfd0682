"""Plots as inline SVG in the page's own colours and fonts, so that they follow light, dark and print."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
Draw = Callable[["Axes"], None]

# Matplotlib draws in stand-ins; `_inline` turns them into the CSS variables of the page.
NAMES = ("ink", "muted", "rule", "base", "sft", "ppo", "gold", "reward")
INK, MUTED, RULE, BASE, SFT, PPO, GOLD, REWARD = STAND_INS = tuple(f"#0{n}0{n}0{n}" for n in range(1, 9))
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
N_POINTS = 240
HALF_WIDTH = {"pretrain_loss", "bpb", "sft_loss", "exact"}
EXACT = (("base", BASE, "exact_base_by_kind"), ("sft", SFT, "exact_by_kind"), ("ppo", PPO, "exact_ppo_by_kind"))
PPO_CURVES = {"score": REWARD, "gold": GOLD, "kl": PPO, "entropy": INK, "response_tokens": INK, "distinct": INK}


def draw_plots(report: Mapping[str, Any], metrics: Mapping[str, Rows]) -> dict[str, str]:
    """Name -> SVG of every plot for which there is something to draw. metrics: stage -> rows of metrics.jsonl."""
    import matplotlib

    plots: dict[str, Draw] = {}
    for stage, colour in (("pretrain", INK), ("sft", SFT), ("reward", REWARD)):
        if rows := metrics.get(stage):
            plots[f"{stage}_loss"] = _curve(rows, "loss", colour)
    if "bpb_before" in report.get("pretrain", {}):
        plots["bpb"] = _bits_per_byte(report["pretrain"], metrics.get("pretrain", ()))
    if "exact_sft" in report.get("sft", {}):
        plots["exact"] = _exact(report["sft"])
    if rows := metrics.get("reward"):
        plots["reward_accuracy"] = _accuracy(report.get("reward", {}), rows)
    if bins := report.get("reward", {}).get("calibration"):
        plots["calibration"] = _calibration(bins)
    # The answers of one iteration are trained on for several steps, which repeat its figures.
    sampled = [next(same) for _, same in groupby(metrics.get("ppo", ()), lambda row: (row.get("score"), row.get("kl")))]
    for key, colour in PPO_CURVES.items():
        if any(key in row for row in sampled):
            plots[f"ppo_{key}"] = _curve(sampled, key, colour)
    if any("gold" in row for row in sampled):
        plots["ppo_reward_gold"] = _reward_against_gold([row for row in sampled if "gold" in row])
    with matplotlib.rc_context(STYLE):
        return {name: _svg(name, draw) for name, draw in plots.items()}


def _svg(name: str, draw: Draw) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Inches of a half and of a third of the page, so that the letters come out equally large.
    figure = Figure(figsize=(4.2, 2.3) if name in HALF_WIDTH else (2.9, 1.9), layout="constrained")
    axes = figure.subplots()
    axes.locator_params(nbins=5)
    draw(axes)
    file = io.StringIO()
    with rc_context({"svg.hashsalt": name}):  # the ids of two plots on one page must differ
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue())


def _inline(svg: str) -> str:
    """Leave out what a page does not need: prologue, metadata, fixed size, names of groups, fonts, colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', svg)
    svg = re.sub(r'(?<=<g) id="[^"]*"| font-family: [^;"]*;?|(?<=\n) +', "", svg)
    for name, stand_in in zip(NAMES, STAND_INS, strict=True):
        svg = svg.replace(stand_in, f"var(--{name})")
    return svg


def _curve(rows: Rows, key: str, colour: str) -> Draw:
    """Neighbouring steps averaged to N_POINTS, faint, and their moving average."""

    def draw(axes: "Axes") -> None:
        points = np.array([(row["step"], row[key]) for row in rows if key in row])
        parts = np.array_split(points, min(N_POINTS, len(points)))
        steps, values = np.array([part.mean(axis=0) for part in parts]).T
        axes.plot(steps, values, color=colour, alpha=0.35, linewidth=0.9)
        axes.plot(steps, _smooth(values), color=colour)
        axes.set_xlabel("step")

    return draw


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean of each value and its neighbours, a twentieth of the series; the ends have fewer."""
    reach = max(1, len(values) // 40)
    return np.array([values[max(0, i - reach) : i + reach + 1].mean() for i in range(len(values))])


def _bits_per_byte(section: Mapping[str, Any], rows: Rows) -> Draw:
    def draw(axes: "Axes") -> None:
        points = [(0, section["bpb_before"]), *((row["step"], row["bpb"]) for row in rows if "bpb" in row)]
        axes.plot(*zip(*points, strict=True), color=INK, marker="o", markersize=3.5)
        for key, label in (("bpb_xz", "xz -9"), ("bpb_xz_primed", "xz -9, primed")):
            if key in section:
                _level(axes, section[key], f"{label} {section[key]:.2f}", BASE)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step")

    return draw


def _level(axes: "Axes", value: float, label: str, colour: str) -> None:
    """A dashed line across the plot, named at its right end."""
    axes.axhline(value, color=colour, linestyle=(0, (4, 3)), linewidth=1.1)
    where: Any = ((1, value), (0, 2.5), ("axes fraction", "data"), "offset points")
    axes.annotate(label, *where, ha="right", va="bottom", color=colour)


def _exact(section: Mapping[str, Any]) -> Draw:
    """Bars with intervals: all questions, then each kind, for every model that was asked."""
    series = [
        (colour, section[f"exact_{name}"], section.get(by_kind, {}))
        for name, colour, by_kind in EXACT
        if f"exact_{name}" in section
    ]
    groups = {"all": [(overall, colour) for colour, overall, _ in series]}
    for kind in {kind: None for _, _, kinds in series for kind in kinds}:
        groups[kind] = [(kinds[kind], colour) for colour, _, kinds in series if kind in kinds]

    def draw(axes: "Axes") -> None:
        place, centres = 0.0, []
        for bars in groups.values():
            centres.append(place + (len(bars) - 1) / 2)
            for interval, colour in bars:
                axes.barh(place, interval["mean"], height=0.86, color=colour)
                axes.plot([interval["low"], interval["high"]], [place, place], color=INK, linewidth=1)
                place += 1
            place += 0.6
        axes.set_yticks(centres, list(groups))
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.grid(False, axis="y")

    return draw


def _accuracy(section: Mapping[str, Any], rows: Rows) -> Draw:
    def draw(axes: "Axes") -> None:
        _curve(rows, "accuracy", REWARD)(axes)
        if "labeler_accuracy" in section:
            ceiling = section["labeler_accuracy"]["mean"]
            _level(axes, ceiling, f"the simulated labeler itself {ceiling:.2f}", GOLD)

    return draw


def _calibration(bins: Rows) -> Draw:
    def draw(axes: "Axes") -> None:
        axes.plot([0.5, 1], [0.5, 1], color=BASE, linestyle=(0, (4, 3)), linewidth=1.1)
        points = [(row["confidence"], row["accuracy"]) for row in bins]
        axes.plot(*zip(*points, strict=True), "o-", color=REWARD, markersize=4)
        axes.set_xlabel("confidence of the reward model")
        axes.set_ylabel("rightly ordered")
        axes.set_xlim(0.48, 1.02)

    return draw


def _reward_against_gold(rows: Rows) -> Draw:
    def draw(axes: "Axes") -> None:
        points = np.array([(row["score"], row["gold"]) for row in rows])
        pale_to_dark: Any = np.linspace(0.2, 1, len(points))
        axes.scatter(points[:, 0], points[:, 1], s=12, color=PPO, alpha=pale_to_dark, linewidths=0)
        axes.plot(*(_smooth(column) for column in points.T), color=MUTED, linewidth=0.8, alpha=0.7)
        axes.set_xlabel("score by the reward model")
        axes.set_ylabel("gold")

    return draw
