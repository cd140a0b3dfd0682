"""`python -m benchmarks.rank_next MODEL FILE`: does it save labels to rank what says most first?

A simulation on real rankings (`malmoi/evals/rank_next.py`). The prompts of a file are split: some are held out, the
others wait to be ranked. After the same random first ones, one team ranks at random and one ranks what the probe
expects to learn most from, a few at a time; the known ranks are revealed as they go. After each step a probe is fitted
and measured on the held-out rankings.

Prints the accuracy of both by the number of rankings, the paired difference with its interval by prompt over all seeds,
and the share of labels saved: how many fewer the informed team needed for the accuracy that chance has at the end, with
its interval. A team that never gets there has saved none.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from malmoi.data.comparisons import encode_ranking
from malmoi.data.formats import rankings as rankings_of
from malmoi.evals.interval import N_RESAMPLES, bootstrap
from malmoi.evals.rank_next import order_to_rank
from malmoi.evals.reward_accuracy import score_gaps
from malmoi.formats.folder import load_text
from malmoi.train.features import Features, answer_features
from malmoi.train.probe import fit_probe

FIRST, STEP, SHARE_HELD_OUT = 25, 25, 0.4
INFORMED, CHANCE = "information", "chance"


def simulate(
    features: Features, ranks: Sequence[Sequence[int]], trees: Sequence[str], sizes: Sequence[int], seed: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    """How -> (sizes, P) whether each held-out pair is ordered right; and the tree of each pair.

    The split, and who begins with what, depend on the seed.
    """
    rng = np.random.default_rng(seed)
    names = rng.permutation(sorted(set(trees)))
    out = set(names[: int(SHARE_HELD_OUT * len(names))].tolist())
    held = [number for number, tree in enumerate(trees) if tree in out]
    pool = rng.permutation([number for number, tree in enumerate(trees) if tree not in out]).tolist()
    held_ranks, held_features = [ranks[number] for number in held], features.take(held)
    right: dict[str, list[np.ndarray]] = {INFORMED: [], CHANCE: []}
    pairs = score_gaps([[0.0] * len(rank) for rank in held_ranks], held_ranks).prompts
    for how, measured in right.items():
        ranked, waiting = pool[:FIRST], pool[FIRST:]
        for size in range(FIRST, sizes[-1] + 1, STEP):
            fit = fit_probe(features.take(ranked), [ranks[one] for one in ranked], [trees[one] for one in ranked])
            if size in sizes:
                gaps = score_gaps([one.tolist() for one in fit.scores(held_features)], held_ranks).gaps
                measured.append((gaps > 0) + 0.5 * (gaps == 0))
            n = min(STEP, len(waiting))
            order = range(n) if how == CHANCE else order_to_rank(fit.probe, features.take(waiting), n)
            taken = [waiting[place] for place in order]
            ranked, waiting = ranked + taken, [one for one in waiting if one not in set(taken)]
    return {how: np.array(found) for how, found in right.items()}, [trees[held[number]] for number in pairs]


def saved(sizes: Sequence[int], informed: Sequence[float], chance: Sequence[float]) -> float:
    """The share of labels saved at the accuracy that chance has at the end; 0 if the informed never get there."""
    goal = chance[-1]
    for place, accuracy in enumerate(informed):
        if accuracy >= goal:
            before = informed[place - 1] if place else accuracy
            part = 1.0 if place == 0 or accuracy == before else (goal - before) / (accuracy - before)
            needed = sizes[place] if place == 0 else sizes[place - 1] + part * (sizes[place] - sizes[place - 1])
            return 1 - float(needed) / sizes[-1]
    return 0.0


def saved_range(sizes: Sequence[int], values: dict[str, np.ndarray], trees: Sequence[str]) -> list[float]:
    """The 95 % bootstrap interval of the share saved, by tree."""
    keys = np.unique(np.asarray(trees), return_inverse=True)[1]
    n_trees = int(keys.max()) + 1
    counts = np.bincount(keys, minlength=n_trees)
    sums = {how: np.array([np.bincount(keys, row, n_trees) for row in found]) for how, found in values.items()}
    rng, shares = np.random.default_rng(0), []
    for _ in range(N_RESAMPLES):
        drawn = rng.integers(n_trees, size=n_trees)
        means = {how: (found[:, drawn].sum(axis=1) / counts[drawn].sum()).tolist() for how, found in sums.items()}
        shares.append(saved(sizes, means[INFORMED], means[CHANCE]))
    return np.percentile(shares, [2.5, 97.5]).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder whose states the probe reads")
    parser.add_argument("rankings", type=Path, help="rankings in any known format")
    parser.add_argument("--longest", type=int, default=256, help="tokens of a conversation; longer ones are left out")
    parser.add_argument("--most", type=int, default=200, help="rankings at the end")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    text = load_text(given.model)
    rows = [row for _, row in rankings_of(given.rankings, "skip")]
    trees = [row["tree"] for row in rows]
    encoded = [encode_ranking(*text, row["messages"], row["answers"], row["ranks"]) for row in rows]
    kept = [number for number, one in enumerate(encoded) if max(map(len, one.ids)) <= given.longest]
    rankings, trees = [encoded[number] for number in kept], [trees[number] for number in kept]
    features = answer_features(given.model, rankings)
    sizes = [size for size in (50, 75, 100, 150, 200, 400, 800) if size <= given.most]
    ranks = [one.ranks for one in rankings]
    runs = [simulate(features, ranks, trees, sizes, seed) for seed in range(given.seeds)]
    print(json.dumps(report(sizes, runs), indent=2) if given.json else told(report(sizes, runs)))


def report(sizes: Sequence[int], runs: Sequence[tuple[dict[str, np.ndarray], list[str]]]) -> dict[str, object]:
    """Accuracies by size, and how much sooner the informed team is there."""
    trees = [tree for _, found in runs for tree in found]
    values = {how: np.concatenate([right[how] for right, _ in runs], axis=1) for how in (INFORMED, CHANCE)}
    by_seed = {how: [right[how].mean(axis=1) for right, _ in runs] for how in (INFORMED, CHANCE)}
    means = {how: np.mean(found, axis=0).tolist() for how, found in by_seed.items()}
    rows = [
        {
            "n": size,
            **{how: bootstrap(found[place], trees).to_row() for how, found in values.items()},
            "difference": bootstrap(values[INFORMED][place] - values[CHANCE][place], trees).to_row(),
            "seeds": [float(a[place] - b[place]) for a, b in zip(by_seed[INFORMED], by_seed[CHANCE], strict=True)],
        }
        for place, size in enumerate(sizes)
    ]
    share = saved(sizes, means[INFORMED], means[CHANCE])
    return {"points": rows, "saved": share, "saved_range": saved_range(sizes, values, trees)}


def told(found: dict[str, object]) -> str:
    points: list[dict[str, dict[str, float]]] = found["points"]  # type: ignore[assignment]
    lines = [f"{'rankings':>8}  {'informed':>8}  {'chance':>8}  difference"]
    for point in points:
        gap = point["difference"]
        lines.append(
            f"{point['n']:>8}  {point[INFORMED]['mean']:>8.3f}  {point[CHANCE]['mean']:>8.3f}  "
            f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        )
    ends: list[float] = found["saved_range"]  # type: ignore[assignment]
    share = f"{found['saved']:.0%} [{ends[0]:.0%}, {ends[1]:.0%}]"
    return "\n".join([*lines, f"labels saved at the last accuracy of chance: {share}"])


if __name__ == "__main__":
    main()
