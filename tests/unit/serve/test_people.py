"""Who may do what: every route for everybody, links that work once, sessions that end."""

from typing import Any

import httpx
import pytest

from malmoi.feedback import accounts
from malmoi.feedback.accounts import ROLES
from malmoi.feedback.sessions import make_key
from malmoi.serve.app import make_app
from malmoi.serve.guard import FORMS, UPLOAD
from tests.unit.serve.conftest import PASSWORD, Running, new_chat, new_id, person

OPEN = {
    ("GET", "/api/me"), ("POST", "/api/setup"), ("GET", "/api/join/{code}"), ("POST", "/api/join"),
    ("POST", "/api/login"), ("POST", "/api/logout"), ("GET", "/health"), ("GET", "/{path:path}"),
}  # fmt: skip
CHATTING = ("/api/chats", "/api/drawings", "/api/messages", "/api/comparisons", "/v1")
LEADS = (
    "/api/teach/prompts/documents",
    "/api/data",
    "/api/start",
    "/api/people",
    "/api/invites",
    "/api/versions",
    "/api/improve",
    "/api/jobs",
    "/api/comparisons-of-versions",
    "/api/pinned",
)


def routes(server: Running) -> list[tuple[str, str]]:
    """(method, path) of every route."""
    app = make_app(server.state).app
    found: list[tuple[str, str]] = []

    def walk(inside: Any, prefix: str = "") -> None:
        for route in inside.routes:
            if hasattr(route, "methods"):
                found.extend((method, prefix + route.path) for method in route.methods if method != "HEAD")
            else:
                context = getattr(route, "include_context", None)
                walk(route.original_router, prefix + (context.prefix if context else ""))

    walk(app)
    return sorted(set(found))


def ask(client: httpx.Client, method: str, path: str) -> int:
    filled = path.replace("{id}", new_id()).replace("{code}", "x").replace("{path:path}", "x")
    if path == UPLOAD:
        return client.post(filled, content=b"x", headers={"Content-Type": "application/octet-stream"}).status_code
    if path in FORMS:
        return client.post(filled, files={"image": b"x"}).status_code
    return client.request(method, filled, json=None if method == "GET" else {}).status_code


def test_every_route_but_a_few_wants_to_know_who_asks(quoting: Running) -> None:
    found = routes(quoting)
    assert len(found) > 20 and set(found) >= OPEN
    with quoting.client() as nobody:
        for method, path in set(found) - OPEN:
            assert ask(nobody, method, path) == 401, (method, path)


@pytest.mark.parametrize("role", ["labeler", "user"])
def test_a_role_reaches_its_routes_only(quoting: Running, role: str) -> None:
    with person(quoting, role) as client:
        for method, path in routes(quoting):
            if (method, path) in OPEN:
                continue
            barred = path.startswith(LEADS) or (path, method) == ("/api/settings", "PATCH")
            barred = barred or (role == "labeler" and path.startswith(CHATTING))
            barred = barred or (role == "user" and path.startswith("/api/teach/labels"))
            assert (ask(client, method, path) == 403) == barred, (role, method, path)


def test_the_first_link_makes_the_owner_and_nobody_else(tmp_path: Any) -> None:
    from malmoi.serve.start import Options
    from tests.unit.serve.conftest import running

    with running(Options(tmp_path / "new", port=0)) as server, server.client() as client, server.client() as other:
        assert client.get("/api/me").json()["needs_owner"] is True
        token = server.started.link.partition("#")[2]
        wrong = client.post("/api/setup", json={"token": token + "x", "name": "Eve", "password": PASSWORD})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "wrong_setup_link")
        made = client.post("/api/setup", json={"token": token, "name": "미나", "password": PASSWORD})
        assert made.status_code == 201 and made.json()["person"]["role"] == "owner"
        again = other.post("/api/setup", json={"token": token, "name": "Eve", "password": PASSWORD})
        assert again.status_code == 403
        assert client.get("/api/me").json()["needs_owner"] is False
        invited = client.post("/api/invites", json={"role": "labeler"}).json()
        assert invited["link"].endswith("/join#" + invited["code"])
        joined = other.post("/api/join", json={"code": invited["code"], "name": "Ann", "password": PASSWORD})
        assert joined.json()["person"]["role"] == "labeler"
        assert [one["name"] for one in client.get("/api/people").json()["people"]] == ["미나", "Ann"]


def test_an_admin_makes_no_admins_and_touches_no_owner(quoting: Running) -> None:
    with person(quoting, "admin") as admin:
        owner = next(row["id"] for row in accounts.members(quoting.ledger) if row["role"] == "owner")
        assert admin.post("/api/invites", json={"role": "owner"}).status_code == 403
        assert admin.post("/api/invites", json={"role": "admin"}).status_code == 403
        assert admin.post("/api/invites", json={"role": "user"}).status_code == 201
        assert admin.delete(f"/api/people/{owner}").status_code == 403
        assert admin.patch(f"/api/people/{owner}", json={"role": "user"}).status_code == 403
        me = admin.get("/api/me").json()["person"]["id"]
        assert admin.patch(f"/api/people/{me}", json={"role": "owner"}).status_code == 403


