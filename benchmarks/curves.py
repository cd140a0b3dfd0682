"""Curves of proxy and gold against the distance from the SFT model: re-centring, the paper's forms, means, the plot.

Source: Gao, Schulman, Hilton 2022 (arXiv:2210.10760): with d = √KL, gold gains d (α - β d) from best-of-n and
d (α - β log d) from RL, each with its own α and β.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from malmoi.evals.interval import bootstrap
from malmoi.files import open_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Form = Literal["best_of", "rl"]
Point = dict[str, Any]
Curve = dict[str, Any]
GRID = 60
"""Number of points along √KL at which curves of several seeds are averaged."""
SEED, PROXY, GOLD, INK = "#9a9a9a", "#3b6ea5", "#c8860a", "#1a1a1a"


@dataclass(frozen=True)
class Fit:
    """alpha, beta of the paper's form, in units of the gain; r2: share of the variance that it explains.

    peak: √KL of the form's maximum; None if it has none, because beta is not positive
    """

    alpha: float
    beta: float
    r2: float
    peak: float | None


def gain_of(d: Any, form: Form, alpha: float, beta: float) -> Any:
    """The paper's form at d = √KL, which is above 0."""
    return d * (alpha - beta * (d if form == "best_of" else np.log(d)))


def fit_form(d: Sequence[float], gain: Sequence[float], form: Form) -> Fit:
    """Least squares for alpha and beta over the points with d above 0.

    Raises ValueError for fewer than three such points, because two always fit.
    """
    places, gains = np.asarray(d, dtype=float), np.asarray(gain, dtype=float)
    places, gains = places[places > 0], gains[places > 0]
    if len(places) < 3:
        raise ValueError(f"{len(places)} points away from the SFT model: a fit needs three")
    columns = np.stack([gain_of(places, form, 1, 0), gain_of(places, form, 0, 1)], axis=1)
    alpha, beta = (float(x) for x in np.linalg.lstsq(columns, gains)[0])
    left, all_of_it = gains - gain_of(places, form, alpha, beta), gains - gains.mean()
    r2 = 1 - float(left @ left) / float(all_of_it @ all_of_it)
    return Fit(alpha, beta, r2, _peak(alpha, beta, form))


def _peak(alpha: float, beta: float, form: Form) -> float | None:
    if beta <= 0:
        return None
    try:
        return alpha / (2 * beta) if form == "best_of" else math.exp(alpha / beta - 1)
    except OverflowError:  # beyond every distance
        return None


def centred(points: Sequence[Point], sft: Mapping[str, Any], proxy: str, topics: Sequence[str], form: Form) -> Curve:
    """One curve of one seed, in standard deviations of the SFT model's answers, 0 at the SFT model.

    points: each with `at` (n, or iterations), `kl` in nats, `proxy` and `golds`, the mean gold score of each prompt
    sft: `gold_mean`, `gold_std`, `golds` of each prompt, and `mean` and `std` of each proxy under `proxies`
    topics: of the prompts; the bootstrap resamples them
    fall: from the highest gold to the farthest point, by prompt. The highest is chosen after measuring, so it is biased
    upwards
    """
    scale, base = sft["proxies"][proxy], np.array(sft["golds"])
    rows = []
    for point in sorted(points, key=lambda point: point["kl"]):
        gold = bootstrap(((np.array(point["golds"]) - base) / sft["gold_std"]).tolist(), topics)
        rest = {name: value for name, value in point.items() if name not in ("golds", "proxy")}
        proxy_gain = (point["proxy"] - scale["mean"]) / scale["std"]
        rows.append({"d": max(0.0, point["kl"]) ** 0.5, "proxy": proxy_gain, "gold": gold.to_row(), **rest})
    ordered = sorted(points, key=lambda point: point["kl"])
    best = max(range(len(rows)), key=lambda i: rows[i]["gold"]["mean"])
    fallen = (np.array(ordered[-1]["golds"]) - np.array(ordered[best]["golds"])) / sft["gold_std"]
    fit = fit_form([row["d"] for row in rows], [row["gold"]["mean"] for row in rows], form)
    return {
        "form": form, "points": rows, "best": best, "fall": bootstrap(fallen.tolist(), topics).to_row(),
        "fit": asdict(fit),
    }  # fmt: skip


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Mean over seeds at equal distance, as far as all seeds go, and the paper's form fitted to the points of all.

    Raises ValueError if there is no curve.
    """
    if not curves:
        raise ValueError("no curves to average")
    columns = [_columns(curve) for curve in curves]
    d = np.linspace(0, min(places[-1] for places, _, _ in columns), GRID)
    gold = np.mean([np.interp(d, places, golds) for places, _, golds in columns], axis=0)
    proxy = np.mean([np.interp(d, places, proxies) for places, proxies, _ in columns], axis=0)
    points = [row for curve in curves for row in curve["points"]]
    fit = fit_form([row["d"] for row in points], [row["gold"]["mean"] for row in points], curves[0]["form"])
    return {
        "form": curves[0]["form"], "d": d.tolist(), "gold": gold.tolist(), "proxy": proxy.tolist(),
        "best": int(gold.argmax()), "fit": asdict(fit),
    }  # fmt: skip


def frontier(curve: Curve, other: Curve) -> dict[str, float]:
    """Mean difference of `curve` and `other` at equal distance, in standard deviations: gold and proxy."""
    (here, *ours), (there, *theirs) = _columns(curve), _columns(other)
    d = np.linspace(0, min(here[-1], there[-1]), GRID)
    proxy, gold = (
        float((np.interp(d, here, mine) - np.interp(d, there, its)).mean())
        for mine, its in zip(ours, theirs, strict=True)
    )
    return {"proxy": proxy, "gold": gold, "to_d": float(d[-1])}


def _columns(curve: Curve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d, proxy and gold from the SFT model on, where all are 0."""
    rows = [(row["d"], row["proxy"], row["gold"]["mean"]) for row in curve["points"] if row["d"] > 0]
    d, proxy, gold = np.array([(0.0, 0.0, 0.0), *rows]).T
    return d, proxy, gold


