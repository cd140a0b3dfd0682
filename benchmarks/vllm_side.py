"""A real vLLM beside our engine: `python -m benchmarks.vllm_side VLLM [--model FOLDER] [--n 32]`.

VLLM is the `vllm` command of an environment of its own; docs/guides/vllm.md says how to make one without a GPU. The
server is started in float32 on a network of random weights, or on a model folder. Checked are: ids of greedy answers;
log-probabilities of sampled answers, before and after a change of weights, held against a forward pass of ours; a
server that is killed half-way and started again, which must give the same answers. Prints one row of JSON; exit code 1
if a log-probability is further than 1e-5 from ours, or an answer differs.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from malmoi.device import current
from malmoi.formats.folder import load_model, save_model
from malmoi.inference.engine import Engine
from malmoi.inference.generator import Generator
from malmoi.inference.requests import Request
from malmoi.inference.sampling import Sampling
from malmoi.inference.vllm.engine import VllmEngine
from malmoi.inference.vllm.server import Server
from malmoi.inference.vllm.weights import Remote
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate

MOST_APART = 1e-5
START_WITHIN_S = 600.0
SAMPLED = Sampling(temperature=0.8, top_p=0.95, max_tokens=24, logprobs=0)
GREEDY = Sampling(temperature=0, max_tokens=24, logprobs=0)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    os.environ.setdefault("MALMOI_DTYPE", "float32")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = given.model or _random_model(root / "model")
        model, start = load_model(folder.resolve(), LanguageModel), _Start(given.vllm, folder.resolve(), root / "log")
        try:
            row = _checked(start, model, root / "served", given.n)
        except BaseException:
            print((root / "log").read_text()[-3000:] if (root / "log").exists() else "", file=sys.stderr)
            raise
        finally:
            start.end()
    print(json.dumps(row))
    return int(row["apart_before"] > MOST_APART or row["apart_after"] > MOST_APART or row["n_other"] > 0)


class _Start:
    """Starts the server, on one port."""

    def __init__(self, vllm: Path, folder: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.words = [
            str(vllm), "serve", str(folder), "--host", "127.0.0.1", "--port", str(self.port), "--dtype", "float32",
            "--enforce-eager", "--max-num-seqs", "16",
        ]  # fmt: skip
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> float:
        """Start it, and wait until it answers; returns the seconds."""
        settings = {
            "VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        begun = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.words, env=own | settings, stdout=log, stderr=log, cwd=self.log.parent, start_new_session=True
            )
        Server(self.url, patience_s=START_WITHIN_S).wait()
        return time.monotonic() - begun

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def end(self) -> None:
        """Kill it with all of its processes."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def _checked(start: _Start, model: LanguageModel, served: Path, n: int) -> dict[str, Any]:
    row: dict[str, Any] = {"n": n, "start_s": round(start(), 1)}
    remote = Remote(Server(start.url, patience_s=START_WITHIN_S), served)
    before, other = _asked(remote, model, n)
    row |= {"gap": remote.gap, "apart_before": before, "n_other": other}
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * parameter.std(), alpha=0.02)
    begun = time.monotonic()
    remote.share(model)
    row["change_s"] = round(time.monotonic() - begun, 3)
    row["apart_after"], other_after = _asked(remote, model, n)
    row["n_other"] = other + other_after
    whole = _answers(remote.engine_of(model, end_ids=[]), n, SAMPLED)
    engine = remote.engine_of(model, end_ids=[])
    with _killed_soon(start, engine) as found:
        again = _answers(engine, 4 * n, SAMPLED)
    row.update(found)
    row["n_other_after_kill"] = sum(one.ids != two.ids for one, two in zip(whole, again, strict=False))
    row["n_other"] += row["n_other_after_kill"]
    return row


def _asked(remote: Remote, model: LanguageModel, n: int) -> tuple[float, int]:
    """The largest difference of a log-probability to ours, in nats, and how many greedy answers are other ones."""
    sampled = _answers(remote.engine_of(model, end_ids=[]), n, SAMPLED)
    theirs = _answers(remote.engine_of(model, end_ids=[]), n, GREEDY)
    ours = _answers(Engine(model, end_ids=[], weights="float32"), n, GREEDY)
    apart = max(_apart(model, one) for one in [*sampled, *theirs])
    return apart, sum(one.ids != two.ids for one, two in zip(theirs, ours, strict=True))


def _answers(engine: Generator, n: int, sampling: Sampling) -> list[Request]:
    size, rng = 300, np.random.default_rng(5)
    prompts = [rng.integers(5, size, size=rng.integers(2, 40)).tolist() for _ in range(n)]
    requests = [engine.submit(prompt, sampling, seed) for seed, prompt in enumerate(prompts)]
    engine.finish()
    return requests


@torch.no_grad()
def _apart(model: LanguageModel, request: Request) -> float:
    """The largest difference of the log-probabilities of an answer from one forward pass of ours."""
    ids = torch.tensor([request.tokens], device=current().torch_device)
    mask = torch.ones_like(ids[:, 1:], dtype=torch.bool)
    ours = model.logps(ids[:, :-1], ids[:, 1:], mask)[0][0, len(request.prompt) - 1 :].tolist()
    return max(abs(one.logprob - other) for one, other in zip(request.logprobs, ours, strict=True))


@contextlib.contextmanager
def _killed_soon(start: _Start, engine: VllmEngine) -> Iterator[dict[str, Any]]:
    """While the block runs, the server is killed, and started again with the weights that it had at first."""
    found: dict[str, Any] = {}

    def kill() -> None:
        while len(engine.running) < engine.n_rows or len(engine.waiting) >= 3 * engine.n_rows:  # some have ended
            time.sleep(0.01)
        found["n_waiting_at_kill"], found["n_running_at_kill"] = len(engine.waiting), len(engine.running)
        start.end()
        found["restart_s"] = round(start(), 1)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield found
    finally:
        thread.join()


def _random_model(folder: Path) -> Path:
    tokenizer = train_bpe(["the cat sat on the mat; 말모이는 낱말을 모으던 일이다. " * 4], vocab_size=300)
    torch.manual_seed(0)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, n_layer=2, n_embd=64, n_head=2, n_kv_head=1, head_dim=32, n_ff=96, seq_len=128
    )
    model = LanguageModel(shape)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.1)
    save_model(folder, model, tokenizer, ChatTemplate.default(), {})
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vllm_side", description=__doc__.partition("\n")[0])
    parser.add_argument("vllm", type=Path, help="the vllm command of its environment")
    parser.add_argument("--model", type=Path, help="a model folder; default: a tiny network of random weights")
    parser.add_argument("--n", type=int, default=32, help="answers of each kind")
    return parser


if __name__ == "__main__":
    sys.exit(main())
