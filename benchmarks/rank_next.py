"""`python -m benchmarks.rank_next MODEL FILE`: does it save labels to rank what says most first?

A simulation on real rankings (`malmoi/evals/rank_next.py`). The prompts of a file are split: some are held out, the
others wait to be ranked. After the same random first ones, one team ranks at random and one ranks what the probe
expects to learn most from, a few at a time; the known ranks are revealed as they go. After each step a probe is fitted
and measured on the held-out rankings.

Prints the accuracy of both by the number of rankings, the paired difference with its interval by prompt over all seeds,
and the share of labels saved: how many fewer the informed team needed for the accuracy that chance has at the end.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from malmoi.data.comparisons import read_rankings
from malmoi.evals.interval import bootstrap
from malmoi.evals.rank_next import order_to_rank
from malmoi.evals.reward_accuracy import score_gaps
from malmoi.formats.folder import load_config, load_text
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


def saved(sizes: Sequence[int], informed: Sequence[float], chance: Sequence[float]) -> float | None:
    """The share of labels saved at the accuracy that chance has at the end; None if the informed never get there."""
    goal = chance[-1]
    for place, accuracy in enumerate(informed):
        if accuracy >= goal:
            before = informed[place - 1] if place else accuracy
            part = 1.0 if place == 0 or accuracy == before else (goal - before) / (accuracy - before)
            needed = sizes[place] if place == 0 else sizes[place - 1] + part * (sizes[place] - sizes[place - 1])
            return 1 - needed / sizes[-1]
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model folder whose states the probe reads")
    parser.add_argument("rankings", type=Path, help="rankings in any known format")
    parser.add_argument("--most", type=int, default=200, help="rankings at the end")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rankings = read_rankings(given.rankings, *load_text(given.model), load_config(given.model).seq_len)
    features = answer_features(given.model, rankings)
    sizes = [size for size in (50, 75, 100, 150, 200, 400, 800) if size <= given.most]
    ranks, trees = [one.ranks for one in rankings], [one.tree for one in rankings]
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
    return {"points": rows, "saved": saved(sizes, means[INFORMED], means[CHANCE])}


def told(found: dict[str, object]) -> str:
    points: list[dict[str, dict[str, float]]] = found["points"]  # type: ignore[assignment]
    lines = [f"{'rankings':>8}  {'informed':>8}  {'chance':>8}  difference"]
    for point in points:
        gap = point["difference"]
        lines.append(
            f"{point['n']:>8}  {point[INFORMED]['mean']:>8.3f}  {point[CHANCE]['mean']:>8.3f}  "
            f"{gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        )
    share = found["saved"]
    ending = "labels saved: none" if share is None else f"labels saved at the last accuracy of chance: {share:.0%}"
    return "\n".join([*lines, ending])


if __name__ == "__main__":
    main()
