"""How fast several ranks of this machine are while all of them compute: one process for each tries what `Trials` tries.

Ranks of one machine share its caches and its memory, and its cores with other work; each step ends with the slowest of
them, and with messages between them. None of this shows in a trial of one process. The processes take requests as lines
of JSON on stdin, and the first of them answers on stdout.
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any, TextIO

import torch
import torch.distributed as dist
from pydantic import TypeAdapter
from torch import nn

from malmoi.cost import TrainingCost
from malmoi.errors import UserError
from malmoi.model.config import ModelConfig
from malmoi.pipeline.estimate import Trials
from malmoi.train.parallel import sum_whole

N_TRIALS = 3
"""Of each kind: in one of less than a second, other work may slow down only one rank."""
N_EXCHANGES = 7
MOST_VALUES = 2**22
"""The sum of more values is not tried: it takes as much longer."""
END_WITHIN_S = 10.0
_COST = TypeAdapter(TrainingCost)


class Together:
    """In place of `Trials`: seconds on each of n ranks of this machine while all of them do the same.

    Raises UserError where the processes cannot be started.
    """

    def __init__(self, shape: ModelConfig, n: int) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        # No rank and no world: each tries as if it were the only one, with its share of the cores.
        given = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
        given |= {"LOCAL_WORLD_SIZE": str(n), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._ranks = [
            subprocess.Popen(
                [sys.executable, "-P", "-m", "malmoi.pipeline.together", shape.model_dump_json(), f"{port} {rank} {n}"],
                stdin=subprocess.PIPE, stdout=None if rank else subprocess.PIPE, text=True, env=given,
            )
            for rank in range(n)
        ]  # fmt: skip

    def __enter__(self) -> "Together":
        return self

    def __exit__(self, *_: object) -> None:
        for rank in self._ranks:
            assert rank.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                rank.stdin.close()
        for rank in self._ranks:
            try:
                rank.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                rank.kill()
                rank.wait()
            if rank.stdout is not None:
                rank.stdout.close()

    def step(self, training: TrainingCost) -> float:
        return self._ask({"step": _COST.dump_python(training, mode="json")})

    def read(self, n_tokens: int) -> float:
        return self._ask({"read": n_tokens})

    def answer(self, n_prompt: int, n_answer: int) -> float:
        return self._ask({"answer": [n_prompt, n_answer]})

    def exchange(self, n_values: float) -> float:
        """Seconds of all messages of one optimizer step that sums so many gradients."""
        tried = int(min(n_values, MOST_VALUES))
        return self._ask({"exchange": tried}) * max(1.0, n_values / tried)

    def _ask(self, request: dict[str, Any]) -> float:
        first = self._ranks[0].stdout
        try:
            for rank in self._ranks:
                assert rank.stdin is not None
                rank.stdin.write(json.dumps(request) + "\n")
                rank.stdin.flush()
            assert first is not None
            return float(first.readline())
        except (BrokenPipeError, ValueError):
            n = len(self._ranks)
            raise UserError(f"--machines {n}xhere: one of {n} processes ended (out of memory?); try fewer") from None


def main() -> None:
    """Answer requests, as one of the processes, until stdin ends."""
    answers: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    trials = Trials(ModelConfig.model_validate_json(sys.argv[1]))
    port, rank, n = map(int, sys.argv[2].split())
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=n)
    for line in sys.stdin:
        ((name, value),) = json.loads(line).items()
        taken = []
        for _ in range(N_TRIALS):
            trials.tried.clear()
            dist.barrier()
            if name == "step":
                seconds = trials.step(_COST.validate_python(value))
            elif name == "exchange":
                seconds = _try_exchange(value, n)
            else:
                seconds = trials.read(value) if name == "read" else trials.answer(*value)
            slowest = torch.tensor(seconds, dtype=torch.float64)
            dist.all_reduce(slowest, dist.ReduceOp.MAX)
            taken.append(float(slowest))
        if not rank:
            answers.write(f"{statistics.median(taken)}\n")
    dist.destroy_process_group()


def _try_exchange(n_values: int, n: int) -> float:
    """Seconds of what the loop sends in one step: names and sums of metrics, gradients, two decisions."""
    parameter = nn.Parameter(torch.zeros(n_values))
    parameter.grad = torch.zeros(n_values)
    taken, names = [], [[""]] * n
    for _ in range(N_EXCHANGES):
        dist.barrier()
        began = time.monotonic()
        dist.all_gather_object(names, ["loss"])
        dist.all_reduce(torch.zeros(1))
        sum_whole([parameter])
        dist.all_reduce(torch.zeros(1))
        dist.all_reduce(torch.zeros(1))
        taken.append(time.monotonic() - began)
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
