"""Pairs of compared answers for people to rank, and win rates that their rankings of some of them give."""

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.data.formats import RowReport, rankings
from malmoi.evals.agreement import outcomes
from malmoi.evals.interval import Interval
from malmoi.evals.judge_error import FEWEST_LABELLED, prediction_powered, with_verdict
from malmoi.text import canonical

Messages = Sequence[Mapping[str, Any]]
Texts = Mapping[str, Sequence[Sequence[str]]]
"""Name of a method -> its answers to each prompt; the first is the one that is ranked."""


def pairs_to_rank(asked: Sequence[Messages], texts: Texts, start: str, seed: int) -> list[dict[str, Any]]:
    """Rankings without ranks: the first answer of each method and of `start`, blind and in random order.

    The rows are shuffled, so that those ranked first are drawn at random. Equal answers are left out.
    """
    rng = random.Random(f"{seed} to rank")
    rows: list[dict[str, Any]] = []
    for name in texts:
        for messages, ours, theirs in zip(asked, texts[name], texts[start], strict=True):
            answers = [ours[0], theirs[0]]
            if name != start and canonical(answers[0]) != canonical(answers[1]):
                rng.shuffle(answers)
                rows.append({"messages": list(messages), "answers": answers, "ranks": None})
    rng.shuffle(rows)
    return rows


def people_said(
    path: Path, asked: Sequence[Messages], texts: Texts, start: str
) -> tuple[dict[str, dict[int, float]], int]:
    """Method -> number of a prompt -> how people ranked its pair: 1 if the method's answer won, 1/2 for a tie, their
    mean if several people did. And how many rankings are of other answers.

    Raises DataError if the file holds no ranking.
    """
    place_of = {
        (name, _key(messages, ours[0], theirs[0])): number
        for name in texts
        if name != start
        for number, (messages, ours, theirs) in enumerate(zip(asked, texts[name], texts[start], strict=True))
    }
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    n_other = 0
    for _, row in rankings(path, "skip", RowReport()):
        if len(row["answers"]) != 2:
            n_other += 1
            continue
        is_known = False
        for sign, (first, second) in ((1, row["answers"]), (-1, row["answers"][::-1])):
            for name in texts:
                number = place_of.get((name, _key(row["messages"], first, second)))
                if number is not None:
                    found[name][number].append(0.5 + 0.5 * sign * float(outcomes(row["ranks"])[0]))
                    is_known = True
        n_other += not is_known
    return {name: {n: float(np.mean(all_said)) for n, all_said in by.items()} for name, by in found.items()}, n_other


def by_people(said: Mapping[int, float], seen: np.ndarray, are_equal: Sequence[bool]) -> dict[str, Any] | None:
    """A method's win rate by people's rankings, and the judge's; None if people ranked too few.

    said: of some prompts; seen: (prompts,) what the judge says of the same pairs; are_equal: pairs that nobody need
    rank, because both answers are equal: each of them is a tie
    """
    places = [number for number in sorted(said) if not are_equal[number]]
    if len(places) < FEWEST_LABELLED:
        return None
    others = [float(seen[n]) for n in range(len(seen)) if n not in said and not are_equal[n]]
    found = prediction_powered([said[n] for n in places], [float(seen[n]) for n in places], others)
    tied = float(np.mean(are_equal))
    mixed = [tied / 2 + (1 - tied) * value for value in (found.mean, found.low, found.high)]
    return with_verdict(Interval(mixed[0], mixed[1], mixed[2], found.n))


def _key(messages: Messages, first: str, second: str) -> str:
    spoken = [[message["role"], canonical(message["content"])] for message in messages]
    return json.dumps([spoken, canonical(first), canonical(second)])
