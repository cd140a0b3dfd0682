"""A judge of another kind: it counts words, and shares no network with the reward model, so none of its mistakes.

The judge of a recipe usually reads the same network as the reward model. What both take for better without people
doing so then looks like a gain. Counted words know less, but err in other ways.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from malmoi.data.formats import rankings
from malmoi.evals.counted_words import CountedWords
from malmoi.evals.interval import bootstrap
from malmoi.evals.judge_error import JudgeError
from malmoi.evals.judged import Scores, error_of, win_rates
from malmoi.evals.reward_baselines import baseline_scores, compare_with_baselines

Texts = Mapping[str, Sequence[Sequence[str]]]
NAME = "counted words"


class WordsJudge(NamedTuple):
    """What counted words say.

    scores: of each method's answers, (prompts, answers); facts: accuracy on people's held-out pairs, `alarm` where it
    is not shown to know more than length; error: how often it is right about those pairs
    """

    scores: Scores
    facts: dict[str, Any]
    error: JudgeError

    def row(self, name: str, start: str) -> dict[str, Any]:
        """`by_words`, a method's win rate against `start` and what people would say, and `words_gain` over it."""
        own, theirs = self.scores[name], self.scores[start]
        wins = win_rates(own, theirs, is_same=name == start).mean(axis=1)
        return self._row(wins, own.mean(axis=1) - theirs.mean(axis=1))

    def row_of_chosen(self, weights: np.ndarray, start: str) -> dict[str, Any]:
        """The same of one of `start`'s answers that is taken with these weights, (prompts, answers)."""
        own = self.scores[start]
        wins = (weights * win_rates(own, own, is_same=True)).sum(axis=1)
        return self._row(wins, (weights * own).sum(axis=1) - own.mean(axis=1))

    def _row(self, wins: np.ndarray, gains: np.ndarray) -> dict[str, Any]:
        return {
            "by_words": {"win_rate": bootstrap(wins).to_row(), "corrected": self.error.corrected(wins)},
            "words_gain": bootstrap(gains).to_row(),
        }


def judge_by_words(taught: Path, heldout: Path, texts: Texts) -> WordsJudge:
    """Count words in rankings that the reward model was not trained on, and let them judge answers.

    heldout: rankings that neither was trained on; texts: method -> its answers to each prompt
    """
    training, rows = ([row for _, row in rankings(path)] for path in (taught, heldout))
    words = CountedWords(training)
    found = words.scores(rows)
    facts = compare_with_baselines(rows, found, baseline_scores(rows, None), NAME)
    error = error_of(rows, found, facts["alarm"])
    accuracy = bootstrap(error.right, error.trees).to_row()
    scores = {name: np.array(words.scores([{"answers": group} for group in groups])) for name, groups in texts.items()}
    return WordsJudge(scores, {"accuracy": accuracy, "n_pairs": len(error.right), **facts}, error)
