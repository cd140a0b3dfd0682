"""`python -m benchmarks.gate`: how often the gate errs, and how long it takes, in simulated comparisons.

Somebody looks after every comparison and stops at the first verdict. Prints the share of runs that were called better
and worse, and the number of prompts within which four of five runs were decided: for win rates of the candidate, with
ties and with several comparisons of one prompt, which are alike because each prompt has a win rate of its own.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from malmoi.feedback.gate import ALPHA, bets, log_growth

SEED = 1


def simulate(
    rate: float, n_runs: int, n_prompts: int, tie_share: float = 0.0, per_prompt: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The prompt at which each run is first called better, and worse: (n_runs,), `n_prompts` + 1 for never."""
    rng = np.random.default_rng(SEED)
    of_prompt = rng.beta(2 * rate, 2 * (1 - rate), (n_runs, n_prompts)) if per_prompt > 1 else np.full((1, 1), rate)
    scores = np.zeros((n_runs, n_prompts))
    for _ in range(per_prompt):
        won = rng.random((n_runs, n_prompts)) < of_prompt
        scores += np.where(rng.random((n_runs, n_prompts)) < tie_share, 0.5, won) / per_prompt
    return first_crossing(scores, "above"), first_crossing(scores, "below")


def first_crossing(scores: NDArray[np.float64], side: str) -> NDArray[np.int64]:
    """The prompt, counted from 1, at which the capital that is bet on this side reaches 1 / ALPHA."""
    capital = np.zeros_like(scores)
    for rate, log_share in zip(*bets(0.5, "above" if side == "above" else "below"), strict=True):
        capital += np.exp(log_share + np.cumsum(log_growth(scores, rate, 0.5), axis=1))
    crossed = capital >= 1 / ALPHA
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1, scores.shape[1] + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--prompts", type=int, default=500)
    given = parser.parse_args()
    print("win rate  ties  per prompt  better  worse  four of five decided within")
    for rate in (0.5, 0.6, 0.65, 0.7, 0.4):
        for ties, per_prompt in ((0.0, 1), (0.3, 1), (0.0, 3)):
            better, worse = simulate(rate, given.runs, given.prompts, ties, per_prompt)
            decided = np.minimum(better, worse)
            within = int(np.percentile(decided, 80, method="inverted_cdf"))
            said = f"{within}" if within <= given.prompts else f"more than {given.prompts}"
            is_better = (better <= given.prompts) & (better < worse)
            is_worse = (worse <= given.prompts) & (worse < better)
            print(f"{rate:8}  {ties:4}  {per_prompt:10}  {is_better.mean():6.3f}  {is_worse.mean():5.3f}  {said}")


if __name__ == "__main__":
    main()
