"""Versions, jobs and blind comparisons over HTTP; a version that is put in service answers the next message."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from malmoi.formats.folder import load_model, load_text, save_model
from malmoi.model.transformer import LanguageModel
from malmoi.serve.start import Options
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import add_job
from malmoi.workspace.versions import NewVersion, Version, add_version, begin_versions
from tests.unit.serve.conftest import Running, messages, new_chat, person, running, say, until


@pytest.fixture(scope="module")
def ring(spoken: Path) -> Iterator[tuple[Running, Version]]:
    """A server over a workspace with a version in service, v1, and another network as a candidate, v2."""
    other = spoken / "models" / "other"
    model = load_model(spoken / "models" / "tiny", LanguageModel)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(2)))
    with running(Options(spoken, port=0)) as server:
        begin_versions(server.ledger)
        save_model(other, model, *load_text(spoken / "models" / "tiny"), {})
        yield server, add_version(server.ledger, NewVersion(how="added", model="other", policy=other))


@pytest.fixture
def admin(ring: tuple[Running, Version]) -> Iterator[httpx.Client]:
    with person(ring[0], "admin") as client:
        yield client


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_only_those_who_lead_see_versions(ring: tuple[Running, Version]) -> None:
    with person(ring[0], "user") as client:
        for path in ("/api/versions", "/api/jobs", "/api/versions/v2"):
            assert code_of(client.get(path)) == (403, "not_allowed")


def test_a_version_is_compared_put_in_service_and_taken_back(
    ring: tuple[Running, Version], admin: httpx.Client
) -> None:
    short = {"max_tokens": 4}
    chat = new_chat(admin, sampling=short)
    say(admin, chat, "hello")
    found = admin.get("/api/versions").json()
    assert found["in_service"] == "v1" and [one["name"] for one in found["versions"]] == ["v2", "v1"]
    assert found["versions"][0]["verdict"]["outcome"] == "not known yet" and found["versions"][1]["verdict"] is None

    assert code_of(admin.post("/api/versions/v2/promote", json={})) == (409, "not_known_yet")
    assert code_of(admin.post("/api/versions/v9/promote", json={})) == (404, "not_found")
    put = admin.post("/api/versions/v2/promote", json={"knowingly": True}).json()
    assert put["state"] == "in_service" and put["history"][-1]["knowingly"]
    parent = messages(admin, chat)[-1]["id"]
    say(admin, chat, "and now?", parent)
    first, _, second = (one["answer"] for one in messages(admin, chat)[1:])
    assert (first["voice"], second["voice"]) == ("v1", "v2") and second["hash"] == ring[1].policy_sha256
    assert admin.get("/api/status").json()["version"] == "v2"

    assert admin.post("/api/versions/rollback", json={}).json()["name"] == "v1"
    assert code_of(admin.post("/api/versions/rollback", json={})) == (409, "nothing_earlier")
    say(admin, chat, "and now?", messages(admin, chat)[-1]["id"])
    assert messages(admin, chat)[-1]["answer"]["voice"] == "v1"
    assert code_of(admin.post("/api/versions/v1/refuse", json={})) == (409, "in_service")


def test_without_versions_the_model_that_is_made_last_answers(spoken: Path, tmp_path: Path) -> None:
    model, text = load_model(spoken / "models" / "tiny", LanguageModel), load_text(spoken / "models" / "tiny")
    here = Workspace.open(tmp_path / "w")
    with running(Options(here.path, port=0)) as server, person(server, "owner") as client:
        for name in ("first", "second"):
            save_model(here.models / name, model, *text, {})
            until(lambda name=name: (client.get("/api/status").json()["service"] or {}).get("name") == name)


def test_what_is_exported_can_be_downloaded(ring: tuple[Running, Version], admin: httpx.Client) -> None:
    assert code_of(admin.get("/api/versions/v2/export/hf")) == (404, "not_found")
    assert code_of(admin.get("/api/versions/v9/export/hf")) == (404, "not_found")
    assert admin.get("/api/versions/v2/export/..%2F..%2Fmalmoi.db").status_code in (404, 422)
    for form in ("gguf", "hf"):
        made = admin.post("/api/versions/v2/export", json={"form": form}).json()
        given = admin.get(made["download"])
        path = ring[0].ledger.root / made["path"]
        assert given.headers["Content-Disposition"] == f'attachment; filename="{made["file"]}"'
        assert int(given.headers["Content-Length"]) == len(given.content)
        if form == "gguf":
            assert given.content == path.read_bytes()
            continue
        with tarfile.open(fileobj=io.BytesIO(given.content)) as archive:
            sent = {member.name: archive.extractfile(member) for member in archive}
        assert {*sent} == {f"{path.name}/{file.name}" for file in path.iterdir()}
    with person(ring[0], "user") as client:
        assert code_of(client.get(made["download"])) == (403, "not_allowed")


def test_a_pair_is_blind_and_stays_until_it_is_answered(ring: tuple[Running, Version], admin: httpx.Client) -> None:
    chat = new_chat(admin, sampling={"max_tokens": 2}, may_teach=True)
    say(admin, chat, "a question that may teach")
    shown = admin.post("/api/versions/v2/comparisons", json={}).json()
    pair = shown["pair"]
    assert pair["question"] == "a question that may teach" and "v1" not in str(pair["a"]) + str(pair["b"])
    assert admin.post("/api/versions/v2/comparisons", json={}).json()["pair"] == pair
    path = f"/api/comparisons-of-versions/{pair['id']}"
    for _ in range(2):
        verdict = admin.put(path, json={"answer": "a"}).json()["verdict"]
        assert verdict["n"] == 1 and verdict["against"] == "v1"
    assert code_of(admin.put(path, json={"answer": "b"})) == (409, "conflict")
    assert code_of(admin.post("/api/versions/v1/comparisons", json={})) == (409, "in_service")


def test_with_nothing_to_learn_from_nothing_begins(ring: tuple[Running, Version], admin: httpx.Client) -> None:
    shown = admin.post("/api/improve/preview", json={"how": "best-of-n", "from": "people"}).json()
    assert shown["problems"][0]["code"] == "too_few" and shown["cost"] is None and shown["start"] == "v1"
    assert code_of(admin.post("/api/improve", json={})) == (422, "invalid")
    assert code_of(admin.post("/api/improve", json={"how": "magic"})) == (422, "invalid")


@pytest.mark.parametrize(
    "body",
    [{"recipe": {"policy": "/etc/passwd"}}, {"from": "/etc/passwd"}, {"n": "4; rm -rf /"}, {"n": 10**9}, {"n": -1},
     {"algorithm": "../ppo"}, {"algorithm": "$(id)"}, {"stages": ["corpus"]}, {"out": "/tmp"}],
)  # fmt: skip
def test_a_job_takes_no_settings_but_those_of_the_page(admin: httpx.Client, body: dict[str, object]) -> None:
    for path in ("/api/improve", "/api/improve/preview"):
        assert code_of(admin.post(path, json=body)) == (422, "invalid")


def test_a_job_is_shown_without_its_recipe_and_stopped(ring: tuple[Running, Version], admin: httpx.Client) -> None:
    number = add_job(ring[0].ledger, "improve", {"how": "train", "recipe": {"policy": "/a/path"}})
    row = admin.get(f"/api/jobs/{number}").json()
    assert (row["status"], row["place"], row["log"]) == ("queued", 1, []) and "/a/path" not in str(row)
    assert admin.get("/api/status").json()["job"]["id"] == number
    assert admin.post(f"/api/jobs/{number}/stop", json={}).json()["status"] == "stopped"
    assert code_of(admin.post(f"/api/jobs/{number}/stop", json={})) == (409, "conflict")
    assert code_of(admin.get("/api/jobs/99")) == (404, "not_found")
