"""What people drew, on both databases: pages, whose it is, what deleting leaves."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from malmoi.errors import WorkspaceError
from malmoi.feedback import drawings
from malmoi.feedback.accounts import add_member, remove_member
from malmoi.feedback.refusals import RefusedError
from malmoi.workspace.drawings import NewDrawing, trace_drawing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

SETTINGS = {"kind": "text", "negative": "", "steps": 2, "size": "8x8", "seed": 2**62}


@pytest.fixture
def ledger(tmp_path: Path, database_url: str) -> Iterator[Ledger]:
    with Ledger.open(Workspace.open(tmp_path / "workspace"), database_url) as opened:
        yield opened


def person(ledger: Ledger, name: str) -> str:
    return add_member(ledger, name, "correct horse", "owner").id


def store(ledger: Ledger, who: str, number: int, n: int = 2) -> dict[str, object]:
    new = NewDrawing("빨간 원", SETTINGS, "tiny", "0" * 64, (), None, None, who, f"{number:032x}")
    files = [(f"{number:016x}{i:016x}", 2**62 + i, f"PNG {number} {i}".encode()) for i in range(n)]
    return drawings.store_drawing(ledger, new, files)


def test_pages_go_back_to_the_first(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings, "PAGE", 2)
    who, other = person(ledger, "Ann"), person(ledger, "Bo")
    stored = [store(ledger, who if i % 2 else other, i) for i in range(1, 7)]
    first = drawings.list_drawings(ledger, who)
    rest = drawings.list_drawings(ledger, who, first["next"])
    assert [*first["drawings"], *rest["drawings"]] == stored[::2][::-1] and rest["next"] is None
    assert [one["seed"] for one in first["drawings"][0]["pictures"]] == [2**62, 2**62 + 1]


def test_a_drawing_that_cannot_be_recorded_leaves_no_files(ledger: Ledger) -> None:
    who = person(ledger, "Ann")
    store(ledger, who, 1)
    before = sorted((ledger.root / "drawings").iterdir())
    new = NewDrawing("again", SETTINGS, "tiny", None, (), None, None, "nobody", f"{1:032x}")
    with pytest.raises(Exception, match=r"(?i)foreign"):
        drawings.store_drawing(ledger, new, [("f" * 32, 1, b"PNG")])
    assert sorted((ledger.root / "drawings").iterdir()) == before


def test_one_that_is_stored_twice_at_once_is_one(ledger: Ledger) -> None:
    who, both = person(ledger, "Ann"), threading.Barrier(4)

    def again(number: int) -> dict[str, object]:
        new = NewDrawing(f"{number}", SETTINGS, "tiny", None, (), None, None, who, f"{1:032x}")
        both.wait()
        return drawings.store_drawing(ledger, new, [(f"{number:032x}", 1, b"PNG")])

    with ThreadPoolExecutor(4) as pool:
        rows = [*pool.map(again, range(4))]
    assert rows == [rows[0]] * 4 == drawings.list_drawings(ledger, who)["drawings"] * 4
    assert [path.stem for path in (ledger.root / "drawings").iterdir()] == [rows[0]["pictures"][0]["id"]]  # type: ignore[index]


def test_two_people_may_choose_the_same_id(ledger: Ledger) -> None:
    who, other, id = person(ledger, "Ann"), person(ledger, "Bo"), f"{1:032x}"
    rows = [store(ledger, one, 1, n) for one, n in ((who, 1), (other, 0))]
    assert [drawings.find_drawing(ledger, one, id) for one in (who, other)] == rows and rows[0] != rows[1]
    drawings.delete_drawing(ledger, other, id)
    assert drawings.find_drawing(ledger, who, id) == rows[0]


def test_what_is_deleted_is_gone_with_its_files_and_its_number(ledger: Ledger) -> None:
    who, other = person(ledger, "Ann"), person(ledger, "Bo")
    first, last = store(ledger, who, 1), store(ledger, other, 2)
    with pytest.raises(RefusedError, match="no such drawing"):
        drawings.delete_drawing(ledger, who, str(last["id"]))
    drawings.delete_drawing(ledger, other, str(last["id"]))
    assert int(str(store(ledger, who, 3)["number"])) > int(str(last["number"]))
    with pytest.raises(WorkspaceError, match="no such drawing"):
        trace_drawing(ledger, f"drawing-{last['number']}")
    assert len([*(ledger.root / "drawings").iterdir()]) == 4
    remove_member(ledger, who)
    assert not [*(ledger.root / "drawings").iterdir()] and first["number"]
    assert drawings.list_drawings(ledger, who) == {"drawings": [], "next": None}


def test_a_person_keeps_no_more_than_may_be_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawings, "MOST_KEPT", 3)
    who = person(ledger, "Ann")
    store(ledger, who, 1)
    drawings.check_room(ledger, who, 1)
    with pytest.raises(RefusedError, match="2 pictures are kept"):
        drawings.check_room(ledger, who, 2)
