"""A server that is killed ten times while people talk, vote and rank: what it has confirmed is there, once."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from sqlalchemy import func, select

from malmoi.feedback.accounts import add_member
from malmoi.feedback.teach_items import Sampled, add_answers, add_question, next_to_sample
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import index_folder
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Judgement
from malmoi.workspace.service_schema import BetterAnswer, ChatMessage, Lease, Vote
from tests.e2e.serving import Server
from tests.unit.serve.conftest import NOTES, PASSWORD, new_id

N_KILLS, N_TALKING, N_QUESTIONS = 10, 2, 30
N_BETWEEN = 3
"""Acts that are confirmed before the next kill."""
WITHIN_S = 300.0
"""For everything: a server that no longer answers fails the test, and nothing waits for it longer."""
RANKS = [1, 2, 2]
NOT_NOW = (409, 429, 503)
"""An answer is still being made for the request that broke off, or the server has just begun."""


class Person:
    """Somebody who does one thing after the other, and repeats what was not confirmed. said: what was confirmed"""

    def __init__(self, client: httpx.Client, end: float) -> None:
        self.client, self.end = client, end
        self.said: list[dict[str, Any]] = []

    def do(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """The response to a request that is sent until it is answered."""
        said = "nothing"
        while time.monotonic() < self.end:
            try:
                found = self.client.request(method, path, json=body)
            except httpx.HTTPError as error:
                said = repr(error)
            else:
                if found.status_code in (200, 201):
                    return found
                said = f"{found.status_code}: {found.text}"
                assert found.status_code in NOT_NOW, f"{method} {path}: {said}"
            time.sleep(0.05)
        raise AssertionError(f"{method} {path}: not done in time; the last answer was {said}")

    def talk(self) -> None:
        """A chat with a question; a vote on its answer, and a better one."""
        number = len(self.said)
        chat = self.do("POST", "/api/chats", {"id": new_id()}).json()["id"]
        ids = {"id": new_id(), "answer_id": new_id()}
        body = {**ids, "parent": None, "text": f"What does a ticket cost? {number}"}
        while '"done"' not in self.do("POST", f"/api/chats/{chat}/messages", body).text:
            assert time.monotonic() < self.end
        self.do("PUT", f"/api/messages/{ids['answer_id']}/vote", {"vote": "up"})
        self.do("PUT", f"/api/messages/{ids['answer_id']}/better", {"text": f"Four euros, says number {number}."})
        self.said.append({"chat": chat, **ids})

    def rank(self) -> None:
        item = self.do("POST", "/api/teach/next", {"kind": "rank"}).json()["item"]
        if item is None:  # everything is ranked
            time.sleep(0.1)
            return
        saved = self.do("PUT", f"/api/teach/{item['id']}", {"ranks": RANKS}).json()["item"]
        assert saved["saved"]["version"] == 1
        self.said.append({"item": item["id"]})
        time.sleep(0.2)  # so that there is something to rank until the end


@contextlib.contextmanager
def all_at_once(acts: list[Callable[[], None]], end: float) -> Iterator[list[BaseException]]:
    """Each again and again in a thread of its own. Gives the list of what went wrong so far."""
    is_over, failed = threading.Event(), list[BaseException]()

    def repeat(act: Callable[[], None]) -> None:
        try:
            while not is_over.is_set():
                act()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=repeat, args=(act,), daemon=True) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield failed
    finally:
        is_over.set()
        for thread in threads:
            thread.join(max(0.1, end + 15 - time.monotonic()))
    assert not failed and not any(thread.is_alive() for thread in threads), failed


def workspace_of(tmp_path: Path) -> Workspace:
    workspace = Workspace.open(tmp_path / "workspace")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "hours.md").write_text(NOTES)
    index_folder(workspace, tmp_path / "notes")
    return workspace


def ask_to_rank(ledger: Ledger) -> None:
    """Questions with three answers, by somebody else."""
    asker = add_member(ledger, "Asker", PASSWORD, "user").id
    for number in range(N_QUESTIONS):
        add_question(ledger, asker, f"question {number}?")
        item = next_to_sample(ledger)
        assert item is not None
        add_answers(ledger, item["id"], [Sampled(f"answer {i}", [], "stop", None, {}) for i in range(3)])


def test_what_a_killed_server_has_confirmed_is_there_once(tmp_path: Path) -> None:
    workspace, end = workspace_of(tmp_path), time.monotonic() + WITHIN_S
    server = Server(workspace.path, tmp_path / "log")
    with Ledger.open(workspace) as ledger, contextlib.ExitStack() as leaving:
        ask_to_rank(ledger)
        clients = [leaving.enter_context(server.client(ledger, f"Person {n}")) for n in range(N_TALKING + 1)]
        people = [Person(client, end) for client in clients]
        *talking, ranking = people
        server.begin()
        leaving.callback(server.kill)
        with all_at_once([*(person.talk for person in talking), ranking.rank], end) as failed:
            for _ in range(N_KILLS):
                n_before = sum(len(person.said) for person in people)
                while sum(len(person.said) for person in people) < n_before + N_BETWEEN:
                    assert not failed and time.monotonic() < end, (failed, server.log.read_text())
                    time.sleep(0.01)
                server.kill()
                server.begin()
        for person in talking:
            assert {row["id"] for row in all_chats(person)} == {one["chat"] for one in person.said}
            for number, one in enumerate(person.said):
                asked, answered = person.do("GET", f"/api/chats/{one['chat']}").json()["messages"]
                assert (asked["id"], answered["id"], answered["parent"]) == (one["id"], one["answer_id"], one["id"])
                assert answered["vote"]["vote"] == "up"
                assert answered["better"]["text"] == f"Four euros, says number {number}."
        mine = ranking.do("GET", "/api/teach").json()["n_saved"]
        assert 0 < mine == len(ranking.said) == len({one["item"] for one in ranking.said})
        n_said = sum(len(person.said) for person in talking)
        with ledger.engine.connect() as connection:
            counted = [
                connection.scalar(select(func.count()).select_from(of))
                for of in (ChatMessage, Vote, BetterAnswer, Judgement, Lease)
            ]
        assert counted[:4] == [2 * n_said, n_said, n_said, len(ranking.said)]
        assert counted[4] in (len(ranking.said), len(ranking.said) + 1)


def all_chats(person: Person) -> list[dict[str, Any]]:
    rows, found = list[dict[str, Any]](), {"next": ""}
    while (before := found["next"]) is not None:
        found = person.do(
            "GET", f"/api/chats?limit=100&before={quote(before)}" if before else "/api/chats?limit=100"
        ).json()
        rows += found["chats"]
    return rows
