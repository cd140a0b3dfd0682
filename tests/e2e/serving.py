"""A server in a process of its own, and people in front of it."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from malmoi.feedback.accounts import add_member
from malmoi.feedback.sessions import begin_session
from malmoi.workspace.ledger import Ledger
from tests.unit.serve.conftest import PASSWORD
from tests.unit.serve.test_process import free_port

SERVE = "from malmoi.cli import main; main()"


class Server:
    """A server that can be killed and begun again at the same address and folder.

    within: the words of a command that runs it, such as `nice`; more: further words of `malmoi serve`
    """

    def __init__(self, workspace: Path, log: Path, within: Sequence[str] = (), more: Sequence[str] = ()) -> None:
        self.port, self.log = free_port(), log
        words = ["serve", "--workspace", str(workspace), "--port", str(self.port), "--no-open", *more]
        self.command = [*within, sys.executable, "-c", SERVE, *words]
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)

    def client(self, ledger: Ledger, name: str, role: str = "owner") -> httpx.Client:
        """The browser of a new person who is signed in."""
        token = begin_session(ledger, add_member(ledger, name, PASSWORD, role))
        base, cookies = f"http://127.0.0.1:{self.port}", {f"malmoi_{self.port}": token}
        return httpx.Client(base_url=base, cookies=cookies, timeout=60, trust_env=False)

    def until_it_answers(self, client: httpx.Client, within_s: float = 60) -> None:
        def answers() -> bool:
            try:
                return client.get("/api/status").status_code == 200
            except httpx.HTTPError:
                return False

        until(answers, within_s)


def until(is_so: Callable[[], object], within_s: float = 120) -> None:
    """Wait until something is so."""
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end, "it never was"
        time.sleep(0.05)
