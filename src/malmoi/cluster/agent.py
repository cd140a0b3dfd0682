"""The process that speaks to Ray, for `client`: requests come as lines of JSON on stdin, answers go to stdout.

It ends with its stdin: when the process that asked is gone, Ray ends the tasks of this one. Ray itself ends a process
that has lost its cluster, so a line that says so can only come from the process that asked.
"""

import contextlib
import json
import os
import secrets
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from malmoi.cluster.worker import identity, where

PROBE_S = 5.0
ASK_EVERY_S = 0.2
ROOM_WITHIN_S = 30.0
"""How long ranks wait for their places, and tasks for a machine that can take them."""
BACK_WITHIN_S = 5.0
"""How long ranks wait for a lost machine; then fewer go on."""
TRIES = 3
"""How often a task is begun again after its process, or its machine, was killed."""
FORWARDED = ("MALMOI_DEVICE", "MALMOI_DTYPE", "MALMOI_THREADS", "MALMOI_NATIVE", "MALMOI_CFLAGS", "MALMOI_DATA")
Answer = Callable[[dict[str, Any]], None]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what Ray prints does not disturb the answers

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")

    try:
        _connect(sys.argv[1])
    except Exception as error:
        answer({"refused": " ".join(str(error).split())[:300]})
        return
    answer({"ready": _room()})
    requests = _Requests()
    while (request := requests.next_or_none(wait=True)) is not None:
        if "together" in request:
            _together(request, requests, answer)
        elif "calls" in request:
            _each(request, requests, answer)
        if requests.is_over:
            break


class _Requests:
    """Lines of JSON on stdin. is_over: the process that asked is gone"""

    def __init__(self) -> None:
        self.is_over, self._received, self._selector = False, b"", selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ)

    def next_or_none(self, wait: bool = False) -> dict[str, Any] | None:
        """The next request; None if there is none yet, or the process that asked is gone."""
        while b"\n" not in self._received:
            if self.is_over or not self._selector.select(None if wait else 0):
                return None
            data = os.read(0, 2**16)
            self.is_over = not data
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return dict(json.loads(line))


def _connect(address: str) -> None:
    import ray

    if address:
        host, _, port = address.rpartition(":")
        try:  # Ray itself asks for five minutes, and then ends the process
            socket.create_connection((host.strip("[]"), int(port)), PROBE_S).close()
        except OSError as error:
            raise ConnectionError(f"{error}; `ray start --head` on its first machine prints the address") from None
    has_token = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if not has_token and not (Path.home() / ".ray" / "auth_token").exists():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # for a Ray that begins and ends with this process
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    try:
        ray.init(address=address or "auto", **quiet)
    except ConnectionError:
        if address or os.environ.get("RAY_ADDRESS"):
            raise
        ray.init(address="local", include_dashboard=False, **quiet)


def _room() -> dict[str, Any]:
    """What the machines of the cluster have: their number, processors, GPUs."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    working = [one for one in alive if one.get("CPU", 0) >= 1]
    return {
        "machines": len(working), "cpus": int(sum(one["CPU"] for one in working)),
        "gpus": int(sum(one.get("GPU", 0) for one in working)),
    }  # fmt: skip


def _task() -> Callable[..., dict[str, Any]]:
    """The function that Ray sends: by value, because a machine without this Malmoi could not look it up by name."""

    def call(name: str, arguments: dict[str, Any], given: dict[str, str], expected: dict[str, str]) -> dict[str, Any]:
        import socket

        try:
            from malmoi.cluster.worker import run_named
        except ImportError as error:
            told = f"{socket.gethostname()} has no Malmoi, or another version ({error})"
            return {"refused": f"{told}; install the same version on all machines"}
        return run_named(name, arguments, given, expected)

    return call


def _given() -> dict[str, str]:
    return {name: os.environ[name] for name in FORWARDED if name in os.environ}


def _each(request: dict[str, Any], requests: _Requests, answer: Answer) -> None:
    """Run the calls, each a task of one processor; answers come as they are done."""
    import ray

    task = ray.remote(num_cpus=1, max_retries=TRIES)(_task())
    given, expected = _given(), identity()
    waiting = {
        task.remote(request["name"], one, given, expected): number for number, one in enumerate(request["calls"])
    }
    for ref, found in _ended(waiting, requests, answer):
        answer({"number": waiting[ref], **found})
    answer({"over": True})


def _ended(
    refs: Sequence[Any] | dict[Any, int], requests: _Requests, answer: Answer
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Tasks with what they gave, as they end. A request meanwhile asks all to stop."""
    import ray

    left, room_at = list(refs), time.monotonic()
    while left:
        done, left = ray.wait(left, timeout=ASK_EVERY_S)
        if requests.next_or_none() is not None:
            for ref in left:
                ray.cancel(ref)
        if requests.is_over:
            return
        for ref in done:
            yield ref, _got(ref)
        if done or _room()["machines"]:
            room_at = time.monotonic()
        elif time.monotonic() - room_at > ROOM_WITHIN_S:
            answer({"refused": "no machine of the cluster has a processor for tasks; run the same command again "
                    "when there is one"})  # fmt: skip
            return


