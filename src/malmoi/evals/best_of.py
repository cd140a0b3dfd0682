"""Best-of-n: sample n answers and keep the one with the highest reward score. No training, but n times the work."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malmoi.data.comparisons import encode_ranking, ranking_ids
from malmoi.errors import DataError, UserError
from malmoi.evals.reward_scores import followed_scores
from malmoi.files import sha256_of
from malmoi.formats.folder import load_reward_model, load_text, score_std
from malmoi.formats.inspect import kind_of
from malmoi.inference.best import BestOf as InService
from malmoi.inference.best import Words
from malmoi.inference.memory import check_fits
from malmoi.tokenizer.chat_template import Message
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


class RewardJudge:
    """A reward model that scores the answers to one conversation: a `Judge` of `inference/best.py`.

    Raises UserError for a model that writes answers instead of scoring them, and for one that does not fit into memory.
    """

    def __init__(self, name: str, folder: Path) -> None:
        if kind_of(folder) != "reward":
            raise UserError(f"{name}: writes answers and scores none; name a reward model")
        check_fits(name, folder, torch.float32)
        self.network = load_reward_model(folder)
        self.tokenizer, self.template = load_text(folder)
        self.price = MISSING_EOS_PENALTY * score_std(folder)

    def scores(self, messages: Sequence[Message], said: Sequence[Words]) -> list[float]:
        """The score of each answer, minus a price where it did not end; -inf for one that is too long to be read."""
        ids = ranking_ids(self.tokenizer, self.template, messages, [words.text for words in said])
        fits = [len(one) <= self.network.config.seq_len for one in ids]
        found = iter(self._read(messages, [one.text for one, is_fit in zip(said, fits, strict=True) if is_fit]))
        scores = [next(found) if is_fit else -math.inf for is_fit in fits]
        ended = np.array([words.finished for words in said])
        return [float(score) for score in priced(np.array(scores), ended, self.price)]

    def _read(self, messages: Sequence[Message], answers: Sequence[str]) -> list[float]:
        if not answers:
            return []
        ranking = encode_ranking(self.tokenizer, self.template, messages, answers, [1] * len(answers))
        return [float(score) for score in followed_scores(self.network, [ranking], self.tokenizer.pad_id)[0]]


def best_of(n: int, temperature: float, name: str, folder: Path) -> InService:
    """Best-of-n with the reward model in a folder. Raises UserError if it cannot be loaded, or scores nothing."""
    return InService(n, temperature, RewardJudge(name, folder))


class BestOf:
    """A reward model that keeps the best answer to each prompt: a `Chooser` of `inference/answer_file.py`.

    name: what the lines call the reward model in `folder`
    Raises UserError for a model that writes answers instead of scoring them.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.judge = RewardJudge(f"--best-by {name}", folder)
        self.about = {"reward_model": name, "reward_model_sha256": sha256_of(folder)}
        self.template = self.judge.template

    def choose(self, lines: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
        """The best of each prompt's n lines, with the scores of all n. Raises DataError if one is too long to read."""
        groups = [lines[start : start + n] for start in range(0, len(lines), n)]
        texts = ((group[0]["messages"], [line["answer"] for line in group]) for group in groups)
        judge = self.judge
        rankings = [encode_ranking(judge.tokenizer, judge.template, *text, [1] * n) for text in texts]
        longest, room = max(len(ids) for ranking in rankings for ids in ranking.ids), judge.network.config.seq_len
        if longest > room:
            raise DataError(f"--best-by: {longest} tokens are more than the reward model's context ({room})")
        chosen = []
        found = followed_scores(judge.network, rankings, judge.tokenizer.pad_id)
        for group, scores in zip(groups, (row.tolist() for row in found), strict=True):
            place = best_index(scores, [line["finish_reason"] == "stop" for line in group], judge.price)
            chosen.append({**group[place], "n": n, "score": scores[place], "scores": scores, **self.about})
        return chosen
