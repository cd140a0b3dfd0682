"""What a request may be, and what a browser may do with the answer."""

import errno
import json
import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from malmoi.errors import CheckpointError, WorkspaceError
from malmoi.serve import connection, guard
from malmoi.serve.errors import refusal_of
from malmoi.serve.guard import LARGEST
from malmoi.serve.start import Options
from malmoi.workspace import database
from tests.unit.serve.conftest import Running, new_chat, person, running


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 403),
     ({"Sec-Fetch-Site": "same-site"}, 403), ({"Sec-Fetch-Site": "same-origin"}, 201), ({}, 201)],
)  # fmt: skip
def test_another_sites_page_changes_nothing(quoted: httpx.Client, headers: dict[str, str], status: int) -> None:
    before = len(quoted.get("/api/chats").json()["chats"])
    assert quoted.post("/api/chats", json={}, headers=headers).status_code == status
    assert len(quoted.get("/api/chats").json()["chats"]) == before + (status == 201)


def test_the_pages_own_origin_is_ours(quoted: httpx.Client, quoting: Running) -> None:
    assert quoted.post("/api/chats", json={}, headers={"Origin": quoting.base}).status_code == 201
    elsewhere = quoting.base.rpartition(":")[0] + ":1"
    assert quoted.post("/api/chats", json={}, headers={"Origin": elsewhere}).status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_of_another_site_is_no_request(quoted: httpx.Client, kind: str) -> None:
    """Forms need no permission of the browser; JSON does."""
    found = quoted.post("/api/chats", content=b'{"title": "x"}', headers={"Content-Type": kind})
    assert (found.status_code, found.json()["error"]["code"]) == (415, "not_json")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[", "a b"])
def test_a_name_that_is_not_ours_is_refused(quoted: httpx.Client, host: str) -> None:
    """A name that its owner points at 127.0.0.1 (DNS rebinding) would be of the same origin as its page."""
    assert quoted.get("/api/me", headers={"Host": host}).status_code in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "192.168.0.12:8000", "[::1]:8000"])
def test_our_names_and_addresses_are_served(quoted: httpx.Client, host: str) -> None:
    assert quoted.get("/api/me", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/me", "/nowhere/at/all", "/api/nowhere", "/assets/missing.js"])
def test_a_page_loads_nothing_from_elsewhere(quoted: httpx.Client, path: str) -> None:
    headers = quoted.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers and "server" not in headers


@pytest.mark.parametrize("path", ["/", "/health", "/teach"])
def test_the_head_of_a_page_is_given_alone(quoted: httpx.Client, path: str) -> None:
    found = quoted.head(path)
    assert found.status_code == 200 and not found.content and "default-src" in found.headers["content-security-policy"]


def test_an_address_for_the_api_alone_is_not_a_page(quoted: httpx.Client) -> None:
    for path in ("/api/nowhere", "/v1/nowhere", "/docs/../api", "/openapi.json", "/docs"):
        found = quoted.get(path)
        is_page = not path.startswith(("/api", "/v1", "/docs/../api"))
        assert found.status_code == (200 if is_page else 404), path
        assert "swagger" not in found.text.lower()


@pytest.mark.parametrize(
    "path",
    ["/../app.py", "/%2e%2e/app.py", "/..%2f..%2fapp.py", "/assets/../../app.py", "/%2fetc/passwd", "//etc/passwd",
     "/static/../../__init__.py", "/%00", "/" + "x" * 5000, "/assets/%2e%2e/%2e%2e/app.py"],
)  # fmt: skip
def test_no_address_leads_out_of_the_web_app(quoting: Running, path: str) -> None:
    """The path is sent as it is: a client would tidy it up."""
    address = urlsplit(quoting.base)
    with socket.create_connection((address.hostname or "", address.port or 0)) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert b"def make_app" not in answer and b"root:" not in answer and b"HTTP and nothing" not in answer
    assert answer.split()[1] in (b"200", b"404", b"400")


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"title": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
     b'{"sampling": {"temperature": NaN}}', b'{"sampling": {"temperature": 1e999}}', b'{"sampling": {"top_p": 0}}',
     b'{"sampling": {"max_tokens": 99999999}}', b'{"sampling": {"seed": -1}}', b'{"sampling": {"top_k": 1.5}}',
     b'{"sampling": {"stop": ["x"]}}', b'{"may_teach": "yes"}', b'{"id": "../../etc"}', b'{"colour": 1}',
     b'{"title": "\\ud800"}', b'{"system": "a\\u0000b"}'],
)  # fmt: skip
def test_a_body_that_is_none_is_said_to_be(quoted: httpx.Client, body: bytes) -> None:
    found = quoted.post("/api/chats", content=body, headers={"Content-Type": "application/json"})
    assert found.status_code == 422, found.text
    assert found.json()["error"]["code"] == "invalid" and "Traceback" not in found.text
    if body == b"{":  # its place is no field
        assert found.json()["error"]["message"].startswith("body: is not JSON")
        assert found.json()["error"]["param"] is None


