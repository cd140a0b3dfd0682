"""`malmoi generate`: answers to the prompts of a file, each with all that it takes to make it again; best-of-n too."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from malmoi import progress
from malmoi.data.comparisons import Ranking, ranking_ids
from malmoi.data.formats import prompts as read_prompts
from malmoi.errors import DataError, UserError
from malmoi.evals.best_of import MISSING_EOS_PENALTY, best_index
from malmoi.evals.reward_scores import mean_scores
from malmoi.files import disk_errors, read_jsonl, sha256_of, sweep_dead, to_json, write_jsonl
from malmoi.formats.folder import load_model, load_text, score_std
from malmoi.formats.inspect import kind_of
from malmoi.inference.engine import Engine
from malmoi.inference.fastest import way_of
from malmoi.inference.sampling import Sampling
from malmoi.inference.weights import Weights, stored_dtype
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.template_clock import fixed_time, recorded_start, template_time, uses_time
from malmoi.workspace.folder import Workspace
from malmoi.workspace.models import find_model

N_ROWS = 32
SAID = ("answer", "finish_reason", "n_tokens")


class Job(NamedTuple):
    """One answer to write: the prompt's ids, and all that its line says beside the answer."""

    ids: list[int]
    line: dict[str, Any]


def generate(
    workspace: Path, model: str, prompts: Path, out: Path, sampling: Sampling, seed: int, n: int, weights: Weights,
    reward_model: str | None = None, now: datetime | None = None,
) -> int:  # fmt: skip
    """Write `n` answers to every prompt, a JSON line each in the prompts' order; returns how many.

    reward_model: write only the answer that it likes best of the n
    now: what chat templates are told; None: what the clock shows
    They gather in `OUT.partial`: stopped or killed, the same command goes on from there.
    Raises UserError when `out` exists, what has gathered was begun otherwise or a model is of the wrong kind,
    DataError for unreadable prompts.
    """
    if out.exists():
        raise UserError(f"{out}: exists already; choose another --out")
    chooser = None if reward_model is None else Chooser(workspace, reward_model)
    _, folder = find_model(Workspace(workspace), model)
    network = load_model(folder, LanguageModel, dtype=stored_dtype(weights))
    tokenizer, template = load_text(folder)
    about: dict[str, Any] = {
        "sampling": sampling.model_dump(mode="json", exclude={"logprobs"}), "model": model,
        "model_sha256": sha256_of(folder), "weights": weights,
    }  # fmt: skip
    partial = out.with_name(f"{out.name}.partial")
    with disk_errors(partial):
        out.parent.mkdir(parents=True, exist_ok=True)
        moment = _begun(partial) or now
    with fixed_time(moment):
        if uses_time(template.source) or (chooser is not None and uses_time(chooser.text[1].source)):
            about["begun"] = template_time().isoformat()
        jobs = list(_jobs(prompts, tokenizer, template, network.config.seq_len, seed, n, about))
        sweep_dead(out)
        with disk_errors(partial), partial.open("ab") as file, _alone(file, out):
            done = _gathered(partial, jobs)
            waiting = [job for number, job in enumerate(jobs) if number not in done]
            for number, line in enumerate(_answers(network, tokenizer, waiting, sampling, weights), start=1):
                file.write(to_json(line).encode() + b"\n")
                file.flush()
                progress.report(number, len(waiting), "answers")
            done = _gathered(partial, jobs)
            lines = [done[number] for number in range(len(jobs))]
            n_lines = write_jsonl(out, lines if chooser is None else chooser.choose(lines, n))
            partial.unlink()
    return n_lines


def _begun(partial: Path) -> datetime | None:
    """When the first answer that gathered there was asked for, as its line says."""
    if not partial.exists():
        return None
    with partial.open("rb") as file:
        first = file.readline()
    try:
        line = json.loads(first)
    except ValueError:  # cut off: nothing has gathered; or no file of ours, which is refused when it is read
        return None
    return recorded_start(line, partial) if isinstance(line, dict) else None


