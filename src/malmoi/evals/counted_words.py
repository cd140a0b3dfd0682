"""Which answer people prefer, by the words and letter groups that it uses: what a reward model must know more than.

A logistic regression on the difference of two answers' counts (Bradley & Terry 1952), fitted in a second. It reads
neither the prompt nor the order of the words.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from malmoi.text import nfc

WORD = re.compile(r"\w+|[^\w\s]")
LETTERS = (3, 4)
"""Lengths of the letter groups of a word, whose ends are marked."""
FEWEST_ANSWERS = 2
"""A word or group in fewer answers is not counted."""
PENALTIES = (0.03, 0.3, 3.0)
"""Squared weights are penalised by one of these, per pair and in nats: the best for prompts that were left out."""
N_FOLDS = 4
MOST_STEPS, CLOSE, ENOUGH = 25, 1e-5, 1e-4
"""Of Newton's method: most steps, the slope at which it ends, and the share of the squared slope that a step may
leave."""


def counted(text: str) -> Counter[str]:
    """The words of a text and their letter groups, in lower case."""
    found: Counter[str] = Counter()
    for word in WORD.findall(nfc(text).lower()):
        marked = f"<{word}>"
        found[f"{word} "] += 1
        found.update(marked[i : i + n] for n in LETTERS for i in range(len(marked) - n + 1))
    return found


class _Pairs(NamedTuple):
    """Sparse differences of counts: names (N,), values (N,), start of each pair (P,), prompt of each pair (P,)."""

    names: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    prompts: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts, append=len(self.names))

    def gaps(self, weights: np.ndarray) -> np.ndarray:
        """(P,) score of the better answer minus that of the worse."""
        ends = np.concatenate([[0.0], np.cumsum(self.values * weights[self.names])])
        return np.asarray(ends[self.starts + self.lengths] - ends[self.starts])

    def slope(self, of_gaps: np.ndarray, n_names: int) -> np.ndarray:
        """The gradient by the weights, (n_names,), of a loss whose gradient by the gaps is `of_gaps` (P,)."""
        return np.bincount(self.names, self.values * np.repeat(of_gaps, self.lengths), n_names)

    def part(self, is_in: np.ndarray) -> "_Pairs":
        """The pairs of this mask (P,)."""
        is_name_in = np.repeat(is_in, self.lengths)
        starts = np.cumsum([0, *self.lengths[is_in]])[:-1]
        return _Pairs(self.names[is_name_in], self.values[is_name_in], starts, self.prompts[is_in])


class CountedWords:
    """Fitted to rankings, rows with `answers` and `ranks`. Ties are left out.

    penalty: the one of `PENALTIES` that was chosen
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        answers = [[counted(answer) for answer in row["answers"]] for row in rows]
        there = Counter(name for group in answers for one in group for name in one)
        kept = sorted(name for name, n in there.items() if n >= FEWEST_ANSWERS)
        self.number_of = {name: number for number, name in enumerate(kept)}
        pairs = self._pairs([[self._values(one) for one in group] for group in answers], [row["ranks"] for row in rows])
        self.penalty = self._chosen_penalty(pairs)
        self.weights = self._fit(pairs, self.penalty)

    def scores(self, rows: Sequence[Mapping[str, Any]]) -> list[list[float]]:
        """The score of each answer of each row, in nats; only differences within a row mean anything."""
        weights = self.weights.tolist()
        return [
            [
                sum(weights[name] * value for name, value in self._values(counted(answer)).items())
                for answer in row["answers"]
            ]
            for row in rows
        ]

    def _values(self, counts: Mapping[str, int]) -> dict[int, float]:
        """Number of each known name -> log of one more than its count."""
        return {self.number_of[name]: float(np.log1p(n)) for name, n in counts.items() if name in self.number_of}

    def _pairs(self, values: Sequence[Sequence[Mapping[int, float]]], ranks: Sequence[Sequence[int]]) -> _Pairs:
        names: list[int] = []
        differences: list[float] = []
        starts: list[int] = []
        prompts: list[int] = []
        for prompt, (group, rank) in enumerate(zip(values, ranks, strict=True)):
            for i, j in combinations(range(len(group)), 2):
                if rank[i] == rank[j]:
                    continue
                better, worse = (group[i], group[j]) if rank[i] < rank[j] else (group[j], group[i])
                found = {name: better.get(name, 0.0) - worse.get(name, 0.0) for name in {**better, **worse}}
                starts.append(len(names))
                prompts.append(prompt)
                names += found
                differences += found.values()
        return _Pairs(
            np.array(names, dtype=np.int64), np.array(differences), np.array(starts, dtype=np.int64),
            np.array(prompts, dtype=np.int64),
        )  # fmt: skip

    def _chosen_penalty(self, pairs: _Pairs) -> float:
        n_prompts = len(np.unique(pairs.prompts))
        if n_prompts < 2 * N_FOLDS:
            return PENALTIES[-1]
        fold = np.random.default_rng(0).permutation(int(pairs.prompts.max()) + 1)[pairs.prompts] % N_FOLDS
        losses = [
            np.mean(np.concatenate([self._left_out(pairs, fold == k, penalty) for k in range(N_FOLDS)]))
            for penalty in PENALTIES
        ]
        return PENALTIES[int(np.argmin(losses))]

    def _left_out(self, pairs: _Pairs, is_out: np.ndarray, penalty: float) -> np.ndarray:
        """The losses of these pairs, with weights that were fitted to the others."""
        gaps = pairs.part(is_out).gaps(self._fit(pairs.part(~is_out), penalty))
        return np.asarray(np.logaddexp(0, -gaps))

    def _fit(self, pairs: _Pairs, penalty: float) -> np.ndarray:
        """The weights with the least loss, by Newton's method; the loss is convex, so there is one."""
        weights = np.zeros(len(self.number_of))
        for _ in range(MOST_STEPS if len(pairs.starts) else 0):
            chances = 1 / (1 + np.exp(pairs.gaps(weights)))  # of the wrong order
            slope = 2 * penalty * weights - pairs.slope(chances / len(chances), len(weights))
            if np.sqrt(slope @ slope) < CLOSE:
                break
            weights = weights - _step(pairs, chances * (1 - chances) / len(chances), penalty, slope)
        return weights


def _step(pairs: _Pairs, curvature: np.ndarray, penalty: float, slope: np.ndarray) -> np.ndarray:
    """Newton's step, by conjugate gradients. curvature: of each pair's loss by its gap (P,)"""
    step, left = np.zeros_like(slope), slope
    direction, size = left, left @ left
    for _ in range(MOST_STEPS):
        curved = pairs.slope(curvature * pairs.gaps(direction), len(slope)) + 2 * penalty * direction
        length = size / (direction @ curved)
        step, left = step + length * direction, left - length * curved
        size, before = left @ left, size
        if size <= ENOUGH * (slope @ slope):
            break
        direction = left + size / before * direction
    return step
