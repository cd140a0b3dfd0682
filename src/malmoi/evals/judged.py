"""What a reward model says of sampled answers, how often it is right about people's pairs, and win rates by it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from malmoi.data.comparisons import Ranking, encode_ranking
from malmoi.data.formats import rankings
from malmoi.evals.answering import AnswerGroups
from malmoi.evals.best_of import best_weights
from malmoi.evals.judge_error import JudgeError
from malmoi.evals.reward_accuracy import SourcedRanking, measure_heads, score_gaps
from malmoi.evals.reward_baselines import baseline_scores, compare_with_baselines
from malmoi.evals.reward_scores import followed_scores, head_scores
from malmoi.formats.folder import load_reward_model
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

Text = tuple[Tokenizer, ChatTemplate]
Ids = Sequence[Sequence[int]]
Scores = dict[str, np.ndarray]
"""Name of a method or curve point -> scores, (prompts, answers)."""


class Judged(NamedTuple):
    """What a reward model says.

    scores: of all answers, less what the model's `caution` takes away
    spread: their standard deviation over the heads, in reward units; empty without an ensemble
    facts: its measures on held-out rankings, next to its baselines; error: how often it is right about them
    """

    scores: Scores
    spread: Scores
    facts: dict[str, Any]
    error: JudgeError


def judge_answers(
    name: str, folder: Path, files: tuple[Path, Path | None], text: Text,
    to_score: Mapping[str, tuple[Ids, AnswerGroups]],
) -> Judged:  # fmt: skip
    """Let the reward model in this folder score answers and held-out rankings.

    name: what alarms call it; files: held-out rankings, and those that it was trained on, None if they are not known
    """
    tokenizer, template = text
    model = load_reward_model(folder)
    rows, taught = ([row for _, row in rankings(path)] if path else None for path in files)
    assert rows is not None
    known = [
        SourcedRanking(
            encode_ranking(tokenizer, template, row["messages"], row["answers"], row["ranks"]),
            row["source"], row["tree"],
        )
        for row in rows
    ]  # fmt: skip
    by_head = head_scores(model, [one.ranking for one in known], tokenizer.pad_id)
    means = [heads.mean(axis=1).tolist() for heads in by_head]
    facts = measure_heads(known, by_head)
    facts |= compare_with_baselines(rows, means, baseline_scores(rows, taught), name)
    error = error_of(rows, means, facts["alarm"])
    # As in PPO, an answer that was cut off is read with its last token replaced by the end of turn, because the reward
    # model was trained on whole turns.
    end = tokenizer.end_of_turn_id
    scores, spread = {}, {}
    for method, (prompts, answers) in to_score.items():
        turns = [
            Ranking(
                [[*ids, *(answer.ids if answer.finished else answer.ids[:-1]), end] for answer in group],
                [1] * len(group),
                n_prompt=len(ids),
            )
            for ids, group in zip(prompts, answers, strict=True)
        ]
        heads = np.array(head_scores(model, turns, tokenizer.pad_id))
        cautious = np.array(followed_scores(model, turns, tokenizer.pad_id)) if model.caution else heads.mean(axis=2)
        scores[method], spread[method] = cautious, heads.std(axis=2)
    return Judged(scores, spread if model.n_heads > 1 else {}, facts, error)


def error_of(rows: Sequence[Mapping[str, Any]], scores: Sequence[Sequence[float]], doubt: str) -> JudgeError:
    """How often these scores of people's rankings order a pair as people did. doubt: see `JudgeError`"""
    found = score_gaps(scores, [row["ranks"] for row in rows])
    return JudgeError(found.right, [rows[place]["tree"] for place in found.prompts], doubt)


def win_rates(ours: np.ndarray, theirs: np.ndarray, is_same: bool = False) -> np.ndarray:
    """The share of their answers to the same prompt that each of our answers beats; a tie counts half. (prompts, n)

    is_same: ours are theirs, and no answer is compared with itself
    """
    a, b = ours[:, :, None], theirs[:, None, :]
    wins = ((a > b) + 0.5 * (a == b)).sum(axis=2)
    return np.asarray((wins - 0.5 * is_same) / max(1, theirs.shape[1] - is_same))


def wins_against(ours: np.ndarray, theirs: np.ndarray, weights: np.ndarray, is_same: bool = False) -> np.ndarray:
    """`win_rates` against one of their answers that is drawn with these weights, (prompts, m). (prompts, n)

    is_same: ours are theirs; an answer is compared with the others, whose weights then count as a whole; one that is
    always drawn ties with itself
    """
    a, b = ours[:, :, None], theirs[:, None, :]
    counted = np.broadcast_to(weights[:, None, :], (*ours.shape, theirs.shape[1])).copy()
    if is_same:
        counted[:, np.arange(ours.shape[1]), np.arange(ours.shape[1])] = 0
    wins, total = (((a > b) + 0.5 * (a == b)) * counted).sum(axis=2), counted.sum(axis=2)
    return np.asarray(np.where(total > 0, wins / np.maximum(total, 1e-12), 0.5))


def longer_of_two(answers: AnswerGroups) -> np.ndarray:
    """The probability that each of a prompt's answers is the longer of two of them, in tokens. (prompts, n)

    Of equally long answers each is as likely to be taken: an average over both orders of such ties.
    """
    lengths = np.array([[len(answer.ids) for answer in group] for group in answers], dtype=np.float64)
    there_and_back = best_weights(lengths, 2), best_weights(lengths[:, ::-1], 2)[:, ::-1]
    return np.asarray((there_and_back[0] + there_and_back[1]) / 2)
