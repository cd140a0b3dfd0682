"""The scores that a reward model gives to answers, and their zero and unit."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from malmoi import device, progress
from malmoi.data.batch import batches_by_length
from malmoi.data.comparisons import Comparisons, Ranking, collate_rankings, demonstration
from malmoi.model.scalar_model import ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

MOST_TOKENS = 8_192
SPREAD_RANKINGS = 128
BATCH_SIZE = 64


def head_scores(
    model: ScalarModel, rankings: Sequence[Ranking], pad_id: int, batch_size: int | None = None
) -> list[np.ndarray]:
    """The score of every answer by each head of the reward model: (K, H) for each ranking, float32.

    batch_size: rankings that are read together, in their order; None: rankings of similar length together, up to
    `MOST_TOKENS` tokens
    """

    def read(batch: Comparisons) -> Tensor:
        return model.scores(batch.ids, batch.branches, batch.starts)[batch.row, batch.last]

    return _of_answers(read, rankings, pad_id, batch_size)


def followed_scores(model: ScalarModel, rankings: Sequence[Ranking], pad_id: int) -> list[np.ndarray]:
    """What every answer counts for those who follow the model: its `lower_bounds`, (K,) for each ranking."""

    def read(batch: Comparisons) -> Tensor:
        ends = torch.zeros(batch.ids.shape, dtype=torch.bool, device=batch.ids.device)
        ends[batch.row, batch.last] = True  # in row order, as the answers are
        return model.lower_bounds(batch.ids, ends, batch.branches, batch.starts)

    return _of_answers(read, rankings, pad_id, None)


@torch.no_grad()
def _of_answers(
    read: Callable[[Comparisons], Tensor], rankings: Sequence[Ranking], pad_id: int, batch_size: int | None
) -> list[np.ndarray]:
    batches: Iterable[Sequence[int]]
    if batch_size is None:
        batches = batches_by_length([sum(map(len, ranking.ids)) for ranking in rankings], MOST_TOKENS)
    else:
        in_order = range(len(rankings))
        batches = [in_order[start : start + batch_size] for start in range(0, len(rankings), batch_size)]
    found: dict[int, np.ndarray] = {}
    for numbers in batches:
        part = [rankings[number] for number in numbers]
        batch = collate_rankings(part, pad_id).to(device.current().torch_device)
        with device.autocast():
            flat = read(batch).cpu().numpy()
        found.update(zip(numbers, np.split(flat, np.cumsum([len(one.ids) for one in part])[:-1]), strict=True))
        progress.report(len(found), len(rankings), "rankings")
    return [found[number] for number in range(len(rankings))]


def mean_scores(
    model: ScalarModel, rankings: Sequence[Ranking], pad_id: int, batch_size: int | None = None
) -> list[list[float]]:
    """The score of every answer of every ranking: the mean over the heads. batch_size: as in `head_scores`."""
    return [scores.mean(axis=1).tolist() for scores in head_scores(model, rankings, pad_id, batch_size)]


def reward_bias(
    model: ScalarModel, text: tuple[Tokenizer, ChatTemplate], conversations: Sequence[Sequence[dict[str, str]]]
) -> list[float]:
    """Mean score of these demonstrations by each head, read at the token that the model was trained at: the end of the
    turn."""
    tokenizer, template = text
    rankings = [demonstration(tokenizer, template, messages) for messages in conversations]
    scores = head_scores(model, rankings, tokenizer.pad_id, BATCH_SIZE)
    return [float(np.mean([float(row[0, head]) for row in scores])) for head in range(model.n_heads)]


def score_spread(model: ScalarModel, rankings: Sequence[Ranking], pad_id: int, seed: int) -> float:
    """Standard deviation of the model's scores over the answers of some of these rankings.

    It is the unit in which PPO, GRPO, best-of-n and comparisons penalise an answer that did not end.
    """
    drawn = np.random.default_rng((seed, 5)).permutation(len(rankings))[:SPREAD_RANKINGS]
    scores = mean_scores(model, [rankings[row] for row in drawn], pad_id)
    return max(1e-6, float(np.std(np.concatenate(scores))))