def _got(ref: Any) -> dict[str, Any]:
    """What a task gave; "lost" if its process or its machine was killed too often."""
    import ray

    try:
        return dict(ray.get(ref))
    except ray.exceptions.TaskCancelledError:
        return {"stopped": "the cluster"}
    except ray.exceptions.RayTaskError as error:
        return {"bug": " ".join(str(error).split())[-300:], "trace": str(error)}
    except ray.exceptions.RayError as error:
        return {"lost": " ".join(str(error).split())[:200]}


def _together(request: dict[str, Any], requests: _Requests, answer: Answer) -> None:
    """Run one call as several ranks of torch.distributed, which begin and end together.

    together: the wanted number of ranks; least: fewer than wanted, but not fewer than this, if there is no more room
    """
    import ray
    from ray.util import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    room = _room_for(request["together"], request["least"], requests)
    if room is None:
        has = _room()
        answer({"refused": f"{request['together']} ranks were asked for, and the cluster has {has['cpus']} processors "
                f"and {has['gpus']} GPUs; lower --ranks, or add machines", "over": True})  # fmt: skip
        return
    n, each = room
    group = placement_group([each] * n, strategy="PACK" if "GPU" in each else "SPREAD")
    try:
        ray.get(group.ready(), timeout=ROOM_WITHIN_S)

        def placed(number: int, function: Callable[..., Any], **options: Any) -> Any:
            there = PlacementGroupSchedulingStrategy(group, number)
            return ray.remote(num_cpus=each["CPU"], num_gpus=each.get("GPU", 0), max_retries=0,
                              scheduling_strategy=there, **options)(function)  # fmt: skip

        places = ray.get([placed(number, where).remote() for number in range(n)], timeout=ROOM_WITHIN_S)
        given, expected, task = _given(), identity(), _task()
        refs = [
            placed(number, task, max_calls=1).remote(
                request["name"], request["arguments"], given | _rank(number, places, each), expected
            )
            for number in range(n)
        ]
        answer({"began": n})
        _until_all_end(refs, requests, answer)
    except ray.exceptions.RayError as error:  # a machine went away while its ranks were placed
        answer({"lost": " ".join(str(error).split())[:200]})
    finally:
        with contextlib.suppress(ray.exceptions.RayError):
            remove_placement_group(group)
    answer({"over": True})


def _until_all_end(refs: Sequence[Any], requests: _Requests, answer: Answer) -> None:
    """Answer with what each rank gave. When one is lost, or fails, the others would wait for it: they are ended."""
    import ray

    is_ended = False
    for ref, found in _ended(refs, requests, answer):
        answer({"number": refs.index(ref), **found})
        if "result" not in found and not is_ended:
            is_ended = True
            for other in refs:
                ray.cancel(other, force="stopped" not in found)
    if requests.is_over:
        for ref in refs:
            ray.cancel(ref, force=True)


def _room_for(wanted: int, least: int, requests: _Requests) -> tuple[int, dict[str, float]] | None:
    """(ranks, what each takes): a GPU each if the cluster has some, else an equal share of a machine's processors."""
    import ray

    until, best = time.monotonic() + (BACK_WITHIN_S if least < wanted else 0), 0
    while True:
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        kind = "GPU" if any(one.get("GPU", 0) >= 1 for one in alive) else "CPU"
        best = int(sum(one.get(kind, 0) // 1 for one in alive))
        is_late = time.monotonic() > until
        if best >= wanted or (is_late and best >= least):
            n = min(wanted, best)
            cpus = sorted(int(one["CPU"]) for one in alive if one.get(kind, 0) >= 1 and one.get("CPU", 0) >= 1)
            each = {"CPU": float(_cpus_each(cpus, n))}
            return n, each | ({"GPU": 1.0} if kind == "GPU" else {})
        if is_late or requests.is_over:
            return None
        time.sleep(ASK_EVERY_S)


def _cpus_each(cpus: Sequence[int], n: int) -> int:
    """The most processors that each of n ranks can have. cpus: of each machine"""
    return max((each for each in range(1, max(cpus) + 1) if sum(has // each for has in cpus) >= n), default=1)


def _rank(number: int, places: Sequence[dict[str, Any]], each: dict[str, float]) -> dict[str, str]:
    """The environment of one rank, as `torchrun` gives it."""
    nodes = [place["node"] for place in places]
    local = [other for other in range(len(places)) if nodes[other] == nodes[number]]
    # Ray shows a rank only its own GPU, which is then the first one.
    local_rank = 0 if "GPU" in each else local.index(number)
    return {
        "RANK": str(number), "WORLD_SIZE": str(len(places)), "LOCAL_RANK": str(local_rank),
        "LOCAL_WORLD_SIZE": str(len(local)), "MASTER_ADDR": places[0]["address"],
        "MASTER_PORT": str(places[0]["port"]), "OMP_NUM_THREADS": str(int(each["CPU"])),
    }  # fmt: skip


if __name__ == "__main__":
    main()
