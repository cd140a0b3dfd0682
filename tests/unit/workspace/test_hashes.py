import os
from pathlib import Path

from malmoi.files import sha256_of, write_text
from malmoi.workspace.hashes import Hashes


def settled(path: Path, words: str, at: int = 1_000_000_000) -> None:
    write_text(path, words)
    os.utime(path, ns=(at, at))


def test_what_is_as_it_was_is_not_read_again_and_what_changed_is(tmp_path: Path) -> None:
    folder, memory = tmp_path / "text", tmp_path / "hashes.json"
    settled(folder / "a.txt", "one")
    settled(folder / "b.txt", "two")
    first = Hashes(memory).sha256_of(folder)
    assert first == sha256_of(folder)
    # Same place, size and time: read again it would give another hash.
    with (folder / "a.txt").open("r+") as file:
        file.write("ONE")
    os.utime(folder / "a.txt", ns=(1_000_000_000, 1_000_000_000))
    assert Hashes(memory).sha256_of(folder) == first != sha256_of(folder)
    os.utime(folder / "a.txt", ns=(2_000_000_000, 2_000_000_000))
    assert Hashes(memory).sha256_of(folder) == sha256_of(folder)


def test_what_changed_just_now_is_not_remembered(tmp_path: Path) -> None:
    write_text(tmp_path / "new.txt", "one")
    assert Hashes(tmp_path / "hashes.json").sha256_of(tmp_path / "new.txt") == sha256_of(tmp_path / "new.txt")
    assert not Hashes(tmp_path / "hashes.json").known


def test_a_broken_memory_is_none(tmp_path: Path) -> None:
    settled(tmp_path / "a.txt", "one")
    for broken in ("", "[1]", '{"1:2:3:4": 5}', '{"1:2:3:4": [5, "a.txt"]}', '{"1:2:3:4": "5ce6"}', '{"1": ["a"]}'):
        write_text(tmp_path / "hashes.json", broken)
        assert not Hashes(tmp_path / "hashes.json").known
        assert Hashes(tmp_path / "hashes.json").sha256_of(tmp_path / "a.txt") == sha256_of(tmp_path / "a.txt")


def test_what_is_gone_or_changed_is_forgotten_and_what_moved_or_has_another_name_is_not(tmp_path: Path) -> None:
    work, text = tmp_path / "work", tmp_path / "text"
    (work / "runs").mkdir(parents=True)
    memory = work / "runs" / ".hashes.json"
    for name in ("stays", "goes", "changes"):
        settled(text / name, name)
    settled(work / "made", "of the workspace")
    first = Hashes(memory)
    assert len({first.sha256_of(folder) for folder in (text, work / "made")}) == 2
    assert len(Hashes(memory).known) == 4
    (text / "goes").unlink()
    settled(text / "changes", "changed", at=3_000_000_000)
    (text / "another name").hardlink_to(text / "stays")
    moved = work.rename(tmp_path / "moved")
    again = Hashes(moved / "runs" / ".hashes.json")
    again.sha256_of(text)
    (text / "stays").unlink()
    last = Hashes(moved / "runs" / ".hashes.json")
    assert sorted(known.path for known in last.known.values()) == sorted(
        ["made", str(text / "changes"), str(text / "stays")]
    )
    settled(text / "new", "new")
    assert last.sha256_of(text) == sha256_of(text)
    assert {Path(known.path).name for known in Hashes(last.path).known.values()} == {
        "made", "changes", "another name", "new",
    }  # fmt: skip


def test_what_two_processes_hashed_is_all_remembered(tmp_path: Path) -> None:
    memory = tmp_path / "runs" / "hashes.json"
    for name in ("a", "b", "c"):
        settled(tmp_path / name, name)
    first, second = Hashes(memory), Hashes(memory)
    for hashes, name in ((first, "a"), (second, "b"), (first, "c")):
        hashes.sha256_of(tmp_path / name)
    assert {known.path for known in Hashes(memory).known.values()} == {"a", "b", "c"}
