"""The engine: requests join and leave between steps, and all running requests decode together.

It is the `Generator` of chat, rollouts, evaluation and the server, unless a vLLM server is. A prompt is read (prefill),
in one pass or in parts; then every step gives each running request one token (decode). Cached prefixes are not read
again (`inference/rows.py`).
Source: continuous batching, Yu et al. 2022 (Orca); parts of a prompt between decoding steps, Agrawal et al. 2024
(arXiv:2403.02310).
"""

import threading
from collections import deque
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from malmoi import device
from malmoi.data.batch import pad
from malmoi.errors import BusyError
from malmoi.inference.generator import finish
from malmoi.inference.prefill import Prefill, groups_by_length, split_by_prefix
from malmoi.inference.requests import FinishReason, Request, TopLogprobs
from malmoi.inference.rows import FIRST_POSITIONS, CachedPrefix, Rows
from malmoi.inference.sampling import Sampler, Sampling, adjust
from malmoi.inference.weights import Weights, decoder_of, dtype_of, for_inference
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer

MOST_ALONG, ALONG_FLOPS = 64, 2e8
"""Tokens of new prompts, and arithmetic, that a step in C reads along with the tokens of running requests. Calling
PyTorch takes longer than computing so few, and each call lets other threads in between; many it multiplies faster."""


