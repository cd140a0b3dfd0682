"""The server under load: `python -m benchmarks.serving WORKSPACE [--chats 16] [--seconds 120]`.

Chats that ask without a pause, each in its own person's name, over HTTP; then the same requests to the bare engine.
Says whether an answer was lost, how long the first words took, how fair the server was, and its speed compared with the
engine's. To see it while a job trains, start one before.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from malmoi.feedback.accounts import add_member
from malmoi.feedback.sessions import make_key
from malmoi.inference.sampling import Sampling
from malmoi.inference.speaker import N_ROWS
from malmoi.inference.voice import Voice
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.models import find_model

QUESTIONS = ("What does os.getcwd do?", "How do I delete a folder?", "리스트는 어떻게 정렬해?", "What is a dictionary?")
N_TOKENS = 64


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    name, folder = find_model(Workspace(given.workspace), None)
    served = _serve(given.workspace, name, given.chats, given.seconds)
    bare = _bare(Voice.load(name, folder), served["n_answers"])
    row = {**served, "bare_tokens_per_s": round(bare, 1), "ratio": round(served["tokens_per_s"] / bare, 3)}
    print(json.dumps(row, indent=2))
    return int(row["n_lost"] > 0)


def _serve(workspace: Path, name: str, n_chats: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch, _server(workspace, Path(scratch)) as base:
        keys = _keys(workspace, n_chats)
        _wait(base, keys[0], name)
        asked = [_Chat(base, key, name, number) for number, key in enumerate(keys)]
        begun = time.monotonic()
        threads = [threading.Thread(target=chat.ask_until, args=(begun + seconds,)) for chat in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
    waits = np.array([wait for chat in asked for wait in chat.waits])
    counts = [len(chat.waits) for chat in asked]
    return {
        "n_chats": n_chats, "seconds": round(took, 1), "n_answers": sum(counts),
        "n_lost": sum(chat.n_lost for chat in asked), "answers_of_a_chat": [min(counts), max(counts)],
        "first_words_p50_s": round(float(np.percentile(waits, 50)), 3),
        "first_words_p95_s": round(float(np.percentile(waits, 95)), 3),
        "tokens_per_s": round(sum(chat.n_tokens for chat in asked) / took, 1),
    }  # fmt: skip


class _Chat:
    """A program that asks one question after the other. waits: seconds until the first words of each answer"""

    def __init__(self, base: str, key: str, model: str, number: int) -> None:
        self.base, self.headers, self.model, self.number = base, {"Authorization": f"Bearer {key}"}, model, number
        self.waits: list[float] = []
        self.n_tokens = self.n_lost = 0

    def ask_until(self, end: float) -> None:
        with httpx.Client(base_url=self.base, headers=self.headers, timeout=300, trust_env=False) as client:
            while time.monotonic() < end:
                self._ask(client)

    def _ask(self, client: httpx.Client) -> None:
        body = _request(self.model, self.number, len(self.waits)) | {"stream": True}
        begun, first, is_whole = time.monotonic(), None, False
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            for line in response.iter_lines():
                if line == "data: [DONE]":
                    is_whole = True
                elif line.startswith("data: "):
                    chunk = json.loads(line[6:])
                    if chunk.get("usage"):
                        self.n_tokens += chunk["usage"]["completion_tokens"]
                    if first is None and any(choice["delta"].get("content") for choice in chunk.get("choices", ())):
                        first = time.monotonic() - begun
        self.n_lost += not is_whole
        self.waits.append(first if first is not None else time.monotonic() - begun)


def _request(model: str, chat: int, number: int) -> dict[str, Any]:
    question = QUESTIONS[(chat + number) % len(QUESTIONS)]
    return {
        "model": model, "messages": [{"role": "user", "content": question}], "max_tokens": N_TOKENS,
        "temperature": 1.0, "seed": chat * 10_000 + number, "stream_options": {"include_usage": True},
    }  # fmt: skip


def _bare(voice: Voice, n_answers: int) -> float:
    """Tokens a second of the engine alone, on as many of the same questions."""
    engine = voice.engine(N_ROWS, n_waiting=n_answers)
    sampling = Sampling(max_tokens=N_TOKENS)
    texts = [QUESTIONS[number % len(QUESTIONS)] for number in range(n_answers)]
    begun = time.monotonic()
    requests = [
        engine.submit(voice.ids([{"role": "user", "content": text}]), sampling, seed)
        for seed, text in enumerate(texts)
    ]  # fmt: skip
    engine.finish()
    return sum(len(request.ids) for request in requests) / (time.monotonic() - begun)


@contextlib.contextmanager
def _server(workspace: Path, scratch: Path) -> Any:
    words = [sys.executable, "-m", "malmoi", "serve", "--workspace", str(workspace), "--port", "0", "--no-open"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=scratch.parent) as process:
        assert process.stdout is not None
        try:
            said = ""
            while "Malmoi is at" not in said:
                said = process.stdout.readline()
            yield said.split()[3].rstrip(";")
        finally:
            process.terminate()


def _keys(workspace: Path, n: int) -> list[str]:
    """A key of a new person for each chat."""
    stamp = time.time_ns()
    with Ledger.open(Workspace.open(workspace)) as ledger:
        people = [add_member(ledger, f"load {stamp} {i}", "a long password", "owner") for i in range(n)]
        return [str(make_key(ledger, person, "load")["key"]) for person in people]


def _wait(base: str, key: str, model: str) -> None:
    """Until the model is loaded, and has answered once."""
    headers = {"Authorization": f"Bearer {key}"}
    httpx.post(
        f"{base}/v1/chat/completions", json=_request(model, 0, 0), headers=headers, timeout=300, trust_env=False
    ).raise_for_status()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.partition("\n")[0])
    parser.add_argument("workspace", type=Path, help="a workspace with a model; people are added to it")
    parser.add_argument("--chats", type=int, default=16, metavar="N")
    parser.add_argument("--seconds", type=float, default=120, metavar="S")
    return parser


if __name__ == "__main__":
    sys.exit(main())
