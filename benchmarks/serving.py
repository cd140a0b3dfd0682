"""The server under load: `python -m benchmarks.serving WORKSPACE [--train] [--chats 16] [--seconds 120]`.

Chats that ask without a pause, each in its own person's name, over HTTP; then the same requests to the bare engine.
Says whether an answer was lost, how long the first words took, how fair the server was, and its speed compared with the
engine's. With --train a job pretrains the small recipe's network all the while, as jobs do: first alone, then next to
an idle server, one chat, all chats, and the bare engine. In seconds: `--chats 4 --seconds 5`. Use a copy of a workspace
that `malmoi demo` made: people, a key of each, and a job are added to it.
"""

import argparse
import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from malmoi.feedback.accounts import add_member
from malmoi.feedback.sessions import make_key
from malmoi.inference.native import limit_threads
from malmoi.inference.sampling import Sampling
from malmoi.inference.speaker import N_ROWS, most_threads
from malmoi.inference.voice import Voice
from malmoi.pipeline.recipe import find_recipe, read_recipe
from malmoi.workspace.choice import choose
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import add_job, ask, find_job, wake
from malmoi.workspace.ledger import Ledger

QUESTIONS = ("What does os.getcwd do?", "How do I delete a folder?", "리스트는 어떻게 정렬해?", "What is a dictionary?")
N_TOKENS = 64
TRAINED = "pretrain"
WORDS, TOKENS = re.compile(rb'"delta": {"content": "[^"]'), re.compile(rb'"completion_tokens": ([0-9]+)')
PAUSE_S = 1.0
"""Between two questions of the one chat whose first words are timed."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    workspace = Workspace(given.workspace)
    with Ledger.open(workspace) as ledger, _job(ledger, given.train) as job:
        keys = _keys(ledger, given.chats)
        row: dict[str, Any] = {"job_alone": job.speed(given.seconds / 4)}
        with _server(given.workspace) as base:
            model = _model(base, keys[0])
            row["job_idle_server"] = job.speed(given.seconds / 4)
            with job.watched(row, "job_one_chat"):
                row["one_chat"] = _serve(base, keys[:1], model, given.seconds / 4, PAUSE_S)
            with job.watched(row, "job_all_chats"):
                row["all_chats"] = _serve(base, keys, model, given.seconds)
        chosen = choose(workspace, None)
        with job.watched(row, "job_bare_engine"):
            voice = Voice.load(chosen.name, chosen.folder)
            with ThreadPoolExecutor(1) as own:  # its limit is that thread's
                row["bare"] = own.submit(_bare, voice, row["all_chats"]["answers_of_chats"]).result()
    row["ratio"] = round(row["all_chats"]["tokens_per_s"] / row["bare"]["tokens_per_s"], 3)
    for name, value in row.items():
        print(f"{name:16} {json.dumps(value)}")
    return int(row["all_chats"]["n_lost"] + row["one_chat"]["n_lost"] > 0)


class _Job:
    """A job that trains. Its speed is counted in the steps that it has written; None if there is no job"""

    def __init__(self, ledger: Ledger, number: int | None) -> None:
        self.ledger, self.number = ledger, number

    def n_steps(self) -> int:
        """Steps that are written; 0 before the network trains."""
        assert self.number is not None
        job = find_job(self.ledger, self.number)
        if job["status"] not in ("queued", "running"):
            sys.exit(f"error: the job is {job['status']}: {job['error']}")
        run = next((stage["run"] for stage in job["stages"] if stage["name"] == TRAINED), None)
        path = self.ledger.root / "runs" / str(run) / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def speed(self, seconds: float) -> float | None:
        """Steps a second over some seconds."""
        row: dict[str, Any] = {}
        with self.watched(row, "speed"):
            time.sleep(seconds if self.number is not None else 0)
        found: float | None = row["speed"]
        return found

    @contextlib.contextmanager
    def watched(self, row: dict[str, Any], name: str) -> Iterator[None]:
        """Write the steps a second of what runs meanwhile to a row."""
        begun, n_before = time.monotonic(), self.n_steps() if self.number is not None else 0
        yield
        took = time.monotonic() - begun
        row[name] = round((self.n_steps() - n_before) / took, 3) if self.number is not None else None


@contextlib.contextmanager
def _job(ledger: Ledger, trains: bool) -> Iterator[_Job]:
    """A job of a process of its own, from its first steps on; at the end it is thrown away."""
    if not trains:
        yield _Job(ledger, None)
        return
    recipe = read_recipe(find_recipe("nano-small")).table()
    stages = ["corpus", "tokenizer", TRAINED]
    table = {name: recipe[name] for name in ("name", "seed", *stages)} | {"stages": stages}
    table[TRAINED] |= {"n_steps": 100_000}
    job = _Job(ledger, number := add_job(ledger, "improve", {"how": "train", "recipe": table}))
    wake(ledger)
    try:
        while not job.n_steps():
            time.sleep(1)
        yield job
    finally:
        ask(ledger, number, "throw_away")


def _serve(base: str, keys: Sequence[str], model: str, seconds: float, pause_s: float = 0.0) -> dict[str, Any]:
    """What chats that ask for some seconds get."""
    asked = [_Chat(base, key, model, number, pause_s) for number, key in enumerate(keys)]
    begun = time.monotonic()
    threads = [threading.Thread(target=chat.ask_until, args=(begun + seconds,)) for chat in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    waits = np.array([wait for chat in asked for wait in chat.waits])
    return {
        "n_chats": len(keys), "seconds": round(took, 1), "n_answers": len(waits),
        "n_lost": sum(chat.n_lost for chat in asked), "answers_of_chats": [len(chat.waits) for chat in asked],
        "first_words_p50_s": round(float(np.percentile(waits, 50)), 3),
        "first_words_p95_s": round(float(np.percentile(waits, 95)), 3),
        "first_words_most_s": round(float(waits.max()), 3),
        "tokens_per_s": round(sum(chat.n_tokens for chat in asked) / took, 1),
    }  # fmt: skip


class _Chat:
    """A program that asks one question after the other. waits: seconds until the first words of each answer

    It stands for programs on other machines: it keeps what comes, and reads it when the answer has ended, so that
    little of this machine's time is its own.
    """

    def __init__(self, base: str, key: str, model: str, number: int, pause_s: float) -> None:
        self.host, self.key, self.model, self.number = urlsplit(base).netloc, key, model, number
        self.pause_s = pause_s
        self.waits: list[float] = []
        self.n_tokens = self.n_lost = 0

    def ask_until(self, end: float) -> None:
        name, _, port = self.host.rpartition(":")
        with socket.create_connection((name, int(port)), timeout=300) as connection:
            while not self.waits or time.monotonic() < end:
                self._ask(connection)
                time.sleep(self.pause_s)

    def _ask(self, connection: socket.socket) -> None:
        body = json.dumps(_request(self.model, self.number, len(self.waits)) | {"stream": True}).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        begun, first = time.monotonic(), None
        connection.sendall(head.encode() + body)
        found = bytearray()
        while not found.endswith(b"\r\n0\r\n\r\n"):
            if not (piece := connection.recv(2**16)):
                break
            found += piece
            if first is None and WORDS.search(found):
                first = time.monotonic() - begun
        self.n_lost += b"data: [DONE]\n" not in found
        self.n_tokens += sum(map(int, TOKENS.findall(found)))
        self.waits.append(first if first is not None else time.monotonic() - begun)


def _request(model: str, chat: int, number: int) -> dict[str, Any]:
    question = QUESTIONS[(chat + number) % len(QUESTIONS)]
    return {
        "model": model, "messages": [{"role": "user", "content": question}], "max_tokens": N_TOKENS,
        "temperature": 1.0, "seed": chat * 10_000 + number, "stream_options": {"include_usage": True},
    }  # fmt: skip


def _bare(voice: Voice, n_answers: Sequence[int]) -> dict[str, Any]:
    """Tokens a second of the engine alone, on the same requests, by as many threads as in the service.

    n_answers: of each chat
    """
    if (n_threads := most_threads(voice)) is not None:
        limit_threads(n_threads)
    engine = voice.engine(N_ROWS, n_waiting=sum(n_answers))
    asked = [(n, chat) for chat, most in enumerate(n_answers) for n in range(most)]
    bodies = [_request("", chat, number) for number, chat in sorted(asked)]
    begun = time.monotonic()
    requests = [
        engine.submit(voice.ids(body["messages"]), Sampling(max_tokens=N_TOKENS, temperature=1.0), body["seed"])
        for body in bodies
    ]
    engine.finish()
    took = time.monotonic() - begun
    return {"seconds": round(took, 1), "tokens_per_s": round(sum(len(one.ids) for one in requests) / took, 1)}


@contextlib.contextmanager
def _server(workspace: Path) -> Iterator[str]:
    words = [sys.executable, "-m", "malmoi", "serve", "--workspace", str(workspace), "--port", "0", "--no-open"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = ""
            while "Malmoi is at" not in said:
                if not (said := process.stdout.readline()):
                    sys.exit("error: the server has ended")
            yield said.split()[3].rstrip(";")
        finally:
            process.terminate()


def _keys(ledger: Ledger, n: int) -> list[str]:
    """A key of a new person for each chat."""
    stamp = time.time_ns()
    people = [add_member(ledger, f"load {stamp} {i}", "a long password", "owner") for i in range(n)]
    return [str(make_key(ledger, person, "load")["key"]) for person in people]


def _model(base: str, key: str) -> str:
    """The name of the voice alone, once it is loaded and has answered."""
    with httpx.Client(
        base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=300, trust_env=False
    ) as client:
        names = [model["id"] for model in client.get("/v1/models").raise_for_status().json()["data"]]
        client.post("/v1/chat/completions", json=_request(names[-1], 0, 0)).raise_for_status()
    return str(names[-1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.partition("\n")[0])
    parser.add_argument("workspace", type=Path, help="a workspace with a model; people are added to it")
    parser.add_argument("--train", action="store_true", help="while a job trains; its speed is told too")
    parser.add_argument("--chats", type=int, default=16, metavar="N")
    parser.add_argument("--seconds", type=float, default=120, metavar="S")
    return parser


if __name__ == "__main__":
    sys.exit(main())
