"""Prompts in, answers out: prefill the prompts at once, then decode all rows together; rows leave when they end."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from malmoi import device
from malmoi.data.batch import pad
from malmoi.errors import DataError
from malmoi.generate.sampling import Sampling, choose, uniforms
from malmoi.model.kv_cache import KVCache
from malmoi.model.transformer import LanguageModel

LARGEST_BATCH = 256


@dataclass(frozen=True)
class Answer:
    """What was generated for one prompt.

    ids: the new tokens, without the end of turn
    finished: whether the model ended its turn itself; False when `max_tokens` or the context cut it
    """

    ids: list[int]
    finished: bool


def generate(
    model: LanguageModel, prompts: Sequence[Sequence[int]], sampling: Sampling, *, end_id: int, seeds: Sequence[int]
) -> list[Answer]:
    """Answer every prompt. seeds: one number a prompt; the same prompt and seed give the same answer in any batch.

    Raises DataError for a prompt that is empty or leaves no room in the model's context.
    """
    check_prompts(prompts, model.config.seq_len)
    answers: dict[int, Answer] = {}
    # Prompts of like length go together, so that little is padding.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), LARGEST_BATCH):
        rows = order[start : start + LARGEST_BATCH]
        batch = [prompts[i] for i in rows]
        for i, answer in zip(
            rows, _generate_batch(model, batch, sampling, end_id, [seeds[i] for i in rows]), strict=True
        ):
            answers[i] = answer
    return [answers[i] for i in range(len(prompts))]


def stream(model: LanguageModel, prompt: Sequence[int], sampling: Sampling, *, end_id: int, seed: int) -> Iterator[int]:
    """Yield the answer's tokens as they come, until the end of turn, `max_tokens`, or a full context."""
    check_prompts([prompt], model.config.seq_len)
    decoder = _Decoder(model, [prompt], sampling, [seed])
    for _ in range(decoder.rooms[0]):
        token = int(decoder.step()[0])
        if token == end_id:
            return
        yield token


def _generate_batch(
    model: LanguageModel, prompts: Sequence[Sequence[int]], sampling: Sampling, end_id: int, seeds: list[int]
) -> list[Answer]:
    decoder = _Decoder(model, prompts, sampling, seeds)
    new: list[list[int]] = [[] for _ in prompts]
    finished = [False] * len(prompts)
    rows = list(range(len(prompts)))
    while True:
        going = []
        for place, token in enumerate(decoder.step().tolist()):
            row = rows[place]
            if finished[row] or len(new[row]) == decoder.rooms[row]:
                continue
            if token == end_id:
                finished[row] = True
                continue
            new[row].append(token)
            if len(new[row]) < decoder.rooms[row]:
                going.append(place)
        if not going:
            break
        # Moving the cache costs more than some rows that nobody reads: only when a quarter has ended, or one is full.
        if len(going) <= 0.75 * len(rows) or decoder.cache.is_full:
            rows = [rows[place] for place in going]
            decoder.keep(going)
    return [Answer(ids, done) for ids, done in zip(new, finished, strict=True)]


class _Decoder:
    """Prompts that were read once, and the tokens chosen since."""

    def __init__(
        self, model: LanguageModel, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: list[int]
    ) -> None:
        self.model, self.sampling = in_compute_dtype(model), sampling
        ids, lengths = pad(prompts, pad_id=0)
        here = device.current()
        # Each row has its own room: a long neighbour does not cut a short prompt's answer.
        self.rooms = [min(sampling.max_tokens, model.config.seq_len - len(prompt)) for prompt in prompts]
        n_max = max(len(prompt) + room for prompt, room in zip(prompts, self.rooms, strict=True))
        self.uniforms = uniforms(seeds, max(self.rooms)).to(here.torch_device)
        self.n_steps = 0
        self.tokens = torch.empty(0, dtype=torch.long)
        config = model.config
        self.cache = KVCache(
            config.n_layer, len(prompts), config.n_kv_head, n_max, config.head_dim,
            here.compute_dtype, here.torch_device,
        )  # fmt: skip
        with torch.inference_mode(), device.autocast():
            hidden = self.model.model(ids.to(here.torch_device), self.cache)
            last = hidden[torch.arange(len(prompts)), lengths.to(here.torch_device) - 1]
            self.logits: Tensor = self.model.lm_head(last)
        self.cache.advance(lengths.to(here.torch_device))

    def step(self) -> Tensor:
        """Choose the next token of every row, (B,)."""
        with torch.inference_mode(), device.autocast():
            if self.n_steps:
                self.logits = self.model(self.tokens[:, None], self.cache)[:, 0]
                self.cache.advance(1)
            self.tokens = choose(self.logits, self.uniforms[:, self.n_steps], self.sampling)
        self.n_steps += 1
        return self.tokens

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows alone."""
        index = torch.tensor(rows, device=self.tokens.device)
        self.tokens, self.uniforms = self.tokens[index], self.uniforms[index]
        self.cache.keep(index)


@torch.no_grad()
def in_compute_dtype(model: LanguageModel) -> LanguageModel:
    """A copy whose projections are kept as autocast would make them for every token: half the reading, no casting."""
    dtype = device.current().compute_dtype
    if dtype == torch.float32:
        return model
    copied = copy.deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    for module in copied.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.to(dtype), requires_grad=False)
    return copied


def check_prompts(prompts: Sequence[Sequence[int]], seq_len: int) -> None:
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise DataError(f"prompt {number}: is empty")
        if len(prompt) >= seq_len:
            raise DataError(f"prompt {number}: {len(prompt)} tokens leave no room in a context of {seq_len}")