@contextlib.contextmanager
def _alone(file: IO[bytes], out: Path) -> Iterator[None]:
    """Raises UserError when another process writes the same answers, or has written them meanwhile."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(
            f"{out}: another process is writing it; wait until it is done, or choose another --out"
        ) from None
    if out.exists():
        raise UserError(f"{out}: exists already; choose another --out")
    yield


class Chooser:
    """A reward model that keeps one answer to each prompt.

    Raises UserError for a model that writes answers instead of scoring them.
    """

    def __init__(self, workspace: Path, name: str) -> None:
        _, folder = find_model(Workspace(workspace), name)
        if kind_of(folder) != "reward":
            raise UserError(f"--best-by {name}: writes answers and scores none; name a reward model")
        self.about = {"reward_model": name, "reward_model_sha256": sha256_of(folder)}
        self.network, self.text = load_model(folder, ScalarModel), load_text(folder)
        self.price = MISSING_EOS_PENALTY * score_std(folder)

    def choose(self, lines: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
        """Of each prompt's n lines the best, with the scores of all. Raises DataError when one is too long to read."""
        groups = [lines[start : start + n] for start in range(0, len(lines), n)]
        tokenizer, template = self.text
        said = ((group[0]["messages"], [line["answer"] for line in group]) for group in groups)
        turns = [Ranking(ranking_ids(tokenizer, template, *asked), [1] * n) for asked in said]
        longest = max(len(ids) for turn in turns for ids in turn.ids)
        if longest > self.network.config.seq_len:
            raise DataError(
                f"--best-by: {longest} tokens are more than the reward model's context ({self.network.config.seq_len})"
            )
        chosen = []
        for group, scores in zip(groups, mean_scores(self.network, turns, tokenizer.pad_id), strict=True):
            place = best_index(scores, [line["finish_reason"] == "stop" for line in group], self.price)
            chosen.append({**group[place], "n": n, "score": scores[place], "scores": scores, **self.about})
        return chosen


def _jobs(
    path: Path, tokenizer: Tokenizer, template: ChatTemplate, seq_len: int, seed: int, n: int, about: Mapping[str, Any]
) -> Iterator[Job]:
    """Every prompt `n` times; each answer has a seed of its own, which no other prompt of the file changes."""
    place = 0
    for place, (number, row) in enumerate(read_prompts(path), start=1):
        try:
            ids, _ = template.encode(tokenizer, row["messages"], add_generation_prompt=True)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        if len(ids) >= seq_len:
            raise DataError(f"{path}:{number}: {len(ids)} tokens leave no room for an answer in a context of {seq_len}")
        for sample in range(n):
            own = int(np.random.default_rng((seed, place, sample)).integers(2**62))
            yield Job(ids, {"prompt": place, "row": number, "sample": sample, **row, "seed": own, **about})
    if not place:
        raise DataError(f"{path}: holds no prompt")


def _answers(
    network: LanguageModel, tokenizer: Tokenizer, jobs: Sequence[Job], sampling: Sampling, weights: Weights
) -> Iterator[dict[str, Any]]:
    """Lines as they are done: prompts of like length are read together."""
    if not jobs:
        return
    n_max = max(len(job.ids) for job in jobs) + sampling.max_tokens
    n_rows = min(N_ROWS, len(jobs))
    way = way_of(network, weights, n_rows)
    engine = Engine(
        network, end_ids=tokenizer.stop_ids, tokenizer=tokenizer, weights=way.weights, n_rows=n_rows, n_max=n_max,
        n_waiting=len(jobs), join_at=N_ROWS // 4, in_c=way.in_c,
    )  # fmt: skip
    ordered = sorted(jobs, key=lambda job: len(job.ids))
    running = {engine.submit(job.ids, sampling, job.line["seed"]): job for job in ordered}
    while running:
        for request in engine.step():
            if request.finish_reason and (job := running.pop(request, None)):
                said = (request.text.strip(), request.finish_reason, len(request.ids))
                yield job.line | dict(zip(SAID, said, strict=True))


def _gathered(partial: Path, jobs: Sequence[Job]) -> dict[int, dict[str, Any]]:
    """Number of a job -> its line, of those that are done; a last line that was cut off goes."""
    whole, newline, _ = partial.read_bytes().rpartition(b"\n")
    os.truncate(partial, len(whole + newline))  # in place: the lock is on this very file
    numbers = {(job.line["prompt"], job.line["sample"]): number for number, job in enumerate(jobs)}
    done = {}
    for line in read_jsonl(partial):
        number = numbers.get((line.get("prompt"), line.get("sample")), -1)
        if number < 0 or jobs[number].line != {key: value for key, value in line.items() if key not in SAID}:
            raise UserError(f"{partial}: was begun with another model, other prompts or settings; remove it")
        done[number] = line
    return done
