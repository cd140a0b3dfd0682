"""A real server on a free port, in a thread, over a workspace with a tiny network and an index."""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.serve.start import Options, Started, start
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import index_folder
from malmoi.workspace.ledger import Ledger

PASSWORD = "correct horse"
NOTES = "# Opening hours\n\nThe library opens at nine in the morning.\n\n# Price\n\nA ticket costs four euros.\n"
LONG = 2000
"""Context of the tiny network: its answers are long enough to be stopped."""


@dataclass
class Running:
    """A server that runs. base: its address; started: what `start` gave"""

    base: str
    started: Started
    ledger: Ledger

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.base, timeout=60, trust_env=False, **options)

    @property
    def state(self) -> Any:
        return self.started.server.state


@contextlib.contextmanager
def running(options: Options) -> Iterator[Running]:
    workspace = Workspace.open(options.workspace)
    with Ledger.open(workspace) as ledger:
        started = start(options, workspace, ledger)
        thread = threading.Thread(target=started.run)
        thread.start()
        try:
            until(lambda: started.server.started)
            yield Running(started.base, started, ledger)
        finally:
            started.server.should_exit = True
            thread.join()


def until(is_so: Callable[[], object], within_s: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < end, "it never was"
        time.sleep(0.01)


def new_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that only quotes: an index and no network."""
    root = tmp_path_factory.mktemp("quoting")
    (root / "notes").mkdir()
    (root / "notes" / "hours.md").write_text(NOTES)
    index_folder(Workspace.open(root / "workspace"), root / "notes")
    return root / "workspace"


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory, float32: None, tokenizer: Tokenizer, shape: ModelConfig) -> Path:
    """A workspace with a tiny network, and nothing to look up in."""
    workspace = Workspace.open(tmp_path_factory.mktemp("spoken") / "workspace")
    torch.manual_seed(1)
    policy = LanguageModel(shape.model_copy(update={"seq_len": LONG}))
    save_model(workspace.models / "tiny", policy, tokenizer, ChatTemplate.default(), {})
    return workspace.path


@pytest.fixture(scope="module")
def quoting(notes: Path) -> Iterator[Running]:
    with running(Options(notes, port=0)) as server:
        yield server


@pytest.fixture(scope="module")
def speaking(spoken: Path) -> Iterator[Running]:
    with running(Options(spoken, port=0)) as server:
        yield server


@contextlib.contextmanager
def person(server: Running, role: str = "user") -> Iterator[httpx.Client]:
    """A browser in which a new person is signed in."""
    from malmoi.feedback.accounts import add_member, needs_owner

    if needs_owner(server.ledger):
        add_member(server.ledger, "Owner", PASSWORD, "owner")
    name = f"{role} {new_id()[:8]}"
    add_member(server.ledger, name, PASSWORD, role)
    with server.client() as client:
        assert client.post("/api/login", json={"name": name, "password": PASSWORD}).status_code == 200
        server.state.logins.forget("127.0.0.1")
        yield client


@pytest.fixture
def quoted(quoting: Running) -> Iterator[httpx.Client]:
    with person(quoting) as client:
        yield client


@pytest.fixture
def spoke(speaking: Running) -> Iterator[httpx.Client]:
    with person(speaking) as client:
        yield client


def new_chat(client: httpx.Client, **about: Any) -> str:
    made = client.post("/api/chats", json=about)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def read_events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    import json

    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def say(client: httpx.Client, chat: str, text: str, parent: str | None = None, **ids: str) -> list[dict[str, Any]]:
    """Send a message, and read its whole stream."""
    body = {"id": new_id(), "answer_id": new_id(), "parent": parent, "text": text} | ids
    with client.stream("POST", f"/api/chats/{chat}/messages", json=body) as response:
        if response.status_code != 200:
            response.read()
            return [{"type": "refused", "status": response.status_code, **response.json()}]
        return list(read_events(response))


def messages(client: httpx.Client, chat: str) -> list[dict[str, Any]]:
    return list(client.get(f"/api/chats/{chat}").json()["messages"])
