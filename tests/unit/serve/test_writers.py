"""Several people write while another process does too: nobody is told that the database is locked."""

import contextlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx

from malmoi.serve.start import Options
from tests.unit.serve.conftest import Running, messages, new_chat, person, running, say, until

N_PEOPLE, N_TIMES = 4, 5
JOB = """
import sys
from pathlib import Path
from malmoi.workspace.database import insert_missing, writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import add_job, report_job
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Prompt

with Ledger.open(Workspace.open(Path(sys.argv[1]))) as ledger:
    job = add_job(ledger, "improve", {})
    print("begun", flush=True)
    row = {"messages": [], **dict.fromkeys(("lang", "source", "split", "item", "kind"), "")}
    number = 0
    while True:
        report_job(ledger, job, {"percent": number % 100})
        with writing(ledger.engine) as connection:  # as a stage that records what it sampled
            insert_missing(connection, Prompt, [{"id": f"{number}-{i}", **row} for i in range(500)])
        number += 1
"""
"""What a job writes, without the pause that a real one makes."""


@contextlib.contextmanager
def a_job_that_writes(workspace: Path) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", JOB, str(workspace)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "begun\n"
            yield
            assert process.poll() is None, "it wrote to the end"
        finally:
            process.kill()


def acts(client: httpx.Client) -> Iterator[httpx.Response]:
    """What a person does in a chat, and around it."""
    chat = new_chat(client)
    parent = None
    for number in range(N_TIMES):
        events = say(client, chat, "What does a ticket cost?", parent=parent)
        assert events[-1]["type"] == "done", events
        parent = messages(client, chat)[-1]["id"]
        yield client.put(f"/api/messages/{parent}/vote", json={"vote": ("up", "down")[number % 2]})
        yield client.put(f"/api/messages/{parent}/better", json={"text": f"{number} euros."})
        yield client.patch(f"/api/chats/{chat}", json={"title": f"number {number}"})
        yield client.post("/api/teach/prompts", json={"text": f"question {number}?"})
        yield client.post("/api/teach/next", json={"kind": "write"})
        yield client.get("/api/chats")
        yield client.get("/api/status")


def test_many_who_write_are_all_served(notes: Path, tmp_path: Path) -> None:
    shutil.copytree(notes, tmp_path / "workspace", ignore=shutil.ignore_patterns("malmoi.db*"))
    place = tmp_path / "workspace"
    refused: list[str] = []
    ended: list[int] = []

    def use(server: Running, number: int) -> None:
        try:
            with person(server, "user") as client:
                refused.extend(f"{one.request.url}: {one.text}" for one in acts(client) if one.status_code >= 400)
        except BaseException as error:
            refused.append(repr(error))
            raise
        finally:
            ended.append(number)

    with running(Options(place, port=0)) as server, person(server, "owner"), a_job_that_writes(place):
        threads = [threading.Thread(target=use, args=(server, i), daemon=True) for i in range(N_PEOPLE)]
        for thread in threads:
            thread.start()
        until(lambda: len(ended) == N_PEOPLE, 120)
    assert refused == []
