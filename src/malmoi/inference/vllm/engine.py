"""Our engine's place taken by a vLLM server: the same requests, answered there.

Each answer is one HTTP request in a thread of its own; the server batches them. What a lost server did not finish is
asked again, with the same seed, once it is back and has its weights again; what it had said must come again.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from malmoi.errors import BusyError
from malmoi.inference.generator import finish
from malmoi.inference.requests import FinishReason, Request, TopLogprobs
from malmoi.inference.sampling import Sampling
from malmoi.inference.vllm.server import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    BusyServerError,
    Held,
    LostError,
    Piece,
    Server,
    ServerError,
)
from malmoi.tokenizer.bpe import Tokenizer

MOST_TRIES = 4
"""Times that one answer is asked for before the server, which comes back each time, is taken to be broken."""
LOOK_EVERY_S = 0.2


@dataclass(eq=False)
class _Try:
    """One attempt at an answer. n_seen: its tokens so far, which an earlier attempt may have given already"""

    request: Request
    held: Held = field(default_factory=Held)
    n_seen: int = 0


class VllmEngine:
    """Up to `n_rows` requests at a time to a server. See `Generator`.

    name: the model's there; end_ids, tokenizer, n_rows, n_waiting: as in `Engine`
    n_max: longest prompt and answer together; vocab_size: of the model
    ready: waits for the server, and sees to it that it has the right weights; True if it had others. Called before the
    first of some requests, and after the server was lost. Raises ServerError
    streams: tokens come one by one, for readers who wait for them; else each answer comes whole
    """

    def __init__(
        self, server: Server, name: str, ready: Callable[[], bool], *, end_ids: Collection[int], n_max: int,
        vocab_size: int, tokenizer: Tokenizer | None = None, n_rows: int = 32, n_waiting: int = 1024,
        streams: bool = False,
    ) -> None:  # fmt: skip
        self.server, self.name, self.ready, self.tokenizer = server, name, ready, tokenizer
        self.end_ids, self.n_max, self.vocab_size = frozenset(end_ids), n_max, vocab_size
        self.n_rows, self.n_waiting, self.streams = n_rows, n_waiting, streams
        self.running: list[Request] = []
        self.waiting: deque[Request] = deque()
        self._tries: dict[Request, _Try] = {}
        self._n_lost: dict[Request, int] = {}
        self._events: queue.SimpleQueue[tuple[_Try, Piece | Exception] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def submit(self, prompt: Sequence[int], sampling: Sampling, seed: int = 0) -> Request:
        """See `Engine.submit`. The same seed gives the same answer there, which is not our engine's."""
        request = Request.of(
            prompt, sampling, seed, n_max=self.n_max, vocab_size=self.vocab_size, tokenizer=self.tokenizer
        )  # fmt: skip
        with self._lock:
            if len(self.waiting) >= self.n_waiting:
                raise BusyError(f"engine: {self.n_waiting} requests are waiting; try again later")
            self.waiting.append(request)
        self._events.put(None)
        return request

    def cancel(self, request: Request) -> None:
        """End a request, here and there."""
        self._end(request, "cancelled")
        if (one := self._tries.get(request)) is not None:
            one.held.end()
        with self._lock:
            if request in self.waiting:
                self.waiting.remove(request)
        self._events.put(None)

    def place(self, request: Request) -> int:
        """How many requests are begun before this one, and it; 0: it is no longer waiting."""
        with self._lock:
            return self.waiting.index(request) + 1 if request in self.waiting else 0

    @property
    def is_idle(self) -> bool:
        return not (self.running or self.waiting)

    def finish(self) -> None:
        """Step until all requests have ended, and report progress."""
        finish(self)

    def step(self) -> list[Request]:
        """Ask for what waits, and take what has come; returns the requests that got tokens.

        Raises ServerError after a refusal, whose request has then ended with "error"; or if the server is away for too
        long, and then all that ran have.
        """
        try:
            self._begin()
            return self._take() if self.running else []
        finally:
            self._leave()

    def _begin(self) -> None:
        """Ask for the answers for which there is room."""
        with self._lock:
            n_free = self.n_rows - len(self.running)
            begun = [self.waiting.popleft() for _ in range(min(n_free, len(self.waiting)))]
        if not begun:
            return
        was_idle = not self.running
        self.running += begun
        if was_idle:
            self._make_ready()
        for request in begun:
            self._ask(request)

    def _make_ready(self) -> bool:
        try:
            return self.ready()
        except BaseException:
            for request in self.running:
                self._end(request, "error")
            raise

    def _ask(self, request: Request) -> None:
        one = self._tries[request] = _Try(request)
        threading.Thread(target=self._listen, args=(one,), name="vllm", daemon=True).start()

    def _listen(self, one: _Try) -> None:
        """Pass on what the server says; in a thread of its own."""
        until, pause = time.monotonic() + self.server.patience_s, FIRST_PAUSE_S
        while not one.request.finish_reason:
            try:
                for piece in self.server.complete(self._body(one.request), one.held):
                    self._events.put((one, piece))
                return
            except BusyServerError as error:
                if time.monotonic() + pause > until:
                    self._events.put((one, error))
                    return
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            except Exception as error:
                self._events.put((one, error))
                return

    def _body(self, request: Request) -> dict[str, Any]:
        """The request in vLLM's words. Nothing is left to the defaults that a server takes from its model's folder."""
        how = request.sampling
        body: dict[str, Any] = {
            "model": self.name, "prompt": request.prompt, "max_tokens": request.max_new, "stream": self.streams,
            "seed": request.seed % 2**63, "stop_token_ids": sorted(self.end_ids), "ignore_eos": True,
            "return_token_ids": True, "return_tokens_as_token_ids": True, "skip_special_tokens": False,
            "include_stop_str_in_output": True, "logit_bias": {str(id): bias for id, bias in how.logit_bias.items()},
            **how.model_dump(include={"temperature", "top_p", "top_k", "min_p", "repetition_penalty"}),
        }  # fmt: skip
        body |= {"stop": list(how.stop)} if how.stop else {}
        return body | ({"logprobs": how.logprobs} if how.logprobs >= 0 else {})

    def _take(self) -> list[Request]:
        """Wait for a moment, and take what the server has said by then."""
        events = []
        try:
            events.append(self._events.get(timeout=LOOK_EVERY_S))
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            pass
        moved: dict[Request, None] = {}
        lost: list[tuple[Request, LostError]] = []
        refused: Exception | None = None
        for one, said in filter(None, events):
            request = one.request
            if request.finish_reason or self._tries.get(request) is not one:
                continue
            try:
                if isinstance(said, Exception):
                    raise said
                self._accept(one, said)
                moved[request] = None
            except LostError as error:
                lost.append((request, error))
            except Exception as error:
                self._end(request, "error")
                refused = refused or error
        if lost:
            self._ask_again(lost)
        if refused is not None:
            raise refused
        return list(moved)

    def _accept(self, one: _Try, piece: Piece) -> None:
        """Add a piece to its answer. Raises ServerError if an answer that is asked again begins otherwise."""
        request = one.request
        for place, token in enumerate(piece.ids):
            one.n_seen += 1
            if one.n_seen <= len(request.ids):
                if token != request.ids[one.n_seen - 1]:
                    raise ServerError(f"vLLM at {self.server.url}: was lost, and now answers otherwise; ask again")
                continue
            if request.sampling.logprobs >= 0:
                request.logprobs.append(_top_logprobs(piece, place, request.sampling.logprobs))
            if reason := request.accept(token, self.end_ids):
                self._end(request, reason)
                return
        if piece.finish in ("stop", "length"):
            if request.assembler:
                request.assembler.finish()
            self._end(request, "stop" if piece.finish == "stop" else "length")
        elif piece.finish:
            raise LostError(f"vLLM at {self.server.url}: ended an answer itself ({piece.finish})")

    def _ask_again(self, lost: list[tuple[Request, LostError]]) -> None:
        """Once the server is back. Raises the error of an answer that was lost too often."""
        given_up: LostError | None = None
        for request, error in lost:
            self._n_lost[request] = self._n_lost.get(request, 0) + 1
            if self._n_lost[request] >= MOST_TRIES or isinstance(error, BusyServerError):
                self._end(request, "error")
                given_up = given_up or error
        had_others = self._make_ready()
        # What was asked in the meantime, by weights that it should not have had, is asked again too.
        for request in self.running if had_others else [request for request, _ in lost]:
            if not request.finish_reason:
                self._tries[request].held.end()
                self._ask(request)
        if given_up is not None:
            raise given_up

    def _end(self, request: Request, reason: FinishReason) -> None:
        with self._lock:
            request.finish_reason = request.finish_reason or reason

    def _leave(self) -> None:
        """Forget ended requests; the server stops what it still says of them."""
        for request in [request for request in self.running if request.finish_reason]:
            self.running.remove(request)
            self._n_lost.pop(request, None)
            if (one := self._tries.pop(request, None)) is not None:
                one.held.end()


def _top_logprobs(piece: Piece, place: int, n_top: int) -> TopLogprobs:
    """vLLM names the sampled token in addition to the likeliest. Raises ServerError if there are none."""
    if place >= len(piece.logprobs) or place >= len(piece.top):
        raise ServerError("vLLM gave no log-probabilities of an answer, though it was asked for them")
    likeliest = sorted(piece.top[place].items(), key=lambda one: -one[1])[:n_top]
    return TopLogprobs(piece.logprobs[place], dict(likeliest))