class Engine:
    """Decodes up to `n_rows` requests together. `submit` and `cancel` may be called from any thread, `step` from one.

    weights: number format of the projections; "auto" is the compute dtype; in_c: decode in C if that is possible
    (`inference/fastest.py` chooses the faster for callers who only want answers)
    end_ids: tokens that end an answer; tokenizer: for `Request.text` and stop texts
    n_rows: most requests that run together; fewer run if there is not enough memory for their keys and values
    n_max: longest prompt and answer together; n_waiting: requests that may queue before `submit` raises BusyError
    join_at: free rows to wait for before prompts are read, because several are cheaper together (1: read at once)
    read_at_once: tokens of new prompts that a step may read, so that running requests do not wait for long. A longer
    prompt is read in parts, one a step: meanwhile running requests go on, shorter prompts pass it by, and it can be
    cancelled. None: all waiting prompts together, whole
    After an exception in `step` the requests that were running end with "error", waiting requests keep waiting, and
    the engine continues like a new one.
    """

    def __init__(
        self, model: LanguageModel, *, end_ids: Collection[int], tokenizer: Tokenizer | None = None,
        weights: Weights = "auto", n_rows: int = 32, n_max: int | None = None, n_waiting: int = 1024, join_at: int = 1,
        in_c: bool = True, read_at_once: int | None = None,
    ) -> None:  # fmt: skip
        self.model, config = for_inference(model, weights, n_rows), model.config
        self.decoder = decoder_of(self.model, weights) if in_c else None
        self.n_along = min(MOST_ALONG, int(ALONG_FLOPS / 2 / config.n_parameters())) if self.decoder else 0
        self.here = device.current()
        self.dtype = dtype_of(weights)
        self.end_ids, self.tokenizer = frozenset(end_ids), tokenizer
        self.n_max = min(n_max or config.seq_len, config.seq_len)
        self.n_rows, self.n_waiting, self.join_at = n_rows, n_waiting, min(join_at, n_rows)
        self.read_at_once = read_at_once
        self.rows = Rows(config, n_rows, self.n_max, self.dtype, self.here.torch_device)
        self.running: list[Request] = []
        self.n_steps = 0
        self.waiting: deque[Request] = deque()
        self._lock = threading.Lock()
        self._sampler: Sampler | None = None
        self._sampler_requests: list[Request] = []
        self._joining: list[Request] = []
        self._reading: Request | None = None
        """The request whose prompt is read in parts; `rows.held` is what is read of it."""

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int = 0) -> Request:
        """Queue a prompt. The same prompt, sampling and seed give the same answer, whatever else runs.

        Raises DataError for a prompt that is empty, too long or has unknown tokens; BusyError when too many wait.
        """
        vocab_size = self.model.config.vocab_size
        request = Request.of(
            prompt, sampling, seed, n_max=self.n_max, vocab_size=vocab_size, tokenizer=self.tokenizer
        )  # fmt: skip
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

    def place(self, request: Request) -> int:
        """How many requests are read before this one, and it; 0: it is no longer waiting."""
        with self._lock:
            return self.waiting.index(request) + 1 if request in self.waiting else 0

    @property
    def is_idle(self) -> bool:
        return not (self.running or self.waiting or self._joining or self._reading)

    def step(self) -> list[Request]:
        """Read new prompts, or give every running request one token, or read a part of one long prompt and do so.

        Returns the requests that got a token.
        """
        try:
            return self._step()
        except BaseException:
            self._reset()
            raise

    def finish(self) -> None:
        """Step until all requests have ended, and report progress."""
        finish(self)

    def _step(self) -> list[Request]:
        self.n_steps += 1
        with torch.inference_mode(), device.autocast(self.dtype):
            self._leave()
            moved = self._join()
            if self.running and not moved:
                self._reserve_next_position()
                moved = list(self.running)
                self._sample(moved, self._decode(moved))
            self._leave()
        return moved

    def _decode(self, requests: list[Request]) -> Tensor:
        """Read what is new of running requests, the last token or a short prompt; returns their logits, (B, V)."""
        rows, held = self.rows.cache.rows(0, len(requests)), self.rows.rows
        new = [request.tokens_from(len(held[row].text)) for row, request in enumerate(requests)]
        ids = torch.tensor([id for one in new for id in one], device=self.here.torch_device)
        if len(ids) == len(new):
            logits: Tensor = self.decoder(ids, rows) if self.decoder else self.model(ids[:, None], rows)[:, 0]
            rows.advance(1)
        else:
            assert self.decoder is not None
            counts = list(map(len, new))
            logits = self.decoder(ids, rows, counts)
            rows.advance(torch.tensor(counts))
        for row, one in enumerate(new):
            held[row].text += one
        return logits

    def _reset(self) -> None:
        """End the running requests and drop all cached rows, which may be half written."""
        for request in (*self._busy, *self._joining):
            self._end(request, "error")
        with self._lock:
            for request in self._joining:
                if request in self.waiting:
                    self.waiting.remove(request)
        self.running, self._joining, self._reading = [], [], None
        self._sampler, self._sampler_requests = None, []
        self.rows.reset()

    def _end(self, request: Request, reason: FinishReason) -> None:
        with self._lock:
            request.finish_reason = request.finish_reason or reason

    @property
    def _busy(self) -> list[Request]:
        """The requests that have a row."""
        return [*self.running, self._reading] if self._reading else self.running

    def _join(self) -> list[Request]:
        """Read the prompts of waiting requests into free rows, or a part of one; returns those that got a token."""
        if self._reading and self._reading.finish_reason:
            self._reading = self.rows.held = None
        admitted = self._admit()
        return [*(self._read(admitted) if admitted else ()), *self._read_on()]

    def _read(self, admitted: list[Request]) -> list[Request]:
        """Read whole prompts into free rows, and sample their first tokens; or let them run, if they are read as they
        go."""
        if self._go_along(admitted):
            return []
        first = len(self.running)
        texts: dict[tuple[int, ...], list[Request]] = {}  # a prompt with several answers is read once
        for request in admitted:
            texts.setdefault(tuple(request.tokens), []).append(request)
        unread = [same[0] for same in texts.values()]
        ordered: list[Request] = []
        found: list[Tensor] = []
        while unread:
            now, unread = split_by_prefix(self.rows, unread)
            self.rows.assign([one.request.tokens for one in now], [one.prefix for one in now], first + len(ordered))
            for group in groups_by_length(now):
                found.append(self._prefill(group, first + len(ordered)))
                ordered += [one.request for one in group]
        logits = torch.cat(found)
        twins = [(place, twin) for place, r in enumerate(ordered) for twin in texts[tuple(r.tokens)][1:]]
        for place, twin in twins:
            source = self.rows.rows[first + place]
            twin.n_cached = len(source.text)
            self.rows.assign([twin.tokens], [CachedPrefix(source, twin.n_cached)], first + len(ordered))
            ordered.append(twin)
        self.running += ordered
        self._joining = []
        self._sample(ordered, torch.cat((logits, logits[[place for place, _ in twins]])) if twins else logits)
        return ordered

    def _go_along(self, admitted: list[Request]) -> bool:
        """Let requests with little to read run: the next step reads it in C, with the tokens of the others."""
        if self.decoder is None:
            return False
        known = [self.rows.longest_prefix(request.tokens) for request in admitted]
        if sum(one.n_tokens - prefix.n_tokens for one, prefix in zip(admitted, known, strict=True)) > self.n_along:
            return False
        self.rows.assign([request.tokens for request in admitted], known, len(self.running))
        for request, prefix in zip(admitted, known, strict=True):
            request.n_cached = prefix.n_tokens
        self.running += admitted
        self._joining = []
        return True

    def _admit(self) -> list[Request]:
        """The waiting requests for which there are rows and memory now."""
        free = self.n_rows - len(self._busy)
        with self._lock:
            waiting = list(self.waiting)
        if not waiting or free < 1 or (self.running and free < min(self.join_at, len(waiting))):
            return []
        asked = waiting[:free] if self.read_at_once is None else self._choose(waiting, self.read_at_once)
        n_busy = len(self._busy)
        while asked:
            self._joining = asked
            n_kept = sum(bool(row.text) for row in self.rows.rows[n_busy:])
            must = n_busy == 0 and len(asked) == 1
            if self.rows.reserve(n_busy + len(asked), _n_positions([*asked, *self._busy]), n_kept, must):
                break
            asked = asked[: len(asked) // 2]  # the others wait
        with self._lock:
            self._joining = [request for request in asked if request in self.waiting]  # none was cancelled meanwhile
            for request in self._joining:
                self.waiting.remove(request)
        return self._joining

    def _choose(self, waiting: list[Request], most: int) -> list[Request]:
        """The waiting requests to read now, with at most `most` tokens that are not cached.

        A prompt that is longer by itself is read in parts from now on, or waits while another one is; others pass it.
        """
        chosen: list[Request] = []
        room = most
        for request in waiting:
            n_new = request.n_tokens - self.rows.longest_prefix(request.tokens).n_tokens
            if len(self._busy) + len(chosen) == self.n_rows or most >= n_new > room:
                break
            if n_new > most and self._reading is None:
                with self._lock:
                    if request in self.waiting:  # not cancelled meanwhile
                        self.waiting.remove(request)
                        self._reading = request
            elif n_new <= most and not (self._reading and self._reading.tokens == request.tokens):
                chosen.append(request)
                room -= n_new
        return chosen

    def _reserve_next_position(self) -> None:
        """Memory for one more position in every running row; without it the last requests go back to waiting."""
        while not self.rows.reserve(
            len(self.running), max(request.n_tokens for request in self.running), must=len(self.running) == 1
        ):
            with self._lock:
                self.waiting.appendleft(self.running.pop())

    def _prefill(self, group: list[Prefill], first: int) -> Tensor:
        """Read what is not cached of some texts together, into the rows from `first`; returns their logits, (B, V)."""
        rest = [one.request.tokens[one.prefix.n_tokens :] for one in group]
        ids, lengths = (t.to(self.here.torch_device) for t in pad(rest, pad_id=0))
        rows = self.rows.cache.rows(first, first + len(group))
        if len(rest[0]) == len(rest[-1]):
            last = self.model.model(ids, rows)[:, -1]
        else:
            real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
            last = self.model.model(ids, rows, real)[lengths.cumsum(0) - 1]
        rows.advance(lengths)
        for row, one in enumerate(group, start=first):
            self.rows.rows[row].text, one.request.n_cached = one.request.tokens, one.prefix.n_tokens
        logits: Tensor = self.model.lm_head(last)
        return logits

    def _read_on(self) -> list[Request]:
        """Read the next part of the prompt that is read in parts; after its last one, sample its first token."""
        request, first = self._reading, len(self.running)
        if request is None or not self.rows.reserve(first + 1, _n_positions([request]), must=first == 0):
            return []
        held, tokens = self.rows.held, request.tokens
        known = CachedPrefix(held, len(held.text)) if held else self.rows.longest_prefix(tokens)
        if held is None:
            request.n_cached = known.n_tokens
        self.rows.held = None
        self.rows.assign([tokens], [known], first)
        self.rows.held, rows = self.rows.rows[first], self.rows.cache.rows(first, first + 1)
        part = tokens[known.n_tokens :][: self.read_at_once]
        last = self.model.model(torch.tensor([part], device=self.here.torch_device), rows)[:, -1]
        rows.advance(len(part))
        self.rows.held.text, self.rows.held.left_at = tokens[: known.n_tokens + len(part)], self.n_steps
        if len(self.rows.held.text) < len(tokens):
            return []
        self._reading = self.rows.held = None
        self.running.append(request)
        self._sample([request], self.model.lm_head(last))
        return [request]

    def _sample(self, requests: list[Request], logits: Tensor) -> None:
        """Sample one token for each request."""
        if any(r.sampling.repetition_penalty != 1 or r.sampling.logit_bias for r in requests):
            raw, logits = logits, logits.float().clone()
            for row, request in enumerate(requests):
                logits[row] = adjust(raw[row], request.sampling, request.tokens)
        else:
            raw = logits
        numbers = torch.tensor([request.uniforms[len(request.ids)] for request in requests], device=logits.device)
        tokens = self._sampler_of(requests)(logits, numbers).tolist()
        for row, (request, token) in enumerate(zip(requests, tokens, strict=True)):
            if request.sampling.logprobs >= 0:
                request.logprobs.append(_top_logprobs(raw[row], token, request.sampling.logprobs))
            self._accept(request, token)

    def _sampler_of(self, requests: list[Request]) -> Sampler:
        """The sampler of these rows, kept as long as the same requests run."""
        if self._sampler is None or self._sampler_requests != requests:
            self._sampler_requests = list(requests)
            self._sampler = Sampler(
                [request.sampling for request in requests], self.model.config.vocab_size, self.here.torch_device
            )
        return self._sampler

    def _accept(self, request: Request, token: int) -> None:
        if request.finish_reason:
            return
        if reason := request.accept(token, self.end_ids):
            self._end(request, reason)

    def _leave(self) -> None:
        """Free the rows of ended requests: the last running row moves into their place."""
        for row in range(len(self.running) - 1, -1, -1):
            if self.running[row].finish_reason:
                last = len(self.running) - 1
                self.rows.swap(row, last)
                self.rows.rows[last].left_at = self.n_steps
                self.running[row] = self.running[last]
                self.running.pop()


def _n_positions(requests: Sequence[Request]) -> int:
    """Positions that the longest of some requests needs soon."""
    return max(r.n_tokens + min(r.max_new - len(r.ids), FIRST_POSITIONS) for r in requests)


def _top_logprobs(logits: Tensor, token: int, n_top: int) -> TopLogprobs:
    logprobs = logits.float().log_softmax(dim=-1)
    values, ids = logprobs.topk(n_top)
    return TopLogprobs(float(logprobs[token]), dict(zip(ids.tolist(), values.tolist(), strict=True)))
