"""Rankings -> micro-batches that keep all answers to a prompt, and all their pairs, together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from malmoi.data.batch import Branches, compact_ids, pad
from malmoi.data.formats import rankings
from malmoi.data.stream import Shuffled
from malmoi.errors import DataError
from malmoi.text import nfc
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.template_clock import fixed_time

EDITED = "better answers"
"""Source of a pair of a better answer, which a person wrote, and the answer that it replaces. It is marked: from such
pairs a reward model could learn nothing but who wrote an answer."""


@dataclass(frozen=True)
class Ranking:
    """K answers to one prompt, each as the ids of the whole conversation, and their ranks (1 = best; equal = tie).

    counted: (H,) how often each head of an ensemble counts this ranking
    n_prompt: how many ids are the prompt; only a reward model with a probe needs to know
    judge, tree: whose judgement it is, and the conversation tree that the prompt is of
    person: the person's name; "" if it is not known, or if a program judged
    """

    ids: Sequence[Sequence[int] | np.ndarray]
    ranks: list[int]
    counted: tuple[float, ...] = (1.0,)
    n_prompt: int = 0
    judge: str = ""
    tree: str = ""
    person: str = ""


@dataclass(frozen=True)
class Comparisons:
    """A micro-batch of rankings. The prefix that all answers to a prompt share is stored, and read, once.

    ids: (B, T), each row has the prefix of one prompt, then each of its answers
    branches: the position and segment of each token
    starts: (B,) how many tokens of each row are the prompt
    row, last: (N,) row and column of each answer's last token
    better, worse: (P,) indices of the two answers of each pair
    target: (P,) 1 if `better` is ranked higher, 0.5 if they are tied
    weight: (P,) one over the number of pairs of the same prompt
    counted: (P, H) how often each head of an ensemble counts the pair
    """

    ids: Tensor
    branches: Branches
    starts: Tensor
    row: Tensor
    last: Tensor
    better: Tensor
    worse: Tensor
    target: Tensor
    weight: Tensor
    counted: Tensor
    n_prompts: int

    @property
    def count(self) -> int:
        """The number of prompts: each has the same weight, however many answers it has."""
        return self.n_prompts

    def to(self, device: torch.device) -> "Comparisons":
        return Comparisons(**{n: v.to(device) if n != "n_prompts" else v for n, v in vars(self).items()})


def read_rankings(path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int) -> list[Ranking]:
    """Rankings of a file in any of `formats.FORMATS`.

    Raises DataError, with file and line, for a row that is malformed or too long.
    """
    found = []
    for number, row in rankings(path):
        try:
            ranking = encode_ranking(tokenizer, template, row["messages"], row["answers"], row["ranks"])
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        longest = max(map(len, ranking.ids))
        if longest > seq_len:
            raise DataError(
                f"{path}:{number}: {longest} tokens are more than the model's context ({seq_len}); shorten the "
                "conversation, or leave it out"
            )
        person = "" if row.get("simulated") else row.get("person", "")
        found.append(replace(ranking, judge=judge_of(row), tree=row["tree"], person=person))
    return found


def judge_of(row: Mapping[str, Any]) -> str:
    """Whose judgement a row is: the person's, or if unknown, the source's; better answers are kept separate."""
    return str(row["source"] if row["source"] == EDITED else row.get("person") or row["source"])


def all_tie(path: Path) -> bool:
    """Whether no ranking of a file puts one answer above another, so that nothing can be learned from it."""
    return not any(len(set(row["ranks"])) > 1 for _, row in rankings(path))


def encode_ranking(
    tokenizer: Tokenizer, template: ChatTemplate, messages: Sequence[Mapping[str, str]], answers: Iterable[str],
    ranks: Sequence[int],
) -> Ranking:  # fmt: skip
    """A ranking of several answers to one prompt, as ids."""
    n_prompt, ids = _encoded(tokenizer, template, messages, answers)
    return Ranking([compact_ids(one) for one in ids], list(ranks), n_prompt=n_prompt)


def ranking_ids(
    tokenizer: Tokenizer, template: ChatTemplate, messages: Sequence[Mapping[str, str]], answers: Iterable[str]
) -> list[list[int]]:
    """Ids of the conversation that ends with each answer and its end of turn, exactly as PPO scores the same answer.

    They are the ids of the prompt, as a policy gets it, then those of the answer. What a template writes after the end
    of the turn is cut off: a policy never writes it, so a reward model must not read it. The prompt is encoded once.
    """
    return _encoded(tokenizer, template, messages, answers)[1]


@fixed_time()
def _encoded(
    tokenizer: Tokenizer, template: ChatTemplate, messages: Sequence[Mapping[str, str]], answers: Iterable[str]
) -> tuple[int, list[list[int]]]:
    """How many ids the prompt has, and the ids of the conversation with each answer."""
    prompt, _ = template.encode(tokenizer, messages, add_generation_prompt=True)
    return len(prompt), [_answered_ids(tokenizer, template, messages, prompt, nfc(answer)) for answer in answers]


def _answered_ids(
    tokenizer: Tokenizer, template: ChatTemplate, messages: Sequence[Mapping[str, str]], prompt: list[int], answer: str
) -> list[int]:
    ids, _ = template.encode(tokenizer, [*messages, {"role": "assistant", "content": answer}])
    if ids[: len(prompt)] != prompt:  # the template's answers do not continue its prompt
        return [*prompt, *tokenizer.encode_answer(answer), tokenizer.end_of_turn_id]
    end = tokenizer.end_of_turn_id
    return ids[: ids.index(end, len(prompt)) + 1] if end in ids[len(prompt) :] else [*ids, end]


def demonstration(tokenizer: Tokenizer, template: ChatTemplate, messages: Sequence[Mapping[str, str]]) -> Ranking:
    """The last answer of a conversation, as a ranking of one. Raises DataError if no answer follows a prompt."""
    last = max((place for place, message in enumerate(messages) if message["role"] == "assistant"), default=0)
    if not last:
        raise DataError("conversation: has no answer after a prompt")
    return encode_ranking(tokenizer, template, messages[:last], [messages[last]["content"]], [1])


def shared_length(answers: Sequence[Sequence[int] | np.ndarray]) -> int:
    """How many tokens all answers begin with. The last token of an answer never counts."""
    longest = min(map(len, answers)) - 1
    first = np.asarray(answers[0][:longest])
    parts = [np.flatnonzero(first != np.asarray(ids[:longest])) for ids in answers[1:]]
    return min((int(places[0]) for places in parts if len(places)), default=longest)


def collate_rankings(rankings: Sequence[Ranking], pad_id: int, n_repeated: int = 0) -> Comparisons:
    """Pack rankings into a micro-batch.

    n_repeated: how many of the last shared tokens are repeated in every answer. With 1, the first token that differs is
        predicted from the token before it in the row, like all others
    """
    rows: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    segments: list[np.ndarray] = []
    row: list[int] = []
    last: list[int] = []
    better, worse, target, weight, counted = [], [], [], [], []
    for number, ranking in enumerate(rankings):
        n_shared = max(0, shared_length(ranking.ids) - n_repeated)
        answers = [np.asarray(answer) for answer in ranking.ids]
        own = [len(answer) - n_shared for answer in answers]
        pairs = list(combinations(range(len(ranking.ranks)), 2))
        for i, j in pairs:
            i, j = (i, j) if ranking.ranks[i] <= ranking.ranks[j] else (j, i)
            better.append(len(row) + i)
            worse.append(len(row) + j)
            target.append(0.5 if ranking.ranks[i] == ranking.ranks[j] else 1.0)
            weight.append(1 / len(pairs))
            counted.append(ranking.counted)
        row += [number] * len(own)
        last += (n_shared + np.cumsum(own) - 1).tolist()
        rows.append(np.concatenate([answers[0][:n_shared], *(answer[n_shared:] for answer in answers)]))
        positions.append(np.concatenate([np.arange(n_shared), *(n_shared + np.arange(n) for n in own)]))
        segments.append(np.repeat(np.arange(len(own) + 1), [n_shared, *own]))
    return Comparisons(
        pad(rows, pad_id)[0], Branches(pad(positions, 0)[0], pad(segments, -1)[0]),
        torch.tensor([ranking.n_prompt for ranking in rankings]), torch.tensor(row), torch.tensor(last),
        torch.tensor(better), torch.tensor(worse), torch.tensor(target), torch.tensor(weight), torch.tensor(counted),
        len(rankings),
    )  # fmt: skip


def ranking_steps(
    rankings: list[Ranking], pad_id: int, batch_size: int, micro_batch_size: int, seed: int, n_repeated: int = 0
) -> Shuffled:
    """Steps of `batch_size` prompts with all their answers. n_repeated: as in `collate_rankings`."""

    def collate(epoch: int, rows: np.ndarray) -> list[Comparisons]:
        chosen = sorted((rankings[row] for row in rows), key=lambda ranking: sum(map(len, ranking.ids)))
        starts = range(0, len(chosen), micro_batch_size)
        return [collate_rankings(chosen[i : i + micro_batch_size], pad_id, n_repeated) for i in starts]

    return Shuffled(len(rankings), batch_size, seed, collate)
