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
    for broken in ("", "[1]", '{"1:2:3:4": 5}'):
        write_text(tmp_path / "hashes.json", broken)
        assert Hashes(tmp_path / "hashes.json").sha256_of(tmp_path / "a.txt") == sha256_of(tmp_path / "a.txt")
