"""Files through the pages: looked at, added, looked up at once, exported; names and sizes that are refused."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from malmoi.serve.guard import LARGEST_UPLOAD
from malmoi.serve.start import Options
from malmoi.workspace.folder import Workspace
from tests.unit.serve.conftest import Running, messages, new_chat, person, running, say

RAW = {"Content-Type": "application/octet-stream"}
HOURS = "# Opening hours\n\nThe library opens at nine in the morning.\n"
RANKED = {"messages": [{"role": "user", "content": "언제?"}], "answers": ["아홉 시.", "글쎄."], "ranks": [1, 2]}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server over a workspace in which there is nothing yet."""
    with running(Options(tmp_path_factory.mktemp("empty") / "workspace", port=0)) as server:
        yield server


@pytest.fixture
def lead(empty: Running) -> Iterator[httpx.Client]:
    with person(empty, "owner") as client:
        yield client


def send(client: httpx.Client, name: str, contents: bytes) -> httpx.Response:
    return client.post(f"/api/data/uploads?name={quote(name)}", content=contents, headers=RAW)


def add(client: httpx.Client, name: str, contents: bytes, **body: Any) -> dict[str, Any]:
    sent = send(client, name, contents)
    assert sent.status_code == 201, sent.text
    added = client.post(f"/api/data/uploads/{sent.json()['id']}/add", json=body)
    assert added.status_code == 200, added.text
    return dict(added.json())


def test_a_document_that_is_added_answers_from_the_next_message_on(empty: Running, lead: httpx.Client) -> None:
    chat = new_chat(lead)
    assert say(lead, chat, "When does the library open?")[0]["error"]["code"] == "no_model"
    sent = send(lead, "여는 시간.md", HOURS.encode())
    found = sent.json()
    assert (sent.status_code, found["kind"], found["learned"]) == (201, "documents", None)
    assert "opens at nine" in found["rows"][0]["texts"][0]["pieces"][0]["text"]
    assert lead.post(f"/api/data/uploads/{found['id']}/add", json={}).json()["n"] == 1
    assert not list((Workspace(empty.ledger.root).path / "uploads").glob("*"))
    said = say(lead, chat, "When does the library open?")
    assert said[-1]["type"] == "done" and "nine" in said[-1]["message"]["text"], said
    assert len(messages(lead, chat)) == 2
    assert lead.get("/api/status").json()["service"]["looks_up"]["titles"] == ["여는 시간.md"]
    listed = lead.get("/api/data/documents").json()
    assert [(one["file"], one["added"]) for one in listed["documents"]] == [("여는 시간.md", True)]
    left = lead.request("DELETE", f"/api/data/documents?name={quote('여는 시간.md')}", json={})
    assert left.json()["documents"] == []
    assert say(lead, new_chat(lead), "When does the library open?")[0]["error"]["code"] == "no_model"


@pytest.mark.parametrize(
    "name",
    ["../evil.md", "a/b.md", "a\\b.md", ".a.md", "", "x" * 300 + ".md", "a\x00.md", "a\u202egpj.md", "a\n.md"],
)
def test_a_name_that_leads_elsewhere_is_refused(empty: Running, lead: httpx.Client, name: str) -> None:
    before = sorted(empty.ledger.root.rglob("*.md"))
    refused = send(lead, name, HOURS.encode())
    assert refused.status_code == 422 and str(empty.ledger.root) not in refused.text
    assert sorted(empty.ledger.root.rglob("*.md")) == before


def test_what_is_too_large_is_refused_before_it_is_kept(empty: Running, lead: httpx.Client) -> None:
    declared = send(lead, "big.md", bytes(LARGEST_UPLOAD + 1))
    assert declared.status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(LARGEST_UPLOAD // 2**20 + 2):
            yield bytes(2**20)

    grown = lead.post("/api/data/uploads?name=big.md", content=parts(), headers=RAW)
    assert grown.status_code == 413 and grown.json()["error"]["details"]["max_bytes"] == LARGEST_UPLOAD
    assert not list((Workspace(empty.ledger.root).path / "uploads").glob("*"))


def test_what_cannot_be_read_says_why_and_is_not_kept(empty: Running, lead: httpx.Client) -> None:
    for name, contents in (("a.exe", b"MZ"), ("a.md", b""), ("a.jsonl", b"{"), ("a.pdf", b"%PDF-1.7 broken")):
        refused = send(lead, name, contents)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid"), (name, refused.text)
        assert str(empty.ledger.root) not in refused.text
    assert lead.post("/api/data/uploads?name=a.md", json={}).status_code == 415
    assert not list((Workspace(empty.ledger.root).path / "uploads").glob("*"))
    for id in ("0" * 32, "..", "a" * 300):
        assert lead.post(f"/api/data/uploads/{id}/add", json={}).status_code in (404, 405, 422)


def test_only_who_leads_may_send_a_file(empty: Running) -> None:
    with empty.client() as nobody:
        assert send(nobody, "a.md", HOURS.encode()).status_code == 401
    with person(empty, "user") as user:
        assert send(user, "a.md", HOURS.encode()).status_code == 403
    assert not list((Workspace(empty.ledger.root).path / "uploads").glob("*"))


def test_rankings_are_frozen_and_exported(lead: httpx.Client, tmp_path: Path) -> None:
    assert add(lead, "ranks.jsonl", json.dumps(RANKED).encode())["n"] == 1
    assert add(lead, "ranks.jsonl", json.dumps(RANKED).encode())["n_known"] == 1
    shown = lead.get("/api/data/rankings").json()
    assert (shown["n"], shown["rankings"][0]["question"]) == (1, "언제?")
    (frozen,) = lead.post("/api/data/snapshots", json={"from": "people"}).json()["snapshots"]
    assert "path" not in frozen and lead.get("/api/data/snapshots").json()["snapshots"] == [frozen]
    for form, columns in (("ranked", {"answers", "ranks"}), ("pairs", {"chosen", "rejected", "group_id"})):
        for snapshot in ("", frozen["name"]):
            given = lead.get(f"/api/data/export?form={form}&snapshot={snapshot}")
            (row,) = map(json.loads, given.text.splitlines())
            assert row.keys() >= columns and ".jsonl" in given.headers["content-disposition"]
    pytest.importorskip("pyarrow", reason='pip install "malmoi[parquet]"')
    from pyarrow.parquet import read_table

    whole = lead.get("/api/data/export?form=pairs&format=parquet").content
    assert read_table(io.BytesIO(whole)).to_pylist()[0]["rejected"][0]["content"] == "글쎄."
    assert lead.get("/api/data/export?form=messages").status_code == 404
    assert lead.get("/api/data/export?form=ranked&format=xml").status_code == 422
    assert lead.get("/api/data/export?form=ranked&snapshot=zzzz").status_code == 422


def test_a_persons_data_is_forgotten_by_those_who_may(empty: Running, lead: httpx.Client) -> None:
    add(lead, "others.jsonl", json.dumps(RANKED | {"ranks": [2, 1]}).encode(), by_program=True)
    people = {one["name"]: one for one in lead.get("/api/data/people").json()["people"]}
    assert people["others.jsonl"]["simulated"]
    id = people["others.jsonl"]["id"]
    assert lead.get(f"/api/data/people/{id}/learned").json()["versions"] == []
    with person(empty, "admin") as admin:
        owner = next(one for one in people.values() if one["name"] == "Owner")
        assert admin.request("DELETE", f"/api/data/people/{owner['id']}", json={}).status_code == 403
        assert admin.request("DELETE", f"/api/data/people/{id}", json={}).status_code == 200
    assert "others.jsonl" not in lead.get("/api/data/people").text
