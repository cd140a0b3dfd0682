"""A real Ray with two nodes: what it makes is what one process makes, whatever was killed meanwhile."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import malmoi
from malmoi import progress
from malmoi.corpus import build as building
from malmoi.corpus import sources
from malmoi.corpus.form import TIMES, Settings
from malmoi.errors import UserError
from malmoi.files import sha256_of
from tests.cluster import kill_a_worker, needs_ray, ray_cluster

pytestmark = [pytest.mark.slow, needs_ray]
pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")
N_PARTS = 6
NOT_EQUAL = (TIMES, "report.html")
"""Files that say how long it took."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster() as made:
        yield made


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of pages; the last two repeat the first two."""
    folder = tmp_path_factory.mktemp("pages")
    for number in range(N_PARTS):
        rows = (f'{{"text": "{text_of(number % 4, n)}"}}\n' for n in range(400))
        (folder / f"{number}.jsonl").write_text("".join(rows), "utf-8")
    return folder


def text_of(number: int, n: int) -> str:
    said = f"In the year {1000 + number * 400 + n} the {n}th boat came into the harbour, and the people of the town "
    said += f"who had waited for {n} days and {number} nights brought bread, water and wood to the quay. "
    return said * 2 + f"Nobody counted the {n * 7 + number} nets that were hung up to dry in the sun of that summer."


@pytest.fixture(autouse=True)
def one_file_in_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PART_FILES", 1)


SETTINGS = Settings(min_score=0, rules=())


def built(folder: Path) -> dict[str, str]:
    """What a build wrote, but for how long it took."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_EQUAL)
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


@pytest.fixture(scope="module")
def by_one(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "PART_FILES", 1)
        building.build([str(pages)], out := tmp_path_factory.mktemp("one") / "corpus", SETTINGS)
    return built(out)


def test_a_build_goes_on_when_a_worker_and_then_a_node_are_killed(
    cluster: Any, pages: Path, by_one: dict[str, str], tmp_path: Path
) -> None:
    nodes, killed = [cluster.add_node(num_cpus=1) for _ in range(2)], list[str]()

    def kill(done: int, total: int | None, unit: str) -> None:
        if done == 1 and not killed:
            kill_a_worker(*nodes)
            killed.append("worker")
        elif done == 3 and killed == ["worker"]:
            cluster.remove_node(nodes[1], allow_graceful=False)
            killed.append("node")

    with progress.listening(kill):
        building.build([str(pages)], tmp_path / "corpus", SETTINGS, on=f"ray://{cluster.address}")
    assert killed == ["worker", "node"] and built(tmp_path / "corpus") == by_one
    cluster.remove_node(nodes[0])


def test_a_build_whose_driver_was_killed_is_found_and_goes_on(
    cluster: Any, pages: Path, by_one: dict[str, str], tmp_path: Path
) -> None:
    node, out = cluster.add_node(num_cpus=1), tmp_path / "corpus"
    code = "from malmoi.cli import main; from malmoi.corpus import sources; sources.PART_FILES = 1; main()"
    words = ["corpus", "build", os.path.relpath(pages, tmp_path), "--out", "corpus", "--set", "min_score=0", "--set",
             "rules=[]", "--on", f"ray://{cluster.address}"]  # fmt: skip
    driver = subprocess.Popen([sys.executable, "-c", code, *words], cwd=tmp_path)
    until = time.monotonic() + 300
    while not (read := list(out.glob("parts/*.json"))) and time.monotonic() < until:
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    assert read and not (out / "data").exists()
    before = {path: path.stat().st_mtime_ns for path in read}
    kept = [path for path in before if path.exists()]
    said = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert len(kept) == len(before) < N_PARTS
    assert {name: sha for name, sha in built(out).items() if name not in ("plan.json", "index.json")} == {
        name: sha for name, sha in by_one.items() if name not in ("plan.json", "index.json")
    }
    cluster.remove_node(node)


def test_a_machine_with_another_malmoi_is_named_in_one_line(cluster: Any, pages: Path, tmp_path: Path) -> None:
    package = Path(malmoi.__file__).parent
    shutil.copytree(package, tmp_path / "src" / "malmoi", ignore=shutil.ignore_patterns("static", "__pycache__"))
    about = tmp_path / "src" / "malmoi" / "__init__.py"
    about.write_text(about.read_text("utf-8").replace(malmoi.__version__, "0.0.7"), "utf-8")
    node = cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(tmp_path / "src")})
    with pytest.raises(UserError, match=r"has Malmoi 0\.0\.7, and this machine has .*; install the same versions"):
        building.build([str(pages)], tmp_path / "corpus", SETTINGS, on=f"ray://{cluster.address}")
    assert not list((tmp_path / "corpus").iterdir())
    cluster.remove_node(node)


def test_what_cannot_be_used_as_a_cluster_is_said_in_one_line(tmp_path: Path, pages: Path) -> None:
    with pytest.raises(UserError, match="Connection refused"):
        building.build([str(pages)], tmp_path / "corpus", SETTINGS, on="ray://127.0.0.1:9")
    with pytest.raises(UserError, match=r"expected ray, or ray://HOST:PORT"):
        building.build([str(pages)], tmp_path / "corpus", SETTINGS, on="slurm")


def test_a_cluster_that_goes_away_is_said_in_one_line(
    cluster: Any, pages: Path, by_one: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")  # Ray itself waits a minute
    node = cluster.add_node(num_cpus=1)

    def end(done: int, total: int | None, unit: str) -> None:
        if done == 1:
            for processes in (node.all_processes, cluster.head_node.all_processes):
                for name in processes.keys() & {"raylet", "gcs_server"}:
                    processes[name][0].process.kill()

    with progress.listening(end), pytest.raises(UserError, match="the cluster went away") as told:
        building.build([str(pages)], tmp_path / "corpus", SETTINGS, on=f"ray://{cluster.address}")
    assert "\n" not in str(told.value) and "run the same command again" in str(told.value)
    building.build([str(pages)], tmp_path / "corpus", SETTINGS)
    assert built(tmp_path / "corpus") == by_one
