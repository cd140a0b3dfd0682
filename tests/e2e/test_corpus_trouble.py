"""A corpus is built while another process builds into the same folder, and on a disk that is really full."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from malmoi.corpus.build import build
from malmoi.corpus.built import open_built
from malmoi.corpus.form import Settings
from malmoi.workspace.locks import LOCK, holding
from tests.e2e.test_full_disk import WITHIN, has_small_disks
from tests.unit.corpus.test_web import prose, records, same_files, zipped

pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")

WHILE_FULL = """
import json, subprocess, sys
from pathlib import Path
from typer.testing import CliRunner
from malmoi.cli import app

disk, crawl, sizes = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
ends = []
for size in sizes:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"remount,size={size}k", "none", str(disk)], check=True)
    made = CliRunner().invoke(app, ["corpus", "build", crawl, "--out", str(disk / "out")])
    files = sorted(str(path.relative_to(disk / "out")) for path in (disk / "out").rglob("*") if path.is_file())
    ends.append([size, made.exit_code, made.stderr, files])
print(json.dumps(ends))
"""


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crawl")
    (folder / "one.warc.gz").write_bytes(zipped(records(16)))
    (folder / "note.md").write_text(prose(50))
    return folder


@pytest.fixture(scope="module")
def whole(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    build([str(crawl)], out, Settings(), say=lambda line: None)
    return out


def test_of_two_builds_into_one_folder_at_once_one_waits_for_nothing(crawl: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "malmoi", "corpus", "build", str(crawl), "--out", str(out)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [(*one.communicate(timeout=300), one.returncode) for one in both]
    assert 0 in [code for _, _, code in ends]
    for _, err, code in ends:  # the other one is refused; or, if it came late, finds the corpus built
        assert code == 0 or (code == 2 and "is in use by process" in err and err.count("\n") == 1), err
    for path in out.rglob("report.html"):
        path.unlink()  # it holds times
    assert same_files(whole, out) and not list(out.rglob("*.partial")) and not (out / "parts").exists()
    assert not (out / LOCK).exists()
    with holding(out / LOCK, str(out)):
        refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.startswith(f"error: {out}: is in use by process")


def test_a_full_disk_leaves_nothing_half_written_and_the_same_command_goes_on(
    crawl: Path, whole: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if not has_small_disks(disk):
        pytest.skip("this system mounts no small disk for one process (unshare, tmpfs)")
    sizes = [4, 8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 4096]  # kB
    mounted = 'mount -t tmpfs -o size=4k none "$0" && "$@" && cp -r "$0/out" "$0-after"'
    command = [sys.executable, "-c", WHILE_FULL, str(disk), str(crawl), *map(str, sizes)]
    ended = subprocess.run([*WITHIN, "sh", "-c", mounted, str(disk), *command], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    ends = json.loads(ended.stdout)
    for size, code, err, files in ends[:-1]:
        assert code in (0, 2), (size, err)
        if code:
            assert "the disk is full" in err and err.count("\n") == 1, (size, err)
        assert not [name for name in files if "partial" in name], (size, files)
    assert ends[0][1] == 2 and ends[-1][1] == 0, ends
    assert len({tuple(files) for _, code, _, files in ends if code}) >= 3, "the disk was not full at several places"
    after = tmp_path / "disk-after"
    open_built(after)
    assert same_files(whole, after)
