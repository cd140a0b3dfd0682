"""Who answers: our engine, or a vLLM server in its place."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from malmoi import device
from malmoi.config import Settings
from malmoi.errors import ConfigError
from malmoi.inference.engine import Engine
from malmoi.inference.fastest import Way, way_of
from malmoi.inference.generator import Generator
from malmoi.inference.requests import Answer, check_prompts
from malmoi.inference.sampling import Sampling
from malmoi.inference.vllm.server import Server
from malmoi.inference.vllm.weights import Remote
from malmoi.inference.weights import Weights
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer

MOST_ROWS = 256
SERVED = "served"
"""Folder of a run for the weights that a server reads."""
_remote: ContextVar[Remote | None] = ContextVar("remote", default=None)


class Generate(Settings):
    """Who answers where a recipe samples."""

    backend: Literal["malmoi", "vllm"] = "malmoi"
    """Malmoi's engine, in this process; or a vLLM server."""
    url: str = "http://127.0.0.1:8000"
    """Address of the vLLM server."""
    folder: str = ""
    """Folder for the weights that it shall read, under a path that both see; "": the run's."""
    patience_s: float = Field(300.0, ge=0)
    """Seconds for which the server may be away or too busy."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds for which it may be silent; a whole answer takes less."""

    @model_validator(mode="after")
    def _has_an_address(self) -> "Generate":
        try:
            Server(self.url)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self


@contextlib.contextmanager
def generating(settings: Generate, run: Path) -> Iterator[None]:
    """Within this context, `engine_of` and `generate` answer as the settings say. run: the folder of the run"""
    remote = None
    if settings.backend == "vllm":
        server = Server(settings.url, settings.patience_s, settings.timeout_s)
        remote = Remote(server, Path(settings.folder) / run.name if settings.folder else run / SERVED)
    token = _remote.set(remote)
    try:
        yield
    finally:
        _remote.reset(token)
        if remote is not None:
            remote.close()


def generator_gap() -> float | None:
    """Mean difference between a server's log-probabilities and ours, in nats; None if our engine answers."""
    remote = _remote.get()
    return None if remote is None else remote.gap


def share_weights(model: LanguageModel) -> None:
    """Give a server these weights, once for all ranks, before they ask it together. All ranks must call this."""
    if (remote := _remote.get()) is not None:
        if device.current().is_main:
            remote.share(model)
        device.barrier()


def engine_of(
    model: LanguageModel, *, end_ids: Collection[int], tokenizer: Tokenizer | None = None, weights: Weights = "auto",
    n_rows: int = 32, n_max: int | None = None, n_waiting: int = 1024, join_at: int = 1,
    read_at_once: int | None = None, fastest: bool = False,
) -> Generator:  # fmt: skip
    """What answers with a network's weights as they are now. The options are those of `Engine`; a server needs few.

    fastest: in the fastest way that `weights` allows, for callers who only want answers
    """
    if (remote := _remote.get()) is not None:
        return remote.engine_of(
            model, end_ids=end_ids, tokenizer=tokenizer, n_rows=n_rows, n_max=n_max, n_waiting=n_waiting
        )
    way = way_of(model, weights, n_rows) if fastest else Way(weights)
    return Engine(
        model, end_ids=end_ids, tokenizer=tokenizer, weights=way.weights, in_c=way.in_c, n_rows=n_rows, n_max=n_max,
        n_waiting=n_waiting, join_at=join_at, read_at_once=read_at_once,
    )  # fmt: skip


def generate(
    model: LanguageModel, prompts: Sequence[Sequence[int]], sampling: Sampling, *, end_ids: Collection[int],
    seeds: Sequence[int], weights: Weights = "auto",
) -> list[Answer]:  # fmt: skip
    """Answer every prompt. seeds: one number a prompt; the same prompt and seed give the same answer in any batch.

    end_ids: tokens that end an answer, such as a tokenizer's `stop_ids`
    Raises DataError for a prompt that is empty or too long for the model's context; ServerError if a server fails.
    """
    if not prompts:
        return []
    check_prompts(prompts, model.config.seq_len, model.config.vocab_size)
    n_rows = min(MOST_ROWS, len(prompts))
    n_max = max(map(len, prompts)) + sampling.max_tokens
    engine = engine_of(
        model, end_ids=end_ids, weights=weights, n_rows=n_rows, n_max=n_max, n_waiting=len(prompts),
        join_at=max(1, n_rows // 4),
    )  # fmt: skip
    # Prompts of similar length are read together, so that there is little padding.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    requests = {i: engine.submit(prompts[i], sampling, seeds[i]) for i in order}
    try:
        engine.finish()
    finally:
        for request in requests.values():  # those that an error left, which a server would go on with
            engine.cancel(request)
    return [requests[i].answer for i in range(len(prompts))]
