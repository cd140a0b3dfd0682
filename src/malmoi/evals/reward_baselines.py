"""What a reward model must beat to be worth following: length, counted words, and how far people agree themselves.

All are measured on the pairs that the reward model is measured on, and the difference is paired.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from malmoi.evals.agreement import outcomes
from malmoi.evals.counted_words import CountedWords
from malmoi.evals.interval import Interval, bootstrap
from malmoi.evals.reward_accuracy import score_gaps

Row = Mapping[str, Any]
Scores = Sequence[Sequence[float]]
"""Of each ranking, the scores of its answers."""
LONGER, SHORTER, WORDS, PROBE = "the longer answer", "the shorter answer", "counted words", "the probe"
FOLLOWS = {
    LONGER: "PPO and best-of-n will follow length",
    SHORTER: "PPO and best-of-n will follow brevity",
    WORDS: "PPO and best-of-n will follow the choice of words",
    PROBE: 'training only took away from what the network knew; set reward.method = "probe"',
}
"""What a policy does that is trained with a reward model that knows no more than this baseline."""
REWARD_MODEL = "the reward model"
"""The name of a model that policies follow; one of another name only judges."""
FEWEST_PROMPTS = 30
"""With fewer held-out prompts an interval says nothing."""


def baseline_scores(rows: Sequence[Row], training: Sequence[Row] | None) -> dict[str, Scores]:
    """Name -> scores of these rankings. training: rankings that words are counted in; None: they are not known"""
    lengths = [[float(len(answer)) for answer in row["answers"]] for row in rows]
    found: dict[str, Scores] = {LONGER: lengths, SHORTER: [[-length for length in group] for group in lengths]}
    return found if training is None else found | {WORDS: CountedWords(training).scores(rows)}


def compare_with_baselines(
    rows: Sequence[Row], scores: Scores, baselines: Mapping[str, Scores], name: str = REWARD_MODEL
) -> dict[str, Any]:
    """A reward model next to its baselines, on the same rankings.

    rows: with answers, ranks, source, tree and, if known, annotators; scores: of the reward model; name: in the alarm
    Returns `baselines`: name -> accuracy, `by_source` and `ahead`, by how much the reward model is more accurate,
    paired; `best`: the name of the most accurate baseline; `people`: how often one person orders a pair as another
    did, as an interval or None; `alarm`: a sentence, or "" if the reward model is better than the best baseline, and
    clearly worse than one of them in no source, and people do not contradict each other.
    """
    ranks = [row["ranks"] for row in rows]
    pairs = score_gaps(scores, ranks)
    ours = pairs.right
    found = {one: score_gaps(theirs, ranks).right for one, theirs in baselines.items()}
    trees = [rows[place]["tree"] for place in pairs.prompts]
    sources = np.array([rows[place]["source"] for place in pairs.prompts])
    measured = {
        one: {
            "accuracy": bootstrap(right, trees).to_row(),
            "ahead": bootstrap(ours - right, trees).to_row(),
            "by_source": {
                source: bootstrap(right[sources == source], _of(trees, sources == source)).to_row()
                for source in sorted(set(sources.tolist()))
            },
        }
        for one, right in found.items()
    }
    best = max(found, key=lambda one: float(found[one].mean())) if len(ours) else ""
    people = people_agreement(rows)
    alarm = _alarm_of_people(people)
    if best:
        alarm = alarm or _alarm(name, best, bootstrap(ours - found[best], trees))
    alarm = alarm or _alarm_of_source(name, ours, found, trees, sources)
    return {
        "baselines": measured,
        "best": best,
        "people": people.to_row() if people.n else None,
        "alarm": alarm,
    }


def people_agreement(rows: Sequence[Row]) -> Interval:
    """How often one person orders a pair as another did; a tie of one of them counts half. Resampled by tree.

    It is of pairs that at least two people judged: in `annotators` of a row, or in several rows with the same answers.
    No model can predict one person much better than that. n of the interval is 0 if no pair was judged twice.
    """
    said: dict[str, list[list[int]]] = defaultdict(list)
    tree_of: dict[str, str] = {}
    for row in rows:
        order = sorted(range(len(row["answers"])), key=lambda place: row["answers"][place])
        key = json.dumps([row["messages"], [row["answers"][place] for place in order]], sort_keys=True)
        judged = row.get("annotators") or [row["ranks"]]
        said[key] += [[ranks[place] for place in order] for ranks in judged]
        tree_of[key] = row["tree"]
    values: list[float] = []
    trees: list[str] = []
    for key, rankings in said.items():
        for a, b in combinations(map(outcomes, rankings), 2):
            are_alike = np.where((a == 0) | (b == 0), 0.5, a == b)
            values += are_alike.tolist()
            trees += [tree_of[key]] * len(are_alike)
    return bootstrap(values, trees)


def _of(values: Sequence[str], mask: np.ndarray) -> list[str]:
    return [value for value, is_in in zip(values, mask, strict=True) if is_in]


def _alarm_of_people(people: Interval) -> str:
    if people.n < FEWEST_PROMPTS or people.high >= 0.5:
        return ""
    return (
        f"people contradict each other: one person orders {people} of the pairs as another does, so that no model can "
        "please both; choose whose judgement counts (reward.follow), or agree on what a better answer is"
    )


def _alarm(name: str, best: str, ahead: Interval) -> str:
    if ahead.low > 0:
        return ""
    if ahead.n < FEWEST_PROMPTS:
        return (
            f"{name}: {ahead.n} held-out prompts are too few to say whether it knows more than {best}; hold out more "
            "(data.heldout_fraction), or rank more"
        )
    how = "orders no more pairs as ranked than" if ahead.mean <= 0 else "is not shown to be better than"
    follows = _follows(name, best)
    return f"{name} {how} {best} (difference {ahead}): {follows}; rank more, or keep to sources that want one thing"


def _follows(name: str, best: str) -> str:
    """What it means that a model knows no more than this baseline."""
    if name != REWARD_MODEL:
        return f"what it says may be {best} and no more"
    return FOLLOWS.get(best, f"{best} is the better guide")


def _alarm_of_source(
    name: str, ours: np.ndarray, found: Mapping[str, np.ndarray], trees: Sequence[str], sources: np.ndarray
) -> str:
    """A sentence about the first source in which a baseline is clearly ahead, "" if there is none."""
    for source in sorted(set(sources.tolist())):
        mask = sources == source
        for one, right in found.items():
            ahead = bootstrap((ours - right)[mask], _of(trees, mask))
            if ahead.high < 0 and ahead.n >= FEWEST_PROMPTS:
                return (
                    f"{name}: of {source}, {one} orders more pairs as ranked (difference {ahead}): there, "
                    f"{_follows(name, one)}"
                )
    return ""