def table(found: Mapping[str, Any]) -> str:
    """Markdown: each seed of each curve, and the mean over seeds."""
    head = (
        "curve", "seed", "α", "β", "R²", "maximum of gold: √KL", "gain", "farthest: √KL", "gold", "proxy",
        "fall of gold from its maximum",
    )  # fmt: skip
    lines = [head, ("---",) * len(head)]
    for name, row in found["curves"].items():
        for seed, curve in row["seeds"].items():
            best, last, fall = curve["points"][curve["best"]], curve["points"][-1], curve["fall"]
            lines.append(
                (name, seed, *_fit_cells(curve["fit"]), f"{best['d']:.2f}", f"{best['gold']['mean']:+.2f}",
                 f"{last['d']:.2f}", f"{last['gold']['mean']:+.2f}", f"{last['proxy']:+.2f}",
                 f"{fall['mean']:+.2f} [{fall['low']:+.2f}, {fall['high']:+.2f}]")
            )  # fmt: skip
        mean = row["mean"]
        best, d, gold, proxy = mean["best"], mean["d"], mean["gold"], mean["proxy"]
        lines.append(
            (name, "mean", *_fit_cells(mean["fit"]), f"{d[best]:.2f}", f"{gold[best]:+.2f}", f"{d[-1]:.2f}",
             f"{gold[-1]:+.2f}", f"{proxy[-1]:+.2f}", f"{gold[-1] - gold[best]:+.2f}")
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _fit_cells(fit: Mapping[str, Any]) -> tuple[str, str, str]:
    return f"{fit['alpha']:.3f}", f"{fit['beta']:.3f}", f"{fit['r2']:.3f}"


def draw(found: Mapping[str, Any], path: Path) -> None:
    """One panel for each curve, and one with the gold of all curves."""
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.titlesize": 9,
        "grid.color": "#e4e4e4", "legend.frameon": False, "legend.fontsize": 7.5, "svg.fonttype": "none",
        "svg.hashsalt": path.name, "text.parse_math": False,
    }  # fmt: skip
    curves = found["curves"]
    n_columns = (len(curves) + 2) // 2
    undated: Any = {"Date": None} if path.suffix == ".svg" else {}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(3.6 * n_columns, 6.4), layout="constrained")
        figure.suptitle(found["title"], fontsize=10)
        panels = figure.subplots(2, n_columns, squeeze=False).flatten()
        for axes, (name, row) in zip(panels, curves.items(), strict=False):
            _draw_curve(axes, row)
            axes.set_title(name)
        # Up to twice the distance of the shortest curve, where curves can be compared.
        far = 2 * min(row["mean"]["d"][-1] for row in curves.values())
        for name, row in curves.items():
            near = [(d, gold) for d, gold in zip(row["mean"]["d"], row["mean"]["gold"], strict=True) if d <= far]
            panels[len(curves)].plot(*zip(*near, strict=True), label=name, linewidth=1.5)
        panels[len(curves)].set_title("gold of all, mean over seeds")
        for axes in panels[1 + len(curves) :]:
            axes.set_axis_off()
        for axes in panels[: 1 + len(curves)]:
            axes.axhline(0, color=SEED, linewidth=0.8)
            axes.set_xlabel("√KL to SFT, nats per answer")
            axes.set_ylabel("gain over SFT, standard deviations")
        panels[0].legend(loc="upper left")
        panels[len(curves)].legend(loc="lower right")
        with open_atomic(path) as file:
            figure.savefig(file, format=path.suffix[1:], dpi=150, metadata=undated)


def _draw_curve(axes: "Axes", row: Mapping[str, Any]) -> None:
    """Seeds are pale, their mean is heavy, the paper's form dotted, the maximum of gold ringed."""
    for curve in row["seeds"].values():
        d, proxy, gold = _columns(curve)
        axes.plot(d, proxy, color=PROXY, alpha=0.35, linewidth=0.9, linestyle="--")
        axes.plot(d, gold, "o-", color=GOLD, alpha=0.4, linewidth=0.9, markersize=2.5)
    mean = row["mean"]
    fit, best, d = mean["fit"], mean["best"], np.array(mean["d"])
    axes.plot(d, mean["proxy"], color=PROXY, linestyle="--", linewidth=1.8, label="proxy")
    axes.plot(d, mean["gold"], color=GOLD, linewidth=2.2, label="gold")
    form = gain_of(d[1:], mean["form"], fit["alpha"], fit["beta"])
    axes.plot(d[1:], form, ":", color=INK, linewidth=1.3, label="form of the paper, fitted to gold")
    axes.plot(d[best], mean["gold"][best], "o", markersize=10, markerfacecolor="none", color=INK, label="most gold")