def test_the_cookie_is_for_the_server_only_and_changes_at_every_login(quoting: Running) -> None:
    member = accounts.add_member(quoting.ledger, f"Fix {new_id()[:6]}", PASSWORD, "user")
    with quoting.client() as client:
        planted = "planted-by-somebody-else"
        client.cookies.set(quoting.state.cookie, planted)
        entered = client.post("/api/login", json={"name": member.name, "password": PASSWORD})
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie and planted not in cookie
        first = entered.cookies[quoting.state.cookie]
        client.cookies.clear()
        client.cookies.set(quoting.state.cookie, first)
        assert client.get("/api/me").json()["person"]["name"] == member.name
        client.post("/api/login", json={"name": member.name, "password": PASSWORD})
        client.cookies.clear()
        client.cookies.set(quoting.state.cookie, first)
        assert client.get("/api/me").json()["person"] is None
    quoting.state.logins.forget("127.0.0.1")


def test_who_signs_out_or_changes_the_password_is_out_elsewhere(quoting: Running) -> None:
    with person(quoting) as here, quoting.client() as there:
        name = here.get("/api/me").json()["person"]["name"]
        there.post("/api/login", json={"name": name, "password": PASSWORD})
        wrong = here.put("/api/me/password", json={"old": "wrong one", "new": "another horse"})
        assert wrong.json()["error"]["code"] == "wrong_login"
        assert here.put("/api/me/password", json={"old": PASSWORD, "new": "another horse"}).status_code == 204
        assert there.get("/api/chats").status_code == 401 and here.get("/api/chats").status_code == 200
        assert here.post("/api/logout", json={}).status_code == 204
        assert here.get("/api/chats").status_code == 401
    quoting.state.logins.forget("127.0.0.1")


def test_passwords_cannot_be_tried_for_ever(quoting: Running) -> None:
    with quoting.client() as client:
        seen = [client.post("/api/login", json={"name": "Owner", "password": f"guess {i}"}) for i in range(12)]
    assert [one.status_code for one in seen[:10]] == [401] * 10 and seen[-1].status_code == 429
    assert int(seen[-1].headers["retry-after"]) >= 1
    assert seen[-1].json()["error"]["details"]["retry_after_s"] >= 1
    quoting.state.logins.forget("127.0.0.1")


def test_a_class_comes_in_from_one_address_and_right_tries_hide_no_wrong_ones(quoting: Running) -> None:
    with person(quoting, "owner") as owner, quoting.client() as client:
        for number in range(12):
            code = owner.post("/api/invites", json={"role": "labeler"}).json()["code"]
            client.cookies.clear()
            assert client.get(f"/api/join/{code}").status_code == 200
            body = {"code": code, "name": f"Pupil {number}", "password": PASSWORD}
            assert client.post("/api/join", json=body).status_code == 201
        seen = []
        for _ in range(12):
            seen.append(client.post("/api/login", json={"name": "Pupil 1", "password": "a guess"}).status_code)
            client.post("/api/login", json={"name": "Pupil 2", "password": PASSWORD})
    assert seen[:10] == [401] * 10 and seen[10:] == [429] * 2
    quoting.state.logins.forget("127.0.0.1")


def test_one_persons_chats_do_not_exist_for_others(quoting: Running) -> None:
    with person(quoting) as mina, person(quoting, "owner") as owner:
        chat = new_chat(mina, title="secret")
        for method, path in routes(quoting):
            if path.startswith("/api/chats/{id}"):
                wanted = {"parent": new_id(), "answer_id": new_id(), "id": new_id(), "text": "x"}
                fields = {"messages": [*wanted], "answers": ["parent", "answer_id"], "stop": ["answer_id"],
                          "compare": ["parent", "id"]}.get(path.rpartition("/")[2], [])  # fmt: skip
                body = None if method == "GET" else {name: wanted[name] for name in fields}
                found = owner.request(method, path.replace("{id}", chat), json=body)
                assert found.status_code == 404, (method, path, found.text)
        assert mina.get(f"/api/chats/{chat}").json()["title"] == "secret"


def test_keys_are_shown_once_and_are_no_sessions(quoting: Running) -> None:
    with person(quoting) as client, quoting.client() as program:
        made = client.post("/api/keys", json={"name": "editor"}).json()
        listed = client.get("/api/keys").json()["keys"]
        assert [one["id"] for one in listed] == [made["id"]] and made["key"] not in str(listed)
        assert program.get("/api/chats", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 401
        with person(quoting) as other:
            assert other.delete(f"/api/keys/{made['id']}").status_code == 404
        assert client.delete(f"/api/keys/{made['id']}").status_code == 204
    assert make_key and set(ROLES) == {"owner", "admin", "labeler", "user"}
