"""A real Ray on this machine, as tests use it: a head without processors, and nodes of one processor each."""

import contextlib
import fcntl
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

TOKEN = secrets.token_hex(32)
"""Ray reads it once in a process, whatever clusters begin there later."""
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="pip install 'malmoi[cluster]'")


GIVEN = {
    "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # it would end our processes when those of other tests fill the memory
}  # fmt: skip


@contextlib.contextmanager
def ray_cluster() -> Iterator[Any]:
    """A cluster whose head has no processor; nodes are added to it. Only processes with its token may use it.

    One at a time on this machine: its nodes must be there within half a minute, next to all other tests.
    """
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as left:
        for name, value in GIVEN.items():
            patch.setenv(name, value)
        turn = left.enter_context(Path(tempfile.gettempdir(), f"malmoi-ray-{os.getuid()}.lock").open("w"))
        fcntl.flock(turn, fcntl.LOCK_EX)
        # Paths of sockets are short: a test's own folder is too deep.
        files = left.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
        from ray.cluster_utils import Cluster

        cluster = Cluster()
        left.callback(cluster.shutdown)
        cluster.add_node(num_cpus=0, include_dashboard=False, dashboard_agent_listen_port=0, temp_dir=files)
        yield cluster


def children_of(pid: int) -> list[int]:
    """Processes that a process has started and that still run, by Linux's list of processes."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def workers_of(node: Any) -> list[int]:
    """The processes of a node that run a task of ours now."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for pid in children_of(raylet):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::call"):
                found.append(pid)
    return found


def kill_a_worker(*nodes: Any) -> None:
    """Kill a process that runs a task of ours now. Between two tasks there may be none: it is waited for."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for pid in (pid for node in nodes for pid in workers_of(node)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return
        time.sleep(0.005)
    raise AssertionError("no task ran any more")
