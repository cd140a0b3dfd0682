"""The engine: requests join and leave between steps, and all that run decode together.

One engine serves chat, rollouts, evaluation and the server. Prompts are read at once (prefill), then every step gives
each running request one token (decode). What was read before is not read again: the keys and values of a shared
beginning are taken from any row that has them, also from answers that have ended.
Sources: continuous batching, Yu et al. 2022 (Orca); prefix reuse, Zheng et al. 2023 (arXiv:2312.07104).
"""

import itertools
import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from malmoi import device, progress
from malmoi.data.batch import pad
from malmoi.errors import BusyError, DataError
from malmoi.generate.sampling import Choosing, Sampling, Uniforms, adjust
from malmoi.generate.text import TextAssembler
from malmoi.model.inference import Weights, decoder_of, dtype_of, for_inference
from malmoi.model.kv_cache import KVCache
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer

MOST_ROWS = 256
SHORTEST_SHARED = 16
FIRST_POSITIONS = 64
# Of the memory that is free, how much keys and values may take: while they move to a larger place, both are there.
SHARE_OF_FREE = 0.5
FinishReason = Literal["stop", "length", "cancelled", "error"]


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
    uniforms: Uniforms
    assembler: TextAssembler | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[Likeliest] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    n_shared: int = 0
    end_id: int | None = None

    @property
    def said(self) -> list[int]:
        """All that is to be read before the next token."""
        return self.prompt + self.ids

    @property
    def n_said(self) -> int:
        return len(self.prompt) + len(self.ids)

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
    n_rows: the most that run together; fewer where memory does not suffice for the keys and values of more
    n_max: longest prompt and answer together; n_waiting: requests that may queue before `submit` raises BusyError
    join_at: free rows to wait for before newcomers are read, which is cheaper together (1: at once)
    After an exception in `step` the requests that ran have ended with "error", those that wait still wait, and the
    engine goes on as a new one would.
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
        self.n_rows, self.n_waiting, self.join_at = n_rows, n_waiting, min(join_at, n_rows)
        n_first = min(self.n_max, FIRST_POSITIONS)
        self.cache = KVCache(
            config.n_layer, 1, config.n_kv_head, n_first, config.head_dim, self.dtype, self.here.torch_device
        )
        # Rows [0, n) run request 0 to n - 1; the rest keep what they read last. `stored` says what stands in each.
        self.running: list[Request] = []
        self.stored: list[list[int]] = [[] for _ in range(self.n_rows)]
        self.left_at = [0] * self.n_rows
        self.n_steps = 0
        self.waiting: deque[Request] = deque()
        self._lock = threading.Lock()
        self._choosing: Choosing | None = None
        self._chosen_for: list[Request] = []
        self._joining: list[Request] = []

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
        request = Request(list(prompt), sampling, seed, room, Uniforms(seed), assembler)
        with self._lock:
            if len(self.waiting) >= self.n_waiting:
                raise BusyError(f"engine: {self.n_waiting} requests are waiting; try again later")
            self.waiting.append(request)
        return request

    def cancel(self, request: Request) -> None:
        """End a request; its row is free at the next step."""
        self._end(request, "cancelled")
        with self._lock:
            if request in self.waiting:
                self.waiting.remove(request)

    @property
    def is_idle(self) -> bool:
        return not self.running and not self.waiting and not self._joining

    def step(self) -> list[Request]:
        """Read newcomers, give every running request one token; returns those that moved or ended."""
        try:
            return self._step()
        except BaseException:
            self._forget()
            raise

    def _step(self) -> list[Request]:
        self.n_steps += 1
        with torch.inference_mode(), device.autocast(self.dtype):
            self._leave()
            moved = self._join()
            if self.running and not moved:
                self._make_place()
                moved = list(self.running)
                last = torch.tensor([request.ids[-1] for request in moved], device=self.here.torch_device)
                rows = self.cache.rows(0, len(moved))
                logits = self.decoder(last, rows) if self.decoder else self.model(last[:, None], rows)[:, 0]
                rows.advance(1)
                for row, request in enumerate(moved):
                    self.stored[row].append(request.ids[-1])
                self._choose(moved, logits)
            self._leave()
        return moved

    def _forget(self) -> None:
        """End what was under way, and trust nothing of what the rows hold: half of it may be written."""
        for request in (*self.running, *self._joining):
            self._end(request, "error")
        with self._lock:
            for request in self._joining:
                if request in self.waiting:
                    self.waiting.remove(request)
        self.running, self._joining = [], []
        self.stored = [[] for _ in range(self.n_rows)]
        self.left_at = [0] * self.n_rows
        self._choosing, self._chosen_for = None, []
        with torch.inference_mode():
            self.cache.lengths.zero_()

    def _end(self, request: Request, reason: FinishReason) -> None:
        with self._lock:
            request.finish_reason = request.finish_reason or reason

    def _join(self) -> list[Request]:
        """Read the prompts of waiting requests into free rows, and choose their next tokens."""
        if not (newcomers := self._admitted()):
            return []
        first = len(self.running)
        # Those that a row has the beginning of, and those of which nothing was read; each text once.
        texts: dict[tuple[int, ...], list[Request]] = {}
        for request in newcomers:
            texts.setdefault(tuple(request.said), []).append(request)
        ordered: list[Request] = []
        shared: list[tuple[int, Request]] = []
        fresh: list[Request] = []
        known = {text: self._longest_shared(same[0].said)[1] for text, same in texts.items()}
        # The longest first: who takes a row over leaves to the others what it shares with it.
        for text in sorted(texts, key=lambda text: -known[text]):
            if known[text] >= SHORTEST_SHARED:
                shared.append((self._take_shared(texts[text][0], first + len(shared)), texts[text][0]))
            else:
                fresh.append(texts[text][0])
        found: list[Tensor] = []
        start = 0
        while start < len(shared):  # little padding: those with about as much to read, side by side
            end = self._alike(shared, start)
            group = [request for _, request in shared[start:end]]
            found.append(self._prefill([n for n, _ in shared[start:end]], group, first + start))
            ordered += group
            start = end
        if fresh:
            for row in range(first + len(ordered), first + len(ordered) + len(fresh)):
                self._make_room(row)
            found.append(self._prefill([0] * len(fresh), fresh, first + len(ordered)))
            ordered += fresh
        logits = torch.cat(found)
        twins = []
        for place, request in enumerate(list(ordered)):  # several answers to one prompt, which is read once
            for twin in texts[tuple(request.said)][1:]:
                self._take(first + place, first + len(ordered), len(request.said))
                twin.n_shared = len(request.said)
                ordered.append(twin)
                twins.append(place)
        self.running += ordered
        self._joining = []
        self._choose(ordered, torch.cat((logits, logits[twins])) if twins else logits)
        return ordered

    def _admitted(self) -> list[Request]:
        """The waiting requests that there are rows and memory for now."""
        n_running = len(self.running)
        free = self.n_rows - n_running
        with self._lock:
            n_waiting = len(self.waiting)
            if not n_waiting or free < 1 or (n_running and free < min(self.join_at, n_waiting)):
                return []
            asked = list(itertools.islice(self.waiting, min(free, n_waiting)))
        while asked:
            self._joining = asked
            longest = max(r.n_said + min(r.room - len(r.ids), FIRST_POSITIONS) for r in (*asked, *self.running))
            n_kept = sum(bool(stored) for stored in self.stored[n_running:])
            if self._reserve(n_running + len(asked), longest, n_kept, must=n_running == 0 and len(asked) == 1):
                break
            asked = asked[: len(asked) // 2]  # the others wait
        with self._lock:
            self._joining = [request for request in asked if request in self.waiting]  # none was cancelled meanwhile
            for request in self._joining:
                self.waiting.remove(request)
        return self._joining

    def _reserve(self, n_rows: int, n_positions: int, n_kept: int = 0, must: bool = False) -> bool:
        """Have memory for the first n rows with so many positions, and if it suffices for what others have read.

        must: try whatever is free, and raise when it is not enough; else False says that it is not
        """
        had_rows, had = self.cache.capacity
        n_positions = min(n_positions, self.n_max)
        wanted = min(max(n_rows + n_kept, had_rows), self.n_rows)
        if wanted <= had_rows and n_positions <= had:
            return True
        doubled = min(max(n_positions, 2 * had), self.n_max) if n_positions > had else had
        many = min(max(wanted, 2 * had_rows), self.n_rows) if wanted > had_rows else had_rows
        most = device.memory_bytes()[0] * SHARE_OF_FREE
        least = (n_rows, max(n_positions, had if n_rows <= had_rows else n_positions))
        for rows, positions in ((many, doubled), (wanted, doubled), (n_rows, doubled), least):
            if rows * self.cache.row_bytes(positions) <= most or (must and (rows, positions) == least):
                try:
                    self.cache.resize(rows, positions)
                except RuntimeError:  # the memory that was free a moment ago is not
                    if must and (rows, positions) == least:
                        raise
                    continue
                self.model.model.reach(positions)
                for row in range(min(rows, had_rows), self.n_rows):
                    self.stored[row] = []
                for row in range(self.n_rows):
                    self.stored[row] = self.stored[row][:positions]
                return True
        return False

    def _make_place(self) -> None:
        """One position more for every running row; where memory does not suffice, the last ones wait again."""
        while not self._reserve(
            len(self.running), max(request.n_said for request in self.running), must=len(self.running) == 1
        ):
            with self._lock:
                self.waiting.appendleft(self.running.pop())

    def _alike(self, shared: list[tuple[int, Request]], start: int) -> int:
        """Where those end that have at most twice as much to read as the least of them, or little."""
        least = most = len(shared[start][1].said) - shared[start][0]
        for end in range(start + 1, len(shared)):
            n_new = len(shared[end][1].said) - shared[end][0]
            least, most = min(least, n_new), max(most, n_new)
            if most > 2 * least + SHORTEST_SHARED:
                return end
        return len(shared)

    def _prefill(self, n_shared: list[int], requests: list[Request], first: int) -> Tensor:
        """Read the rest of some texts side by side into the rows from `first`; returns the logits after each, (B, V).

        n_shared: of each, the tokens that its row holds already
        """
        rest = [request.said[n:] for n, request in zip(n_shared, requests, strict=True)]
        ids, lengths = (t.to(self.here.torch_device) for t in pad(rest, pad_id=0))
        rows = self.cache.rows(first, first + len(requests))
        rows.lengths.copy_(torch.tensor(n_shared))
        for row, n in enumerate(n_shared, start=first):
            self.stored[row] = self.stored[row][:n]
        hidden = self.model.model(ids, rows)
        rows.advance(lengths)
        for row, request in enumerate(requests, start=first):
            self.stored[row] = request.said
        return self.model.lm_head(hidden[torch.arange(len(requests)), lengths - 1])

    def _take_shared(self, request: Request, row: int) -> int:
        """Give a row the longest beginning of a text that any row has; returns its length."""
        source, n_shared = self._longest_shared(request.said)
        if source > row:  # an answer that has ended gives its place
            self._swap(source, row)
            source = row
        self._take(source, row, n_shared)
        request.n_shared = n_shared
        return n_shared

    def _take(self, source: int, row: int, n_tokens: int) -> None:
        if source != row:
            self._make_room(row)
        self.cache.copy(source, row, n_tokens)
        self.stored[row] = self.stored[source][:n_tokens]

    def _make_room(self, row: int) -> None:
        """Let the free row whose text was used longest ago be the one that is overwritten."""
        n_rows = self.cache.capacity[0]
        self._swap(row, min(range(row, n_rows), key=lambda other: (self.left_at[other], other)))

    def _swap(self, a: int, b: int) -> None:
        if a != b:
            self.cache.swap(a, b)
            self.stored[a], self.stored[b] = self.stored[b], self.stored[a]
            self.left_at[a], self.left_at[b] = self.left_at[b], self.left_at[a]

    def _longest_shared(self, text: list[int]) -> tuple[int, int]:
        """The row with the longest beginning of this text, and its length; the last token is always read again."""
        best, longest, text = 0, 0, text[:-1]
        for row, stored in enumerate(self.stored):
            n_least = max(longest + 1, SHORTEST_SHARED)
            if len(text) >= n_least and stored[:n_least] == text[:n_least]:
                best, longest = row, _common(stored, text)
        return best, longest

    def _choose(self, requests: list[Request], logits: Tensor) -> None:
        """One token for each request."""
        if any(r.sampling.repetition_penalty != 1 or r.sampling.logit_bias for r in requests):
            raw, logits = logits, logits.float().clone()
            for row, request in enumerate(requests):
                logits[row] = adjust(raw[row], request.sampling, request.said)
        else:
            raw = logits
        numbers = torch.tensor([request.uniforms[len(request.ids)] for request in requests], device=logits.device)
        tokens = self._settings_of(requests)(logits, numbers).tolist()
        for row, (request, token) in enumerate(zip(requests, tokens, strict=True)):
            if request.sampling.logprobs >= 0:
                request.logprobs.append(_likeliest(raw[row], token, request.sampling.logprobs))
            self._accept(request, token)

    def _settings_of(self, requests: list[Request]) -> Choosing:
        """Sampling settings of these rows, kept while the same requests run."""
        if self._choosing is None or self._chosen_for != requests:
            self._chosen_for = list(requests)
            self._choosing = Choosing(
                [request.sampling for request in requests], self.model.config.vocab_size, self.here.torch_device
            )
        return self._choosing

    def _accept(self, request: Request, token: int) -> None:
        if request.finish_reason:
            return
        reason: FinishReason | None = None
        if token in self.end_ids:
            reason, request.end_id = "stop", token
        else:
            request.ids.append(token)
            if request.assembler and request.assembler.push(token):
                reason = "stop"
            elif len(request.ids) >= request.room:
                reason = "length"
        if reason:
            if request.assembler:
                request.assembler.finish()
            self._end(request, reason)

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
    n_done = 0
    while not engine.is_idle:
        n_done += sum(request.finish_reason is not None for request in engine.step())
        progress.report(n_done, len(prompts), "answers")
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
    """Length of the common beginning, by halves: lists are compared at once, tokens one by one are not."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low


def _likeliest(logits: Tensor, token: int, n_top: int) -> Likeliest:
    logprobs = logits.float().log_softmax(dim=-1)
    values, ids = logprobs.topk(n_top)
    return Likeliest(float(logprobs[token]), dict(zip(ids.tolist(), values.tolist(), strict=True)))
