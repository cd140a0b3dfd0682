"""Bad luck on the server's machine: one sentence that a page can translate, and nothing is lost."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from typer.testing import CliRunner

from malmoi import device
from malmoi.cli import app
from malmoi.retrieval.writer import FACTS
from malmoi.serve.start import Options
from malmoi.workspace.jobs import add_job, end_job
from tests.unit.serve.conftest import PASSWORD, Running, messages, new_chat, new_id, person, running, say


@pytest.fixture
def copied(spoken: Path, tmp_path: Path) -> Path:
    shutil.copytree(spoken, tmp_path / "workspace", ignore=shutil.ignore_patterns("malmoi.db*"))
    return tmp_path / "workspace"


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def with_half_of_them(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize("broken", [without_weights, with_half_of_them, without_tokenizer])
def test_a_model_that_is_not_whole_stops_answers_and_nothing_else(copied: Path, broken: Any) -> None:
    broken(copied / "models" / "tiny")
    with running(Options(copied, port=0)) as server, person(server) as client:
        chat = new_chat(client, title="kept")
        (refused,) = say(client, chat, "hello")
        assert (refused["status"], refused["error"]["code"]) == (500, "model_failed")
        assert str(copied) not in str(refused)
        problem = client.get("/api/status").json()["problem"]
        assert problem["code"] == "model_failed" and messages(client, chat) == []
        assert [one["title"] for one in client.get("/api/chats").json()["chats"]] == ["kept"]


def test_nobody_but_the_owner_is_told_where_files_are(notes: Path, tmp_path: Path) -> None:
    place = tmp_path / "말 모이" / "workspace"
    shutil.copytree(notes, place, ignore=shutil.ignore_patterns("malmoi.db*"))
    with running(Options(place, port=0)) as server, person(server, "admin") as admin:
        added = {"content": "# Hours\n\nOpen at nine.", "params": {"name": "a.md"}}
        upload = admin.post("/api/data/uploads", **added, headers={"Content-Type": "application/octet-stream"})
        facts = [*place.glob(f"indexes/*/{FACTS}")]
        for path in facts:
            path.write_text("{")
        folder = place / "elsewhere"
        job = add_job(server.ledger, "build", {"what": "build"})
        end_job(server.ledger, job, "failed", f"{folder}/corpus.jsonl:3: no JSON; see {tmp_path}/log")
        asked = [
            admin.get("/api/data"), admin.get("/api/data/documents"), admin.delete("/api/data/documents?name=b.md"),
            admin.post(f"/api/data/uploads/{upload.json()['id']}/add", json={}), admin.get("/api/jobs"),
            admin.get(f"/api/jobs/{job}"),
        ]  # fmt: skip
        assert facts and [one.status_code for one in asked[:2]] == [422, 422]
        assert f"{FACTS}: not valid JSON" in asked[0].json()["error"]["message"]
        assert asked[-1].json()["error"] == "elsewhere/corpus.jsonl:3: no JSON; see log"
        said = say(admin, new_chat(admin), "What does a ticket cost?")
        for told in (*(one.text for one in asked), *map(str, said)):
            assert str(tmp_path) not in told and "말 모이" not in told
        with server.client() as owner:
            owner.post("/api/login", json={"name": "Owner", "password": PASSWORD})
            assert str(folder) in owner.get(f"/api/jobs/{job}").json()["error"]


def test_a_model_that_is_too_large_is_not_loaded(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "memory_bytes", lambda: (1000, 2000))
    asked = CliRunner().invoke(app, ["ask", "hello", "--workspace", str(copied)])
    assert asked.exit_code == 2 and asked.stderr.count("\n") == 1
    assert "tiny: needs about" in asked.stderr and "1 kB are free" in asked.stderr
    with running(Options(copied, port=0)) as server, person(server) as client:
        (refused,) = say(client, new_chat(client), "hello")
        assert (refused["status"], refused["error"]["code"]) == (503, "model_too_large")
        assert set(refused["error"]["details"]) == {"needed_gb", "free_gb"}
        assert client.get("/api/status").json()["problem"]["code"] == "model_too_large"


def test_a_full_disk_is_said_and_nothing_is_half_stored(notes: Path, tmp_path: Path) -> None:
    place = tmp_path / "workspace"
    shutil.copytree(notes, place, ignore=shutil.ignore_patterns("malmoi.db*"))
    most_pages = {"now": 2**30}
    with running(Options(place, port=0)) as server, person(server) as client:

        @event.listens_for(server.ledger.engine, "checkout")
        def limit(connection: Any, *_: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {most_pages['now']}").close()

        chat, ids = new_chat(client), {"id": new_id(), "answer_id": new_id()}
        say(client, chat, "What does a ticket cost?")
        before = messages(client, chat)
        text = "What does a ticket cost? " * 4000
        most_pages["now"] = 1  # SQLite takes it as: no more than there are
        (refused,) = say(client, chat, text, parent=before[-1]["id"], **ids)
        assert (refused["status"], refused["error"]["code"]) == (507, "disk_full")
        assert messages(client, chat) == before
        most_pages["now"] = 2**30
        for _ in range(2):
            assert say(client, chat, text, parent=before[-1]["id"], **ids)[-1]["type"] == "done"
        assert [one["id"] for one in messages(client, chat)[2:]] == [ids["id"], ids["answer_id"]]


def test_a_full_queue_is_an_event_and_the_question_stays(spoke: httpx.Client, speaking: Running) -> None:
    chat = new_chat(spoke, sampling={"max_tokens": 2})
    say(spoke, chat, "hello")
    engine = speaking.state.service.speaker.engine
    n_waiting, engine.n_waiting = engine.n_waiting, 0
    try:
        events = say(spoke, chat, "and now?", parent=messages(spoke, chat)[-1]["id"])
    finally:
        engine.n_waiting = n_waiting
    assert events[-1]["type"] == "error" and events[-1]["error"]["code"] == "busy"
    asked = messages(spoke, chat)[-1]
    assert asked["text"] == "and now?"
    body = {"parent": asked["id"], "answer_id": new_id()}
    assert spoke.post(f"/api/chats/{chat}/answers", json=body).status_code == 200
    assert messages(spoke, chat)[-1]["finish"] in ("stop", "length")


def test_a_file_of_chats_holds_no_secret(quoted: httpx.Client, quoting: Running) -> None:
    key = quoted.post("/api/keys", json={"name": "program"}).json()["key"]
    say(quoted, new_chat(quoted), "What does a ticket cost?")
    with person(quoting) as other:
        say(other, new_chat(other), "somebody else's question")
    file = quoted.get("/api/chats/export").text
    cookies = [*quoted.cookies.values()]
    for secret in (PASSWORD, key, "argon2", "somebody else", *cookies):
        assert secret not in file
