"""Best-of-n: sample n answers and keep the one with the highest reward score. No training, but n times the work."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.data.comparisons import encode_ranking
from malmoi.errors import DataError, UserError
from malmoi.evals.reward_scores import followed_scores
from malmoi.files import sha256_of
from malmoi.formats.folder import load_reward_model, load_text, score_std
from malmoi.formats.inspect import kind_of
from malmoi.train.policy_maths import priced

MISSING_EOS_PENALTY = 1.0
"""Penalty of an answer that did not end its turn, in standard deviations of the reward model's scores, where no setting
gives it. It equals the default of PPO, GRPO and comparisons."""


def best_index(scores: Sequence[float], finished: Sequence[bool], price: float) -> int:
    """Index of the answer to keep: the highest score, minus `price` if the answer did not end, as in PPO."""
    return int(priced(np.array(scores), np.array(finished), price).argmax())


def kl_bound(n: int) -> float:
    """log n - (n - 1) / n nats: an upper bound of the KL of best-of-n from the policy that it samples from.

    Source: arXiv:2009.01325, appendix G.3; arXiv:2401.01879 proves that it is a bound.
    """
    return math.log(n) - (n - 1) / n


def best_weights(scores: np.ndarray, n: int) -> np.ndarray:
    """The probability that each of a prompt's N answers is the best of n, drawn without replacement.

    scores: (prompts, N), N at least n. Returns (prompts, N); rows sum to 1. With these weights the mean of any other
    quantity of the answers is an unbiased estimate for best-of-n.
    Source: Nakano et al. 2021 (arXiv:2112.09332), appendix I.
    """
    n_all = scores.shape[1]
    chances = np.array([math.comb(n_all - 1 - place, n - 1) / math.comb(n_all, n) for place in range(n_all)])
    places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return np.asarray(chances[places])


class BestOf:
    """A reward model that keeps the best answer to each prompt: a `Chooser` of `inference/answer_file.py`.

    name: what the lines call the reward model in `folder`
    Raises UserError for a model that writes answers instead of scoring them.
    """

    def __init__(self, name: str, folder: Path) -> None:
        if kind_of(folder) != "reward":
            raise UserError(f"--best-by {name}: writes answers and scores none; name a reward model")
        self.about = {"reward_model": name, "reward_model_sha256": sha256_of(folder)}
        self.network = load_reward_model(folder)
        self.tokenizer, self.template = load_text(folder)
        self.price = MISSING_EOS_PENALTY * score_std(folder)

    def choose(self, lines: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
        """The best of each prompt's n lines, with the scores of all n. Raises DataError if one is too long to read."""
        groups = [lines[start : start + n] for start in range(0, len(lines), n)]
        texts = ((group[0]["messages"], [line["answer"] for line in group]) for group in groups)
        rankings = [encode_ranking(self.tokenizer, self.template, *text, [1] * n) for text in texts]
        longest = max(len(ids) for ranking in rankings for ids in ranking.ids)
        if longest > self.network.config.seq_len:
            raise DataError(
                f"--best-by: {longest} tokens are more than the reward model's context ({self.network.config.seq_len})"
            )
        chosen = []
        found = followed_scores(self.network, rankings, self.tokenizer.pad_id)
        for group, scores in zip(groups, (row.tolist() for row in found), strict=True):
            place = best_index(scores, [line["finish_reason"] == "stop" for line in group], self.price)
            chosen.append({**group[place], "n": n, "score": scores[place], "scores": scores, **self.about})
        return chosen
