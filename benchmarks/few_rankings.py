"""`python -m benchmarks.few_rankings MODEL FILE…`: how much does a probe learn from few rankings?

The prompts of each file are split into three parts. Each part is held out once, and rankings are drawn from the other
two: three draws of every size. So every ranking is judged by probes that never saw its prompt, and all methods are
measured on the same pairs. The probe's settings are those of `reward.method = "probe"`; nothing is tuned here. Several
files are measured one by one and then together, where one probe learns from all of them, at the largest size.

Prints by size, as means over the draws: the probe's accuracy with its interval by prompt, that of each baseline, the
paired difference to the most accurate of them, log loss, and two figures of reliability: by how much the probability
that the probe claims is above its accuracy, and the mean distance of the two in five bins, beside what that distance
would be for a probe whose claims are true.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.data.comparisons import encode_ranking
from malmoi.data.formats import rankings as rankings_of
from malmoi.evals.counted_words import CountedWords
from malmoi.evals.interval import bootstrap
from malmoi.evals.reward_accuracy import ScoreGaps, score_gaps
from malmoi.evals.reward_baselines import LONGER, SHORTER, WORDS, Scores, baseline_scores
from malmoi.evals.reward_curve import PROBE, Known, by_probe
from malmoi.formats.folder import load_text
from malmoi.train import features

SIZES = (50, 200, 700, 1_500)
N_FOLDS = N_DRAWS = 3
N_BINS = 5
TOGETHER = "all together"
N_TRUE = 200
"""Simulations of a probe whose claims are true."""


def measure(known: Known, sizes: Sequence[int]) -> dict[str, Any]:
    """Points by number of rankings, of those sizes that every fold can give."""
    trees = [row["tree"] for row in known.rows]
    names = np.random.default_rng(17).permutation(sorted(set(trees)))
    fold_of = {name: place % N_FOLDS for place, name in enumerate(names.tolist())}
    fold = np.array([fold_of[tree] for tree in trees])
    fewest = min(int((fold != one).sum()) for one in range(N_FOLDS))
    points = [_point(known, fold, size) for size in sizes if size <= fewest]
    return {"n_rankings": len(trees), "n_prompts": len(names), "points": points}


def _point(known: Known, fold: np.ndarray, size: int) -> dict[str, Any]:
    gaps: dict[str, list[np.ndarray]] = {name: [] for name in (PROBE, LONGER, SHORTER, WORDS)}
    trees: list[str] = []
    sources: list[str] = []
    for one in range(N_FOLDS):
        pool, held = np.flatnonzero(fold != one), np.flatnonzero(fold == one)
        training, heldout = _of(known, pool), _of(known, held)
        ranks = [row["ranks"] for row in heldout.rows]
        drawn = [np.random.default_rng((17, one, draw)).permutation(len(pool))[:size] for draw in range(N_DRAWS)]
        scores: dict[str, list[Scores]] = {
            PROBE: [by_probe(training, heldout, part) for part in drawn],
            WORDS: [CountedWords([training.rows[number] for number in part]).scores(heldout.rows) for part in drawn],
            **{name: [fixed] * N_DRAWS for name, fixed in baseline_scores(heldout.rows, None).items()},
        }
        for name, found in scores.items():
            gaps[name].append(np.array([score_gaps(by_draw, ranks).gaps for by_draw in found]))
        prompts = score_gaps(scores[LONGER][0], ranks).prompts
        trees += [heldout.rows[number]["tree"] for number in prompts]
        sources += [heldout.rows[number]["source"] for number in prompts]
    whole = {name: np.concatenate(found, axis=1) for name, found in gaps.items()}
    return {"n": size, **compared(whole, trees), "by_source": _by_source(whole, sources, trees)}


def compared(gaps: dict[str, np.ndarray], trees: Sequence[str]) -> dict[str, Any]:
    """gaps: name -> (draws, P), the score of the better answer minus that of the worse; trees: of the P pairs"""
    right = {name: (found > 0) + 0.5 * (found == 0) for name, found in gaps.items()}
    best = max((name for name in right if name != PROBE), key=lambda name: float(right[name].mean()))
    claimed = 1 / (1 + np.exp(-np.abs(gaps[PROBE])))
    return {
        "n_pairs": len(trees),
        "accuracy": {name: bootstrap(found.mean(axis=0), trees).to_row() for name, found in right.items()},
        "draws": [float(draw.mean()) for draw in right[PROBE]],
        "best": best,
        "ahead": bootstrap((right[PROBE] - right[best]).mean(axis=0), trees).to_row(),
        "log_loss": bootstrap(np.logaddexp(0, -gaps[PROBE]).mean(axis=0), trees).to_row(),
        "claims_more": bootstrap((claimed - right[PROBE]).mean(axis=0), trees).to_row(),
        "distance": float(np.mean([distance(draw) for draw in gaps[PROBE]])),
        "distance_if_true": float(np.mean([distance_if_true(draw) for draw in gaps[PROBE]])),
    }


def distance(gaps: np.ndarray) -> float:
    """The mean distance of claimed probability and accuracy in bins of equally many pairs (arXiv:1706.04599, eq. 3)."""
    bins = ScoreGaps(gaps, np.arange(len(gaps))).calibration(N_BINS)
    return sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / len(gaps)


def distance_if_true(gaps: np.ndarray) -> float:
    """The distance that chance alone gives, if each pair is ordered right with the probability that is claimed."""
    rng, sizes = np.random.default_rng(0), np.abs(gaps)
    claimed = 1 / (1 + np.exp(-sizes))
    drawn = [np.where(rng.random(len(sizes)) < claimed, sizes, -sizes) for _ in range(N_TRUE)]
    return float(np.mean([distance(one) for one in drawn]))


def _of(known: Known, numbers: np.ndarray) -> Known:
    return Known([known.rows[number] for number in numbers], known.features.take(numbers))


def _by_source(gaps: dict[str, np.ndarray], sources: list[str], trees: list[str]) -> dict[str, Any]:
    if len(set(sources)) == 1:
        return {}
    found: dict[str, Any] = {}
    for source in sorted(set(sources)):
        own = np.array([one == source for one in sources])
        these = [tree for tree, is_own in zip(trees, own, strict=True) if is_own]
        found[source] = compared({name: rows[:, own] for name, rows in gaps.items()}, these)
    return found


def told(name: str, found: dict[str, Any]) -> str:
    """A table: a line for each size, and one below it for each source."""
    head = f"{name}: {found['n_rankings']:,} rankings of {found['n_prompts']:,} prompts"
    names = f"{'rankings':>8}  {'probe':<22}  {'its draws':<15}  longer  shorter  words  ahead of the best"
    lines = [head, f"{names:<104}  log loss  claims more  distance (if true)"]
    for point in found["points"]:
        lines.append(_line(f"{point['n']:,}", point))
        lines += [_line(f"{point['n']:,}", one) + f"  only {source}" for source, one in point["by_source"].items()]
    return "\n".join(lines)


def _line(name: str, point: dict[str, Any]) -> str:
    ours, ahead = point["accuracy"][PROBE], point["ahead"]
    probe = f"{ours['mean']:.3f} [{ours['low']:.3f}, {ours['high']:.3f}]"
    draws = f"{min(point['draws']):.3f} to {max(point['draws']):.3f}"
    others = [point["accuracy"][one]["mean"] for one in (LONGER, SHORTER, WORDS)]
    difference = f"{ahead['mean']:+.3f} [{ahead['low']:+.3f}, {ahead['high']:+.3f}]"
    return (
        f"{name:>8}  {probe:<22}  {draws:<15}  {others[0]:>6.3f}  {others[1]:>7.3f}  {others[2]:.3f}  "
        f"{difference:<30}  {point['log_loss']['mean']:>8.3f}  {point['claims_more']['mean']:>+11.3f}  "
        f"{point['distance']:>8.3f} ({point['distance_if_true']:.3f})"
    )


def read(model: Path, path: Path, longest: int) -> Known:
    """The rankings of a file that are not too long, and what a probe reads of them."""
    text = load_text(model)
    rows = [row for _, row in rankings_of(path, "skip")]
    encoded = [encode_ranking(*text, row["messages"], row["answers"], row["ranks"]) for row in rows]
    kept = [number for number, one in enumerate(encoded) if max(map(len, one.ids)) <= longest]
    seen = features.answer_features(model, [encoded[number] for number in kept])
    return Known([rows[number] for number in kept], seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder whose states the probe reads")
    parser.add_argument("rankings", type=Path, nargs="+", help="rankings in any known format")
    parser.add_argument("--longest", type=int, default=256, help="tokens of a conversation; longer ones are left out")
    parser.add_argument("--only-together", action="store_true", help="leave out the files one by one")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.only_together and len(given.rankings) == 1:
        parser.error("--only-together: name several files")
    files = {path.name: read(given.model, path, given.longest) for path in given.rankings}
    if len(files) > 1:
        files[TOGETHER] = joined(list(files.values()))
    if given.only_together:
        files = {name: known for name, known in files.items() if name == TOGETHER}
    found = {}
    for name, known in files.items():
        found[name] = measure(known, SIZES[-1:] if name == TOGETHER else SIZES)
        if not given.json:
            print(told(name, found[name]), flush=True)
    if given.json:
        print(json.dumps(found, indent=2))


def joined(parts: Sequence[Known]) -> Known:
    """The rankings of several files as one."""
    return Known([row for part in parts for row in part.rows], features.joined([part.features for part in parts]))


if __name__ == "__main__":
    main()
