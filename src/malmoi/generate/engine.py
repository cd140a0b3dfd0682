"""The engine: requests join and leave between steps, and all that run decode together.

One engine serves chat, rollouts, evaluation and the server. Prompts are read at once (prefill), then every step gives
each running request one token (decode). What was read before is not read again: the keys and values of a shared
beginning are taken from any row that has them, also from answers that have ended.
Sources: continuous batching, Yu et al. 2022 (Orca); prefix reuse, Zheng et al. 2023 (arXiv:2312.07104).
"""

import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from malmoi import device
from malmoi.data.batch import pad
from malmoi.errors import BusyError, DataError
from malmoi.generate.sampling import Choosing, Sampling, adjust, uniforms
from malmoi.generate.text import TextAssembler
from malmoi.model.inference import Weights, decoder_of, dtype_of, for_inference
from malmoi.model.kv_cache import KVCache
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer

MOST_ROWS = 256
SHORTEST_SHARED = 16
CACHE_BYTES = 2**31
FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Answer:
    """What was generated for one prompt.

    ids: the new tokens, without the one that ended the turn
    finished: whether the model ended its turn itself; False when `max_tokens` or the context cut it
    end_id: the token that ended it, one of several that can; None where none did
    """

    ids: list[int]
    finished: bool
    end_id: int | None = None

    @property
    def sampled(self) -> list[int]:
        """Every token that was sampled, the end of turn included."""
        return self.ids if self.end_id is None else [*self.ids, self.end_id]


@dataclass(frozen=True)
class Likeliest:
    """Log-probabilities at one position, in nats: of the chosen token, and of the likeliest ones."""

    logprob: float
    top: dict[int, float]


@dataclass(eq=False)
class Request:
    """One prompt on its way. `ids` grow, without the end of turn, until `finish_reason` is set.

    room: most tokens that the answer can have, by `max_tokens` and the context
    text: the answer so far in whole characters, when the engine has a tokenizer
    n_shared: tokens of the prompt that did not have to be read
    end_id: the token that ended the answer
    """

    prompt: list[int]
    sampling: Sampling
    seed: int
    room: int
    uniforms: Tensor
    assembler: TextAssembler | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[Likeliest] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    n_shared: int = 0
    end_id: int | None = None

    @property
    def text(self) -> str:
        return self.assembler.text if self.assembler else ""

    @property
    def answer(self) -> Answer:
        return Answer(self.ids, self.finish_reason == "stop", self.end_id)


