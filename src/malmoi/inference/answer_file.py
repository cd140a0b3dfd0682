"""Answers to a file of prompts, as JSON lines: each line has everything that is needed to make its answer again."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np

from malmoi import progress
from malmoi.data.formats import prompts as read_prompts
from malmoi.errors import DataError, UserError
from malmoi.files import disk_errors, read_jsonl, remove_stale_partials, sha256_of, to_json, write_jsonl
from malmoi.inference.grounded import Prepared, prepare, settle
from malmoi.inference.requests import Request
from malmoi.inference.sampling import Sampling
from malmoi.inference.voice import Voice
from malmoi.inference.weights import Weights
from malmoi.retrieval.lookup import Lookup
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.template_clock import fixed_time, recorded_start, template_time, uses_time

N_ROWS = 32
ANSWERED = ("answer", "finish_reason", "n_tokens", "sources", "supported", "quoted", "declined", "nearest", "rejected")
"""What a line has only once its prompt is answered; the last six only if something was looked up."""


class Chooser(Protocol):
    """Keeps one of the answers to each prompt. template: with which it reads them"""

    template: ChatTemplate

    def choose(self, lines: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
        """One line for every n."""


class PlannedAnswer(NamedTuple):
    """An answer to be written: its prompt, and its line as far as it is known before."""

    prompt: Prepared
    line: dict[str, Any]


class LookedUp(NamedTuple):
    """Where answers are looked up, and the hash of the index."""

    lookup: Lookup
    index_sha256: str


def write_answers(
    model: str, folder: Path | None, prompts: Path, out: Path, sampling: Sampling, seed: int, n: int, weights: Weights,
    chooser: Chooser | None = None, now: datetime | None = None, looked_up: LookedUp | None = None,
) -> int:  # fmt: skip
    """Write `n` answers to every prompt, a JSON line each in the prompts' order; returns the number of lines.

    model: what the lines call the model in `folder`; no folder: no model, so answers are quotations
    looked_up: None: the model answers by itself
    chooser: keeps one of the n answers to each prompt
    now: the time that chat templates are given; None: the clock's
    Answers are collected in `OUT.partial`: after an interruption, the same call continues from there.
    Raises UserError if `out` exists, if `OUT.partial` has other answers or if the model cannot write; DataError for
    prompts that cannot be read.
    """
    if out.exists():
        raise UserError(f"{out}: exists already; choose another --out")
    voice = None if folder is None else Voice.load(model, folder, weights)
    about: dict[str, Any] = {
        "sampling": sampling.model_dump(mode="json", exclude={"logprobs"}), "model": model,
        "model_sha256": folder and sha256_of(folder), "weights": weights,
        **({"index_sha256": looked_up.index_sha256} if looked_up else {}),
    }  # fmt: skip
    partial = out.with_name(f"{out.name}.partial")
    with disk_errors(partial):
        out.parent.mkdir(parents=True, exist_ok=True)
        moment = _start_of(partial) or now
    with fixed_time(moment):
        templates = [reader.template for reader in (voice, chooser) if reader is not None]
        if any(uses_time(template.source) for template in templates):
            about["begun"] = template_time().isoformat()
        planned = list(_plan(prompts, voice, looked_up and looked_up.lookup, sampling.max_tokens, seed, n, about))
        remove_stale_partials(out)
        with disk_errors(partial), partial.open("ab") as file, _only_writer(file, out):
            done = _read_partial(partial, planned)
            missing = [one for number, one in enumerate(planned) if number not in done]
            for number, line in enumerate(_answer(voice, missing, sampling), start=1):
                file.write(to_json(line).encode() + b"\n")
                file.flush()
                progress.report(number, len(missing), "answers")
            done = _read_partial(partial, planned)
            lines = [done[number] for number in range(len(planned))]
            n_lines = write_jsonl(out, lines if chooser is None else chooser.choose(lines, n))
            partial.unlink()
    return n_lines


def _start_of(partial: Path) -> datetime | None:
    """The time of the interrupted call, which its first line records."""
    if not partial.exists():
        return None
    with partial.open("rb") as file:
        first = file.readline()
    try:
        line = json.loads(first)
    except ValueError:  # cut off, so there is no answer yet; or not our file, which is refused when it is read
        return None
    return recorded_start(line, partial) if isinstance(line, dict) else None


@contextlib.contextmanager
def _only_writer(file: IO[bytes], out: Path) -> Iterator[None]:
    """Raises UserError if another process writes the same answers, or has just finished them."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{out}: another process is writing it; wait until it is done, or choose another --out"
        ) from None
    if out.exists():
        raise UserError(f"{out}: exists already; choose another --out")
    yield


