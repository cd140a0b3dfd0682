"""Alarms about a policy's latest iteration: each with its cause and its remedy."""

from collections.abc import Mapping, Sequence

WINDOW = 8
FEWEST_DISTINCT = 0.1
LEAST_RANGE = 1e-6
"""Reward units between the highest and the lowest score below which all scores count as equal."""


def find_alarms(
    metrics: Mapping[str, float], kl_budget: float, scores: Sequence[float], golds: Sequence[float]
) -> dict[str, str]:
    """Name -> cause of each alarm that the latest iteration raises.

    metrics: `info` of `RolloutSteps`; scores, golds: means of all iterations so far
    """
    found = {}
    # The mean of few answers is skewed: five standard errors, so that noise raises no alarm.
    if metrics["kl"] < -5 * metrics["kl_error"] - 1e-3:
        found["negative_kl"] = (
            f"the KL estimate is {metrics['kl']:.3f} nats, below zero by more than its noise: answers are not sampled "
            "from the policy that scores them (temperature, top-p, or a stale copy)"
        )
    if metrics["kl"] > kl_budget:
        found["kl_budget"] = (
            f"KL {metrics['kl']:.1f} nats is over the budget of {kl_budget:g}: training stops; raise beta"
        )
    if metrics.get("finished") == 0:
        found["never_ends"] = (
            "no sampled answer ever ended: raise max_tokens, or start from a model that ends its turns"
        )
    if metrics["distinct"] < FEWEST_DISTINCT:
        found["collapse"] = (
            f"only {metrics['distinct']:.0%} of the answers differ: the policy answers all prompts alike"
        )
    if metrics.get("score_range", 1.0) < LEAST_RANGE:
        found["equal_scores"] = (
            "all scores are equal: the reward model scores every answer alike, and nothing can be learned from that; "
            "train it on more rankings, or for longer"
        )
    if _is_overoptimised(scores, golds):
        score_rise, gold_fall = _rise(scores), -_rise(golds)
        found["overoptimised"] = (
            f"the reward rose by {score_rise:.2f} while the simulated labeler's own rule fell by {gold_fall:.3f}: "
            "the policy exploits the reward model; raise beta or stop earlier"
        )
    return found


def _is_overoptimised(scores: Sequence[float], golds: Sequence[float]) -> bool:
    if len(scores) < 2 * WINDOW or len(golds) != len(scores):
        return False
    return _rise(scores) > 0.1 and _rise(golds) < -0.02


def _rise(values: Sequence[float]) -> float:
    """From the mean of the first iterations to that of the last ones."""
    return (sum(values[-WINDOW:]) - sum(values[:WINDOW])) / WINDOW