class Engine:
    """Decodes up to `n_rows` requests together. `submit` and `cancel` may be called from any thread, `step` from one.

    weights: number format of the projections; "auto" is the compute dtype
    end_ids: tokens that end an answer; tokenizer: for `Request.text` and stop texts
    n_max: longest prompt and answer together; n_waiting: requests that may queue before `submit` raises BusyError
    join_at: free rows to wait for before newcomers are read, which is cheaper together (1: at once)
    """

    def __init__(
        self, model: LanguageModel, *, end_ids: Collection[int], tokenizer: Tokenizer | None = None,
        weights: Weights = "auto", n_rows: int = 32, n_max: int | None = None, n_waiting: int = 1024, join_at: int = 1,
    ) -> None:  # fmt: skip
        self.model, config = for_inference(model, weights, n_rows), model.config
        self.decoder = decoder_of(self.model, weights)
        self.here = device.current()
        self.dtype = dtype_of(weights)
        self.end_ids, self.tokenizer = frozenset(end_ids), tokenizer
        self.n_max = min(n_max or config.seq_len, config.seq_len)
        row_bytes = 2 * config.n_layer * config.n_kv_head * self.n_max * config.head_dim * self.dtype.itemsize
        self.n_rows = max(1, min(n_rows, CACHE_BYTES // row_bytes))
        self.n_waiting, self.join_at = n_waiting, min(join_at, self.n_rows)
        self.cache = KVCache(
            config.n_layer, self.n_rows, config.n_kv_head, self.n_max, config.head_dim, self.dtype,
            self.here.torch_device,
        )  # fmt: skip
        # Rows [0, n) run request 0 to n - 1; the rest keep what they read last. `stored` says what stands in each.
        self.running: list[Request] = []
        self.stored: list[list[int]] = [[] for _ in range(self.n_rows)]
        self.left_at = [0] * self.n_rows
        self.n_steps = 0
        self.waiting: deque[Request] = deque()
        self._lock = threading.Lock()
        self._choosing: Choosing | None = None
        self._chosen_for: list[Request] = []
        self._uniforms = torch.empty(0)

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int = 0) -> Request:
        """Queue a prompt. The same prompt, sampling and seed give the same answer in any company.

        Raises DataError for a prompt that is empty, leaves no room or has unknown tokens; BusyError when too many wait.
        """
        check_prompts([prompt], self.n_max, self.model.config.vocab_size)
        if bad := [i for i in sampling.logit_bias if not 0 <= i < self.model.config.vocab_size]:
            raise DataError(f"logit_bias: token {bad[0]} is not one of the model's {self.model.config.vocab_size}")
        if sampling.stop and self.tokenizer is None:
            raise DataError("stop: an engine without a tokenizer knows no text to stop at")
        room = min(sampling.max_tokens, self.n_max - len(prompt))
        assembler = TextAssembler(self.tokenizer, sampling.stop) if self.tokenizer else None
        request = Request(list(prompt), sampling, seed, room, uniforms([seed], room)[0], assembler)
        with self._lock:
            if len(self.waiting) >= self.n_waiting:
                raise BusyError(f"engine: {self.n_waiting} requests are waiting; try again later")
            self.waiting.append(request)
        return request

    def cancel(self, request: Request) -> None:
        """End a request; its row is free at the next step."""
        with self._lock:
            request.finish_reason = request.finish_reason or "cancelled"
            if request in self.waiting:
                self.waiting.remove(request)

    @property
    def is_idle(self) -> bool:
        return not self.running and not self.waiting

    def step(self) -> list[Request]:
        """Read newcomers, give every running request one token; returns those that moved or ended."""
        self.n_steps += 1
        with torch.inference_mode(), device.autocast(self.dtype):
            self._leave()
            moved = self._join()
            if self.running and not moved:
                moved = list(self.running)
                last = torch.tensor([request.ids[-1] for request in moved], device=self.here.torch_device)
                rows = self.cache.rows(0, len(moved))
                logits = self.decoder(last, rows) if self.decoder else self.model(last[:, None], rows)[:, 0]
                rows.advance(1)
                for row, request in enumerate(moved):
                    self.stored[row].append(request.ids[-1])
                self._choose(moved, logits, 0)
            self._leave()
        return moved

    def _join(self) -> list[Request]:
        """Read the prompts of waiting requests into free rows, and choose their first tokens."""
        newcomers = self._admitted()
        if not newcomers:
            return []
        first = len(self.running)
        shared = [r for r in newcomers if self._longest_shared(r.prompt)[1] >= SHORTEST_SHARED]
        ordered: list[Request] = []
        found: list[Tensor] = []
        for request in shared:
            found.append(self._prefill_after_shared(request, first + len(ordered)))
            ordered.append(request)
        fresh: dict[tuple[int, ...], Request] = {}
        for request in newcomers:
            if request not in shared:
                fresh.setdefault(tuple(request.prompt), request)
        if fresh:
            start = first + len(ordered)
            logits = self._prefill_together(list(fresh.values()), start)
            ordered += fresh.values()
            found.append(logits)
            twins = {prompt: place for place, prompt in enumerate(fresh)}
            for request in newcomers:  # several answers to one prompt, which is read once
                if request not in ordered:
                    place = twins[tuple(request.prompt)]
                    self._take(start + place, first + len(ordered), len(request.prompt))
                    request.n_shared = len(request.prompt)
                    ordered.append(request)
                    found.append(logits[place : place + 1])
        self.running += ordered
        self._choose(ordered, torch.cat(found), first)
        return ordered

    def _admitted(self) -> list[Request]:
        free = self.n_rows - len(self.running)
        with self._lock:
            if not self.waiting or (self.running and free < min(self.join_at, len(self.waiting))):
                return []
            return [self.waiting.popleft() for _ in range(min(free, len(self.waiting)))]

    def _prefill_together(self, requests: list[Request], first: int) -> Tensor:
        """Read whole prompts side by side into the rows from `first`; returns the logits after each, (B, V)."""
        ids, lengths = (t.to(self.here.torch_device) for t in pad([request.prompt for request in requests], pad_id=0))
        for row in range(first, first + len(requests)):
            self._make_room(row)
        rows = self.cache.rows(first, first + len(requests))
        rows.lengths.zero_()
        hidden = self.model.model(ids, rows)
        rows.advance(lengths)
        for row, request in enumerate(requests, start=first):
            self.stored[row] = list(request.prompt)
        return self.model.lm_head(hidden[torch.arange(len(requests)), lengths - 1])

    def _prefill_after_shared(self, request: Request, row: int) -> Tensor:
        """Read what no row has read yet of a prompt; returns the logits after it, (1, V)."""
        source, n_shared = self._longest_shared(request.prompt)
        if source > row:  # an answer that has ended gives its place
            self._swap(source, row)
            source = row
        self._take(source, row, n_shared)
        request.n_shared = n_shared
        rows = self.cache.rows(row, row + 1)
        ids = torch.tensor([request.prompt[n_shared:]], device=self.here.torch_device)
        hidden = self.model.model(ids, rows)
        rows.advance(ids.shape[1])
        self.stored[row] = list(request.prompt)
        return self.model.lm_head(hidden[:, -1])

    def _take(self, source: int, row: int, n_tokens: int) -> None:
        if source != row:
            self._make_room(row)
        self.cache.copy(source, row, n_tokens)
        self.stored[row] = self.stored[source][:n_tokens]

    def _make_room(self, row: int) -> None:
        """Let the free row whose text was used longest ago be the one that is overwritten."""
        self._swap(row, min(range(row, self.n_rows), key=lambda other: (self.left_at[other], other)))

    def _swap(self, a: int, b: int) -> None:
        if a != b:
            self.cache.swap(a, b)
            self.stored[a], self.stored[b] = self.stored[b], self.stored[a]
            self.left_at[a], self.left_at[b] = self.left_at[b], self.left_at[a]

    def _longest_shared(self, prompt: list[int]) -> tuple[int, int]:
        """The row with the longest beginning of this prompt, and its length; the last token is always read anew."""
        best, longest = 0, 0
        for row, stored in enumerate(self.stored):
            if stored[:SHORTEST_SHARED] == prompt[:SHORTEST_SHARED]:
                n_shared = _common(stored, prompt[:-1])
                if n_shared > longest:
                    best, longest = row, n_shared
        return best, longest

    def _choose(self, requests: list[Request], logits: Tensor, first: int) -> None:
        """One token for each request, which stand in the rows from `first`."""
        if any(r.sampling.repetition_penalty != 1 or r.sampling.logit_bias for r in requests):
            raw, logits = logits, logits.float().clone()
            for row, request in enumerate(requests):
                logits[row] = adjust(raw[row], request.sampling, request.prompt + request.ids)
        else:
            raw = logits
        n_done = torch.tensor([len(request.ids) for request in requests], device=logits.device)
        choose, numbers = self._settings_of(requests)
        tokens = choose(logits, numbers.gather(1, n_done[:, None])[:, 0]).tolist()
        for row, (request, token) in enumerate(zip(requests, tokens, strict=True)):
            if request.sampling.logprobs >= 0:
                request.logprobs.append(_likeliest(raw[row], token, request.sampling.logprobs))
            self._accept(request, token)

    def _settings_of(self, requests: list[Request]) -> tuple[Choosing, Tensor]:
        """Sampling settings and random numbers of these rows, kept while the same requests run."""
        if self._choosing is None or self._chosen_for != requests:
            self._chosen_for = list(requests)
            self._choosing = Choosing(
                [request.sampling for request in requests], self.model.config.vocab_size, self.here.torch_device
            )
            numbers = torch.nn.utils.rnn.pad_sequence([request.uniforms for request in requests], batch_first=True)
            self._uniforms = numbers.to(self.here.torch_device)
        return self._choosing, self._uniforms

    def _accept(self, request: Request, token: int) -> None:
        if request.finish_reason:
            return
        if token in self.end_ids:
            request.finish_reason, request.end_id = "stop", token
        else:
            request.ids.append(token)
            if request.assembler and request.assembler.push(token):
                request.finish_reason = "stop"
            elif len(request.ids) >= request.room:
                request.finish_reason = "length"
        if request.finish_reason and request.assembler:
            request.assembler.finish()

    def _leave(self) -> None:
        """Free the rows of requests that have ended: the last running row takes their place."""
        for row in range(len(self.running) - 1, -1, -1):
            if self.running[row].finish_reason:
                last = len(self.running) - 1
                self._swap(row, last)
                self.left_at[last] = self.n_steps
                self.running[row] = self.running[last]
                self.running.pop()


def generate(
    model: LanguageModel, prompts: Sequence[Sequence[int]], sampling: Sampling, *, end_ids: Collection[int],
    seeds: Sequence[int], weights: Weights = "auto",
) -> list[Answer]:  # fmt: skip
    """Answer every prompt. seeds: one number a prompt; the same prompt and seed give the same answer in any batch.

    end_ids: tokens that end an answer: a tokenizer's `stop_ids`

    Raises DataError for a prompt that is empty or leaves no room in the model's context.
    """
    if not prompts:
        return []
    check_prompts(prompts, model.config.seq_len, model.config.vocab_size)
    n_rows = min(MOST_ROWS, len(prompts))
    n_max = max(map(len, prompts)) + sampling.max_tokens
    engine = Engine(
        model, end_ids=end_ids, weights=weights, n_rows=n_rows, n_max=n_max, n_waiting=len(prompts),
        join_at=max(1, n_rows // 4),
    )  # fmt: skip
    # Prompts of like length are read together, so that little is padding.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    requests = {i: engine.submit(prompts[i], sampling, seeds[i]) for i in order}
    while not engine.is_idle:
        engine.step()
    return [requests[i].answer for i in range(len(prompts))]


def check_prompts(prompts: Sequence[Sequence[int]], seq_len: int, vocab_size: int) -> None:
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise DataError(f"prompt {number}: is empty")
        if len(prompt) >= seq_len:
            raise DataError(f"prompt {number}: {len(prompt)} tokens leave no room in a context of {seq_len}")
        if not 0 <= min(prompt) <= max(prompt) < vocab_size:
            raise DataError(f"prompt {number}: has a token outside the model's {vocab_size}; is it its tokenizer?")


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n


def _likeliest(logits: Tensor, token: int, n_top: int) -> Likeliest:
    logprobs = logits.float().log_softmax(dim=-1)
    values, ids = logprobs.topk(n_top)
    return Likeliest(float(logprobs[token]), dict(zip(ids.tolist(), values.tolist(), strict=True)))