def _plan(
    path: Path, voice: Voice | None, lookup: Lookup | None, max_tokens: int, seed: int, n: int, about: Mapping[str, Any]
) -> Iterator[PlannedAnswer]:
    """Every prompt `n` times. The seed of an answer depends on the prompt's place in the file, not on other prompts."""
    place = 0
    for place, (number, row) in enumerate(read_prompts(path), start=1):
        try:
            prompt = prepare(voice, lookup, row["messages"], max_tokens, cut=lookup is not None)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        read: dict[str, Any] = {"messages": [*prompt.asked]}
        read |= {"n_dropped": prompt.n_dropped} if prompt.n_dropped else {}
        for sample in range(n):
            own_seed = int(np.random.default_rng((seed, place, sample)).integers(2**62))
            line = {"prompt": place, "row": number, "sample": sample, **row, **read, "seed": own_seed, **about}
            yield PlannedAnswer(prompt, line)
    if not place:
        raise DataError(f"{path}: holds no prompt")


def _answer(voice: Voice | None, planned: Sequence[PlannedAnswer], sampling: Sampling) -> Iterator[dict[str, Any]]:
    """Complete lines, in the order in which answers end; prompts of similar length are read together."""
    asked = sorted((one for one in planned if one.prompt.ids), key=lambda one: len(one.prompt.ids or ()))
    yield from (_line(voice, one, "", None) for one in planned if not one.prompt.ids)
    if voice is None or not asked:
        return
    n_rows = min(N_ROWS, len(asked))
    n_max = len(asked[-1].prompt.ids or ()) + sampling.max_tokens
    engine = voice.engine(n_rows, n_max=n_max, n_waiting=len(asked), join_at=N_ROWS // 4)
    running = {engine.submit(one.prompt.ids or (), sampling, one.line["seed"]): one for one in asked}
    while running:
        for request in engine.step():
            if request.finish_reason and (one := running.pop(request, None)):
                yield _line(voice, one, request.text, request)


def _line(voice: Voice | None, one: PlannedAnswer, said: str, request: Request | None) -> dict[str, Any]:
    """A line with its answer. request: None if the voice was not asked"""
    answered = settle(voice, one.prompt, said)
    ended = (request.finish_reason, len(request.ids)) if request else ("stop", 0)
    line = one.line | {"answer": answered.text, "finish_reason": ended[0], "n_tokens": ended[1]}
    return line if one.prompt.findings is None else line | answered.to_row()


def _read_partial(partial: Path, planned: Sequence[PlannedAnswer]) -> dict[int, dict[str, Any]]:
    """Number of a planned answer -> its line, for those that are written. A last line that was cut off is removed."""
    whole, newline, _ = partial.read_bytes().rpartition(b"\n")
    os.truncate(partial, len(whole + newline))  # in place: the lock is on this very file
    numbers = {(one.line["prompt"], one.line["sample"]): number for number, one in enumerate(planned)}
    done = {}
    for line in read_jsonl(partial):
        number = numbers.get((line.get("prompt"), line.get("sample")), -1)
        if number < 0 or planned[number].line != {key: value for key, value in line.items() if key not in ANSWERED}:
            raise UserError(f"{partial}: was begun with another model, other prompts or settings; remove it")
        done[number] = line
    return done
