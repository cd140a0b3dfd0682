"""The server as a process of its own: it sends nothing elsewhere, and says what is wrong."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.feedback.accounts import add_member, needs_owner
from malmoi.feedback.sessions import begin_session
from malmoi.serve.start import listen
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from tests.unit.serve.conftest import PASSWORD, new_chat, new_id, read_events

WATCHED = """
import sys
with open(sys.argv.pop(1), "a") as log:
    def note(event, args):
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            print(event, args[1:], file=log, flush=True)
    sys.addaudithook(note)
    from malmoi.cli import main
    sys.argv[0] = "malmoi"
    main()
"""
"""The command line in a process that writes down each connection that it opens."""


def free_port() -> int:
    with contextlib.closing(listen("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.contextmanager
def started(workspace: Path, port: int, log: Path) -> Iterator["tuple[subprocess.Popen[str], list[str]]"]:
    """A server, and the words that it has said; at the end it is killed."""
    words = ["serve", "--workspace", str(workspace), "--port", str(port), "--no-open"]
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(log), *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            said = [process.stdout.readline()]
            if "Malmoi is at" in said[0] and not has_accounts(workspace):
                said.append(process.stdout.readline())
            yield process, said
        finally:
            process.kill()


def has_accounts(workspace: Path) -> bool:
    with Ledger.open(Workspace.open(workspace)) as ledger:
        return not needs_owner(ledger)


@pytest.fixture
def workspace(notes: Path, tmp_path: Path) -> Path:
    """A copy, with an account."""
    shutil.copytree(notes, tmp_path / "workspace", ignore=shutil.ignore_patterns("malmoi.db*"))
    return tmp_path / "workspace"


@contextlib.contextmanager
def signed_in(workspace: Path, port: int) -> Iterator[httpx.Client]:
    with Ledger.open(Workspace.open(workspace)) as ledger:
        token = begin_session(ledger, add_member(ledger, f"Mina {new_id()[:6]}", PASSWORD, "owner"))
    base = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=base, cookies={f"malmoi_{port}": token}, timeout=30, trust_env=False) as client:
        yield client


def talk(client: httpx.Client, chat: str, number: int) -> dict[str, str]:
    """Send a message until it is answered, as a page does that finds the connection broken."""
    ids = {"id": new_id(), "answer_id": new_id()}
    body = {**ids, "parent": None, "text": f"What does a ticket cost? {number}"}
    while True:
        try:
            with client.stream("POST", f"/api/chats/{chat}/messages", json=body) as response:
                list(read_events(response))
            found = client.get(f"/api/chats/{chat}").json()
            if ids["answer_id"] in {one["id"] for one in found["messages"]}:
                return ids
        except httpx.HTTPError:
            pass
        time.sleep(0.05)


def test_a_server_with_a_network_sends_nothing_to_other_machines(spoken: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    shutil.copytree(spoken, tmp_path / "workspace", ignore=shutil.ignore_patterns("malmoi.db*"))
    with signed_in(tmp_path / "workspace", port) as client, started(tmp_path / "workspace", port, log) as (process, _):
        talk(client, new_chat(client, sampling={"max_tokens": 4}), 1)
        assert client.get("/").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) in (0, 130, -signal.SIGINT)
    assert log.read_text() == ""


def refused(*words: str) -> str:
    done = CliRunner().invoke(app, ["serve", "--no-open", *words])
    assert done.exit_code == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.output
    return done.stderr


def test_what_keeps_it_from_starting_is_one_line(workspace: Path, tmp_path: Path) -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port}: is in use" in refused("--workspace", str(workspace), "--port", str(port))
    foreign = tmp_path / "foreign"
    shutil.copytree(workspace, foreign, ignore=shutil.ignore_patterns("malmoi.db*"))
    (foreign / "malmoi.db").write_bytes(b"this is no database, but it is long enough to be taken for one " * 20)
    assert "malmoi.db: cannot be opened" in refused("--workspace", str(foreign), "--port", "0")
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "malmoi.toml").write_text('format = 99\nversion = "9.0"\n')
    assert "is newer" in refused("--workspace", str(newer), "--port", "0")
    assert "nobody has an account yet" in refused("--workspace", str(workspace), "--host", "192.0.2.1")
    assert "no such model" in refused("--workspace", str(workspace), "--port", "0", "--model", "missing")


def test_the_first_link_is_printed_and_works(workspace: Path, tmp_path: Path) -> None:
    port = free_port()
    with started(workspace, port, tmp_path / "log") as (_, said):
        given = {"token": said[1].split()[-1].partition("#")[2], "name": "Mina", "password": PASSWORD}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert client.post("/api/setup", json=given).status_code == 201
