"""People's rankings -> micro-batches in which all answers to a prompt, and all their pairs, stand together."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from malmoi.data.batch import pad
from malmoi.data.stream import Shuffled
from malmoi.errors import DataError
from malmoi.files import read_jsonl
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate


@dataclass(frozen=True)
class Ranking:
    """K answers to one prompt, each as the whole conversation's ids, and their ranks (1 = best; equal = tie)."""

    ids: list[list[int]]
    ranks: list[int]


@dataclass(frozen=True)
class Comparisons:
    """A micro-batch of rankings.

    ids: (N, T), all answers of all prompts, padded on the right; last: (N,) index of each last real token
    better, worse: (P,) rows of each pair; target: (P,) 1 where ranked apart, 0.5 where tied
    weight: (P,) one over the number of pairs of the same prompt
    """

    ids: Tensor
    last: Tensor
    better: Tensor
    worse: Tensor
    target: Tensor
    weight: Tensor
    n_prompts: int

    @property
    def count(self) -> int:
        """Prompts: every prompt weighs the same, however many answers it has."""
        return self.n_prompts

    def to(self, device: torch.device) -> "Comparisons":
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Comparisons(**tensors, n_prompts=self.n_prompts)


def read_rankings(path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int) -> list[Ranking]:
    """Rows {"messages", "answers", "ranks"} of a JSON-lines file, as a snapshot of judgements has them.

    An answer may be empty: the model ended its turn at once, and people ranked that too.
    Raises DataError, with file and line, for a row that is malformed or too long.
    """
    rankings = []
    for number, row in enumerate(read_jsonl(path), start=1):
        where = f"{path}:{number}"
        columns = ("messages", "answers", "ranks")
        if not isinstance(row, dict) or not all(isinstance(row.get(name), list) for name in columns):
            raise DataError(f'{where}: expected {{"messages": [...], "answers": [...], "ranks": [...]}}')
        messages, answers, ranks = (row[name] for name in columns)
        if len(answers) < 2 or len(answers) != len(ranks):
            raise DataError(f"{where}: {len(answers)} answers and {len(ranks)} ranks; two or more of each are needed")
        if not all(isinstance(rank, int) for rank in ranks):
            raise DataError(f"{where}: ranks are whole numbers, 1 for the best; got {ranks}")
        try:
            rankings.append(Ranking([conversation_ids(tokenizer, template, messages, a) for a in answers], ranks))
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        longest = max(len(ids) for ids in rankings[-1].ids)
        if longest > seq_len:
            raise DataError(f"{where}: {longest} tokens are more than the model's context ({seq_len})")
    if not rankings:
        raise DataError(f"{path}: holds no ranking")
    return rankings


def conversation_ids(
    tokenizer: Tokenizer, template: ChatTemplate, messages: Sequence[dict[str, str]], answer: str
) -> list[int]:
    """The conversation with this answer as its last turn, end of turn included."""
    return template.encode(tokenizer, [*messages, {"role": "assistant", "content": answer}])[0]


def collate_rankings(rankings: Sequence[Ranking], pad_id: int) -> Comparisons:
    rows = [ids for ranking in rankings for ids in ranking.ids]
    ids, lengths = pad(rows, pad_id)
    better, worse, target, weight = [], [], [], []
    first = 0
    for ranking in rankings:
        pairs = list(combinations(range(len(ranking.ranks)), 2))
        for i, j in pairs:
            i, j = (i, j) if ranking.ranks[i] <= ranking.ranks[j] else (j, i)
            better.append(first + i)
            worse.append(first + j)
            target.append(0.5 if ranking.ranks[i] == ranking.ranks[j] else 1.0)
            weight.append(1 / len(pairs))
        first += len(ranking.ids)
    pairs_of_rows = torch.tensor(better), torch.tensor(worse)
    return Comparisons(ids, lengths - 1, *pairs_of_rows, torch.tensor(target), torch.tensor(weight), len(rankings))


def ranking_steps(rankings: list[Ranking], pad_id: int, batch_size: int, micro_batch_size: int, seed: int) -> Shuffled:
    """Steps of `batch_size` prompts with all their answers."""

    def collate(epoch: int, rows: np.ndarray) -> list[Comparisons]:
        chosen = sorted((rankings[row] for row in rows), key=lambda ranking: max(map(len, ranking.ids)))
        starts = range(0, len(chosen), micro_batch_size)
        return [collate_rankings(chosen[i : i + micro_batch_size], pad_id) for i in starts]

    return Shuffled(len(rankings), batch_size, seed, collate)
