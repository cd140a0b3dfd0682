"""A folder is sent as a tar that is made on the way."""

import io
import tarfile
from pathlib import Path

from malmoi.workspace.archive import CHUNK, tar, tar_size


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_what_is_unpacked_is_what_was_there(tmp_path: Path) -> None:
    files = {
        "config.json": b"{}", "model.safetensors": b"x" * (2 * CHUNK + 5), "empty": b"", "말/모이.txt": "낱말".encode(),
        f"{'long' * 40}.txt": b"a name of more than 100 bytes", "block": b"y" * 512,
    }  # fmt: skip
    folder = folder_of(tmp_path / "v2-abc", files)
    (folder / "outside").symlink_to("/etc/hostname")
    parts = [*tar(folder)]
    assert max(map(len, parts)) <= CHUNK and sum(map(len, parts)) == tar_size(folder)
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        assert {name: file.read() for name, file in found.items() if file} == {
            f"v2-abc/{name}": data for name, data in files.items()
        }


def test_equal_folders_give_equal_bytes(tmp_path: Path) -> None:
    one, other = (
        folder_of(tmp_path / place / "v2", {"b": b"1", "a": b"2"}) for place in ("here", "there")
    )  # fmt: skip
    assert b"".join(tar(one)) == b"".join(tar(other))
