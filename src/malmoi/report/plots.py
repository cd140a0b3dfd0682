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
NAMES = ("ink", "muted", "rule", "base", "sft", "ppo", "gold", "reward", "dpo", "grpo")
INK, MUTED, RULE, BASE, SFT, PPO, GOLD, REWARD, DPO, GRPO = STAND_INS = tuple(
    f"#0{n:x}0{n:x}0{n:x}" for n in range(1, 1 + len(NAMES))
)
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
HALF_WIDTH = {"pretrain_loss", "bpb", "sft_loss", "exact", "judge_kl", "reward_kl", "by_source", "reliability"}
EXACT = (("base", BASE, "exact_base_by_kind"), ("sft", SFT, "exact_by_kind"), ("ppo", PPO, "exact_ppo_by_kind"))
METHODS = {"ppo": PPO, "grpo": GRPO, "dpo": DPO, "best of n": GOLD}
ROLLOUT_CURVES = {"score": REWARD, "gold": GOLD, "kl": PPO, "entropy": INK, "response_tokens": INK, "distinct": INK}


def draw_plots(report: Mapping[str, Any], metrics: Mapping[str, Rows]) -> dict[str, str]:
    """Name -> SVG of every plot for which there is something to draw. metrics: stage -> rows of metrics.jsonl."""
    import matplotlib

    plots: dict[str, Draw] = {}
    for stage, colour in (("pretrain", INK), ("sft", SFT), ("reward", REWARD), ("judge", GOLD), ("dpo", DPO)):
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
    for stage in ("ppo", "grpo"):
        # The answers of one iteration are trained on for several steps, which repeat its figures.
        same = groupby(metrics.get(stage, ()), lambda row: (row.get("score"), row.get("kl")))
        sampled = [next(rows) for _, rows in same]
        for key, colour in ROLLOUT_CURVES.items():
            if any(key in row for row in sampled):
                plots[f"{stage}_{key}"] = _curve(sampled, key, METHODS[stage] if colour == PPO else colour)
        if any("gold" in row for row in sampled):
            plots[f"{stage}_reward_gold"] = _reward_against_gold([row for row in sampled if "gold" in row])
    if compared := report.get("compare"):
        plots["judge_kl"] = _against_distance(compared, "judge")
        plots["reward_kl"] = _against_distance(compared, "reward")
        plots["reliability"] = _reliability(compared["models"])
        plots["by_source"] = _by_source(compared)
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
        if section.get("labeler_accuracy", {}).get("n"):
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


def _against_distance(compared: Mapping[str, Any], key: str) -> Draw:
    """Gains over SFT against √KL: policies on their way, best-of-n by n; where the judge's word was highest is ringed.

    key: judge or reward, whose word it is
    """
    methods, curves = compared["methods"], compared["curves"]
    best_of = [row for name, row in methods.items() if name.startswith("best of ")]
    gain = "gain" if key == "judge" else "reward_gain"

    def draw(axes: "Axes") -> None:
        axes.axhline(0, color=SFT, linewidth=1.1, linestyle=(0, (4, 3)))
        lines = {name: [(p["kl"], p[key], p["step"]) for p in row["points"]] for name, row in curves.items()}
        lines["best of n"] = [(row["kl"], row[gain], None) for row in best_of]
        lines |= {n: [(methods[n]["kl"], methods[n][gain], None)] for n in METHODS if n in methods and n not in lines}
        for name, points in lines.items():
            colour, places = METHODS[name], [max(0.0, kl) ** 0.5 for kl, _, _ in points]
            for place, (_, value, _) in zip(places, points, strict=True):
                axes.plot([place, place], [value["low"], value["high"]], color=colour, alpha=0.25, linewidth=1.2)
            axes.plot(places, [value["mean"] for _, value, _ in points], "o-", color=colour, markersize=3)
            for place, (_, value, step) in zip(places, points, strict=True):
                if step and key == "judge" and step == curves[name]["best"]:
                    axes.plot(place, value["mean"], "o", markersize=9, markerfacecolor="none", color=colour)
        axes.set_xlabel("√KL to SFT, nats per answer")

    return draw


def _reliability(models: Mapping[str, Any]) -> Draw:
    """Confidence that each reward model claims on held-out pairs, and how often it is right."""

    def draw(axes: "Axes") -> None:
        axes.plot([0.5, 1], [0.5, 1], color=BASE, linestyle=(0, (4, 3)), linewidth=1.1)
        for name, colour in (("reward", REWARD), ("judge", GOLD)):
            points = [(row["confidence"], row["accuracy"]) for row in models[name]["calibration"]]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=colour, markersize=3.5)
        axes.set_xlabel("confidence")
        axes.set_ylabel("ordered as people did")

    return draw


def _by_source(compared: Mapping[str, Any]) -> Draw:
    """Bars with intervals for every source, the ceiling where it is known how far people agree."""
    models, ceilings = compared["models"], compared["annotators"]
    sources = [name for name, row in models["reward"]["by_source"].items() if row["accuracy"]]

    def draw(axes: "Axes") -> None:
        for place, source in enumerate(sources):
            for shift, name, colour in ((-0.2, "reward", REWARD), (0.2, "judge", GOLD)):
                value = models[name]["by_source"][source]["accuracy"]
                axes.barh(place + shift, value["mean"], height=0.36, color=colour)
                axes.plot([value["low"], value["high"]], [place + shift] * 2, color=INK, linewidth=1)
            if source in ceilings and ceilings[source]["without_ties"]:
                axes.plot([ceilings[source]["without_ties"]] * 2, [place - 0.4, place + 0.4], color=INK, linewidth=2)
        axes.axvline(0.5, color=BASE, linestyle=(0, (4, 3)), linewidth=1.1)
        axes.set_yticks(range(len(sources)), [_short(source) for source in sources])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.grid(False, axis="y")

    return draw


def _short(source: str) -> str:
    return source if len(source) <= 24 else f"{source[:14]}…{source[-9:]}"
