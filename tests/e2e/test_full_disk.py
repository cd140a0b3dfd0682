"""A disk that is really full: the page says so, nothing is half stored, and nothing that was confirmed is lost."""

import contextlib
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from malmoi.feedback.accounts import add_member
from malmoi.feedback.sessions import begin_session
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import index_folder
from malmoi.workspace.ledger import Ledger
from tests.e2e.serving import Server, until
from tests.unit.serve.conftest import NOTES, PASSWORD, messages, new_chat, new_id, read_events

SMALL = "32m"
WITHIN = ["unshare", "--user", "--map-root-user", "--mount"]
MOUNT = f'mount -t tmpfs -o size={SMALL} none "$0" && cp -r "$1/." "$0/" && shift && exec "$@"'
"""A disk of its own for one process and what it starts: $0 is where, $1 what it holds at first."""


def has_small_disks(place: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    words = [*WITHIN, "mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", str(place)]
    return subprocess.run(words, capture_output=True).returncode == 0


@pytest.fixture
def disk(small_ring: Workspace, tmp_path: Path) -> Iterator[tuple[httpx.Client, "Disk"]]:
    """The owner's browser, in front of a server whose workspace lies on a small disk; and this disk."""
    place = tmp_path / "disk"
    place.mkdir()
    if not has_small_disks(place):
        pytest.skip("this system mounts no small disk for one process (unshare, tmpfs)")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "hours.md").write_text(NOTES)
    index_folder(small_ring, tmp_path / "notes")
    server = Server(place, tmp_path / "log", [*WITHIN, "sh", "-c", MOUNT, str(place), str(small_ring.path)])
    with Ledger.open(small_ring) as ledger:
        token = begin_session(ledger, add_member(ledger, "Owner", PASSWORD, "owner"))
    server.begin()
    try:
        base, cookies = f"http://127.0.0.1:{server.port}", {f"malmoi_{server.port}": token}
        with httpx.Client(base_url=base, cookies=cookies, timeout=60, trust_env=False) as client:
            server.until_it_answers(client)
            assert server.process is not None
            yield client, Disk(Path(f"/proc/{server.process.pid}/root{place}"))
    finally:
        server.kill()


class Disk:
    """The disk, as its process sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.root / "filler").open("ab", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)

    def free(self) -> None:
        (self.root / "filler").unlink()


def until_full(said: Any) -> httpx.Response:
    """Do something until it is refused: the database has some room left in its files."""
    for _ in range(400):
        found = said()
        if found.status_code not in (200, 201):
            return found
    raise AssertionError("the disk never was full")


def say(client: httpx.Client, chat: str, parent: str | None, text: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Send a message; returns its ids and how it ended: the last event, or the refusal."""
    ids = {"id": new_id(), "answer_id": new_id()}
    body = {**ids, "parent": parent, "text": text}
    with client.stream("POST", f"/api/chats/{chat}/messages", json=body) as response:
        if response.status_code != 200:
            response.read()
            return ids, {"status": response.status_code, **response.json()}
        return ids, list(read_events(response))[-1]


def test_a_full_disk_is_said_and_loses_nothing(disk: tuple[httpx.Client, Disk]) -> None:
    client, small = disk
    chat, parent, confirmed = new_chat(client), None, list[str]()
    for text in ["What does a ticket cost?", *["What does a ticket cost? " * 2000] * 200]:
        ids, end = say(client, chat, parent, text)
        if end.get("type") != "done":
            break
        parent = ids["answer_id"]
        confirmed += [ids["id"], parent]
        if len(confirmed) == 4:
            small.fill()
    assert end["error"]["code"] == "disk_full" and end.get("status") in (507, None), end
    votes = itertools.cycle(("up", "down"))
    vote = f"/api/messages/{confirmed[1]}/vote"
    said = []

    def voted() -> httpx.Response:
        said.append(next(votes))
        return client.put(vote, json={"vote": said[-1], "comment": f"{len(said)} " * 400})

    for refused in (
        until_full(voted), until_full(lambda: client.post("/api/data/snapshots", json={})),
        until_full(lambda: client.post("/api/improve", json={"how": "best-of-n", "n": 2})),
    ):  # fmt: skip
        assert (refused.status_code, refused.json()["error"]["code"]) == (507, "disk_full"), refused.text
    shown = [one["id"] for one in messages(client, chat)]
    assert shown[: len(confirmed)] == confirmed and shown[len(confirmed) :] in ([], [ids["id"]])

    small.free()
    stored = messages(client, chat)
    kept = (stored[1]["vote"] or {"vote": None})["vote"]
    assert [one["id"] for one in stored] == shown and kept in [None, *said][-2:]
    assert not [*(small.root / "snapshots").glob(".*")]
    assert voted().status_code == 200 and client.post("/api/data/snapshots", json={}).status_code == 201
    assert say(client, chat, confirmed[-1], "What does a ticket cost?")[1]["type"] == "done"


def test_a_job_on_a_full_disk_fails_with_one_sentence_and_goes_on(disk: tuple[httpx.Client, Disk]) -> None:
    client, small = disk
    job = client.post("/api/improve", json={"how": "best-of-n", "n": 2}).json()["id"]

    def shown() -> dict[str, Any]:
        return dict(client.get(f"/api/jobs/{job}").json())

    def ended() -> bool:
        return shown()["status"] not in ("queued", "running")

    until(lambda: shown()["stage"] == "reward", 240)
    small.fill()
    until(ended, 240)
    sentence = f"the disk is full; free some space, then let the job go on: malmoi jobs resume {job}"
    assert (shown()["status"], shown()["error"], shown()["version"]) == ("failed", sentence, None)
    small.free()
    assert client.post(f"/api/jobs/{job}/resume", json={}).status_code == 200
    until(ended, 240)
    assert (shown()["status"], shown()["version"], shown()["error"]) == ("done", "v2", None), shown()
