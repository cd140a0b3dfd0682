"""Ask a Ray cluster to do work: `--on ray` is a Ray on this machine, `--on ray://HOST:PORT` the one with that head."""

import contextlib
import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import IO, Any

from malmoi.errors import ConfigError, UserError

BEGIN_WITHIN_S = 120.0
END_WITHIN_S = 10.0
_ADDRESS = re.compile(r"ray(?:://((?:\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}))?")
GO_ON = "run the same command again to go on"


def address_of(on: str) -> str:
    """HOST:PORT of "ray://HOST:PORT"; "" for "ray". Raises ConfigError for anything else, or if Ray is missing."""
    found = _ADDRESS.fullmatch(on)
    if found is None:
        raise ConfigError(f"--on {on}: expected ray, or ray://HOST:PORT as `ray start --head` prints it")
    if find_spec("ray") is None:
        raise ConfigError("ray is not installed; pip install 'malmoi[cluster]'")
    return found[1] or ""


class Lost(UserError):
    """A process or a machine of the cluster was killed while it worked."""


class Cluster:
    """A connection to a cluster, through a process of its own.

    room: machines, processors (`cpus`) and GPUs that it has at first
    Raises ConfigError for an address that is none, UserError if there is no cluster.
    """

    def __init__(self, on: str) -> None:
        self.on = on
        command = [sys.executable, "-P", "-m", "malmoi.cluster.agent", address_of(on)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUTF8": "1"}
        environment.setdefault("RAY_AUTH_MODE", "token")
        environment.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # `close` closes it
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment,
            start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers, self._received = self._process.stdin, self._process.stdout, b""
        try:
            self.room: dict[str, int] = self._next(BEGIN_WITHIN_S)["ready"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def each(self, name: str, calls: Sequence[dict[str, Any]]) -> Iterator[tuple[int, Any]]:
        """Call a function of Malmoi with each of these JSON values; yields (number of the call, result) as they end.

        name: "module:function". A call whose process or machine is killed is begun again, three times at most.
        Raises UserError for the first that fails with one, or if another version of Malmoi runs there.
        """
        self._ask({"name": name, "calls": list(calls)})
        while not (answer := self._next(None)).get("over"):
            yield answer["number"], self._result(answer)

    def together(self, name: str, arguments: dict[str, Any], n: int, least: int) -> Iterator[int]:
        """Call a function of Malmoi as n ranks; yields the number of ranks when they begin, and then 0 now and then.

        Raises as `each` does, and Lost if a process or a machine was killed. KeyboardInterrupt asks all ranks to stop,
        and waits for them.
        """
        self._ask({"name": name, "arguments": arguments, "together": n, "least": least})
        try:
            yield from self._until_over()
        except KeyboardInterrupt:
            self._ask({"stop": True})
            with contextlib.suppress(KeyboardInterrupt):
                for _ in self._until_over():
                    pass
            raise

    def _until_over(self) -> Iterator[int]:
        failed: dict[str, Any] = {}
        while not (answer := self._next(None, every_s=0.2) or {"began": 0}).get("over"):
            if "began" in answer:
                yield answer["began"]
            elif "result" not in answer and _weight(answer) > _weight(failed):
                failed = answer  # the others fail because one has failed
        if failed:
            self._result(failed)

    def _result(self, answer: dict[str, Any]) -> Any:
        if "users" in answer:
            raise UserError(answer["users"])
        if "bug" in answer:
            error = RuntimeError(answer["bug"])
            error.add_note(answer["trace"])
            raise error
        if "lost" in answer:
            raise Lost(f"{self.on}: a process was killed, or its machine ({answer['lost']}); {GO_ON}")
        if "stopped" in answer:
            raise KeyboardInterrupt
        return answer["result"]

    def _ask(self, request: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended: `_next` will say so
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()

    def _next(self, within_s: float | None, every_s: float | None = None) -> Any:
        """The next answer. every_s: None is returned if there is none within this time"""
        until = None if within_s is None else time.monotonic() + within_s
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(every_s if until is None else max(0.0, until - time.monotonic())):
                    if until is None:
                        return None
                    raise UserError(f"{self.on}: Ray does not answer within {within_s:g} s; is this its address, and "
                                    "is RAY_AUTH_TOKEN the token of that cluster?")  # fmt: skip
                data = os.read(self._answers.fileno(), 2**16)
                if not data:
                    raise UserError(f"{self.on}: the cluster went away{self._last_words()}; {GO_ON}")
                self._received += data
        line, _, self._received = self._received.partition(b"\n")
        answer = json.loads(line)
        if "refused" in answer:
            raise UserError(f"{self.on}: {answer['refused']}")
        return answer

    def _last_words(self) -> str:
        """The last line that Ray wrote, if it says something."""
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").split("\n")
        said = [line.partition("] ")[2] or line for line in lines if line.strip()]
        return f" ({' '.join(said[-1].split())[:120]})" if said else ""

    def close(self) -> None:
        """End the process, and with it its tasks."""
        self._requests.close()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
        self._log.close()


def _weight(answer: dict[str, Any]) -> int:
    """Which of several failures is the cause: what a person can mend, then what was killed, then a bug."""
    return next((n for n, name in enumerate(("stopped", "bug", "lost", "users"), 1) if name in answer), 0)