def test_a_body_that_is_too_large_is_refused_before_it_is_read(quoted: httpx.Client) -> None:
    chat = new_chat(quoted)
    large = json.dumps({"title": "x" * LARGEST}).encode()

    def chunks() -> object:
        yield from (large[at : at + 65536] for at in range(0, len(large), 65536))

    for content in (large, chunks()):
        headers = {"Content-Type": "application/json"}
        try:
            found = quoted.patch(f"/api/chats/{chat}", content=content, headers=headers)  # type: ignore[arg-type]
        except httpx.WriteError:  # it hung up while we were still sending
            continue
        assert (found.status_code, found.json()["error"]["code"]) == (413, "too_large")
    assert quoted.get(f"/api/chats/{chat}").json()["title"] is None


@pytest.mark.parametrize("id", ["..%2f..%2fetc", "x", "%00", "' OR 1=1 --", "%F0%9F%99%82", "0" * 32])
def test_an_id_is_never_a_path_or_a_statement(quoted: httpx.Client, id: str) -> None:
    for method in ("GET", "DELETE"):
        found = quoted.request(method, f"/api/chats/{id}")
        assert found.status_code in (404, 405), found.text


def test_no_error_tells_where_files_are(quoted: httpx.Client, quoting: Running) -> None:
    with person(quoting, "owner") as owner:
        for path in ("/api/chats/x", "/api/nowhere", "/api/join/x"):
            assert str(quoting.state.workspace.path) not in owner.get(path).text


def test_a_connection_that_never_asks_is_closed(quoting: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hundred of them, each with half a request, would shut everybody else out."""
    monkeypatch.setattr(connection, "HEAD_WITHIN_S", 0.1)
    address = urlsplit(quoting.base)
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for said in (b"", whole[:-8]):
        with socket.create_connection((address.hostname or "", address.port or 0)) as slow:
            slow.sendall(said)
            slow.settimeout(30)
            received = b"".join(iter(lambda: slow.recv(65536), b""))
            assert received == b""


def test_a_body_that_does_not_arrive_is_given_up(quoting: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "READ_WITHIN_S", 0.1)
    address = urlsplit(quoting.base)
    head = (
        b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    with socket.create_connection((address.hostname or "", address.port or 0)) as slow:
        slow.sendall(head)
        slow.settimeout(30)
        assert b"408" in slow.recv(65536).split(b"\r\n")[0]


def test_a_locked_database_is_said_without_its_name(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    place = tmp_path / "workspace"
    shutil.copytree(notes, place, ignore=shutil.ignore_patterns("malmoi.db*"))
    with running(Options(place, port=0)) as server, person(server) as client:
        chat = new_chat(client)
        with closing(sqlite3.connect(place / "malmoi.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            found = client.patch(f"/api/chats/{chat}", json={"title": "x"})
            assert (found.status_code, found.json()["error"]["code"]) == (503, "storage")
            assert "malmoi.db" not in found.text and int(found.headers["retry-after"]) > 0
        assert client.patch(f"/api/chats/{chat}", json={"title": "x"}).json()["title"] == "x"


def test_a_full_disk_and_a_full_memory_are_said() -> None:
    assert refusal_of(OSError(errno.ENOSPC, "no room", "/secret/path")).code == "disk_full"
    assert refusal_of(WorkspaceError("/secret/malmoi.db: the disk is full; free some space")).code == "disk_full"
    assert refusal_of(MemoryError()).code == "model_failed"
    for error in (ValueError("/secret/path"), CheckpointError("/secret/path: broken"), WorkspaceError("/secret/path")):
        assert "secret" not in str(refusal_of(error))
