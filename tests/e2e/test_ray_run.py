"""A recipe whose training runs on a real Ray with two nodes: the models are, byte for byte, those of one process."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from malmoi.errors import ConfigError
from malmoi.files import read_jsonl, sha256_of
from malmoi.pipeline.recipe import read_recipe
from malmoi.pipeline.run import run_recipe
from malmoi.pipeline.there import Place, place_of
from malmoi.pipeline.watcher import Watcher
from malmoi.train.loop import Step
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import find_job, log_of
from malmoi.workspace.ledger import Ledger
from tests.cluster import kill_a_worker, needs_ray, ray_cluster
from tests.e2e.serving import Server, until

pytestmark = [pytest.mark.slow, needs_ray]
# Each rank has one micro-batch of each step: the sum of two gradients does not depend on their order.
SETTINGS = (
    'stages=["corpus", "tokenizer", "pretrain", "demonstrations", "sft"]',
    "pretrain.n_steps=60", "pretrain.micro_batch_size=1", "sft.micro_batch_size=8", "sft.n_steps=40",
)  # fmt: skip
TINY = Path(__file__).with_name("tiny.toml")
TRAINED = ("pretrain", "sft")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MALMOI_DTYPE": "float32", "MALMOI_DEVICE": "cpu", "MALMOI_THREADS": "1"}.items():
            patch.setenv(name, value)
        with ray_cluster() as made:
            yield made


def models_of(workspace: Path) -> dict[str, str]:
    """Stage -> SHA-256 of the weights that it made."""
    paths = {stage: next((workspace / "runs").glob(f"*-{stage}")) / "out/model/model.safetensors" for stage in TRAINED}
    return {stage: sha256_of(path) for stage, path in paths.items()}


class Killing(Watcher):
    """Kills a worker while the first stage trains, and a node while the second one does."""

    def __init__(self, cluster: Any, nodes: list[Any]) -> None:
        self.cluster, self.nodes = cluster, nodes
        self.stage, self.said, self.killed = "", list[str](), list[str]()
        self.steps = dict.fromkeys(TRAINED, 0)

    def started(self, stage: str, run_id: str, resumed: bool) -> None:
        self.stage = stage

    def say(self, line: str) -> None:
        self.said.append(f"{self.stage}: {line}")

    def step(self, step: Step) -> None:
        self.steps[self.stage] = step.step
        if self.stage in self.killed or step.step < 3:
            return
        if self.stage == "pretrain":
            kill_a_worker(self.nodes[0])
        else:
            self.cluster.remove_node(self.nodes[1], allow_graceful=False)
        self.killed.append(self.stage)


def test_ranks_of_a_cluster_make_the_bytes_of_one_process_whatever_is_killed(cluster: Any, tmp_path: Path) -> None:
    one, recipe = Workspace.open(tmp_path / "one"), read_recipe(TINY, SETTINGS)
    run_recipe(read_recipe(TINY, ('stages=["corpus", "tokenizer"]',)), one, Watcher())
    shutil.copytree(one.path, tmp_path / "two")  # Python's documentation depends on what this process has imported
    two = Workspace.open(tmp_path / "two")
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    watcher = Killing(cluster, nodes)
    run_recipe(recipe, two, watcher, place=Place(f"ray://{cluster.address}"))
    run_recipe(recipe, one, Watcher())
    assert models_of(two.path) == models_of(one.path)
    assert watcher.killed == ["pretrain", "sft"]
    assert {line.partition(":")[0] for line in watcher.said if "was lost" in line} == set(TRAINED), watcher.said
    ranks = [line.split(" on ")[0] for line in watcher.said if " on ray://" in line]
    assert ranks[:3] == ["pretrain: 2 ranks", "pretrain: 2 ranks", "sft: 2 ranks"] and ranks[-1] == "sft: 1 rank"
    for stage in TRAINED:
        folder = next((two.path / "runs").glob(f"*-{stage}"))
        steps = [row["step"] for row in read_jsonl(folder / "metrics.jsonl")]
        assert steps == list(range(1, watcher.steps[stage] + 1)) and not list(folder.glob(".said*"))
    with Ledger.open(two) as ledger:
        assert {run.status for run in ledger.runs()} == {"done"}


def test_a_recipe_whose_driver_was_killed_is_found_and_goes_on(cluster: Any, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1)
    settings = ('stages=["corpus", "tokenizer", "pretrain"]', "pretrain.n_steps=60", "pretrain.micro_batch_size=1")
    words = ["run", str(TINY), "--workspace", str(tmp_path / "w"), "--on", f"ray://{cluster.address}", "--ranks", "1"]
    command = [sys.executable, "-m", "malmoi", *words, *(word for one in settings for word in ("--set", one))]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    metrics, until = "runs/*-pretrain/metrics.jsonl", time.monotonic() + 600
    while time.monotonic() < until and driver.poll() is None:
        found = list((tmp_path / "w").glob(metrics))
        if found and found[0].read_bytes().count(b"\n") >= 3:
            break
        time.sleep(0.01)
    driver.kill()
    driver.communicate()
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "pretrain  0003-pretrain (resumed)" in done.stdout and "1 rank on ray://" in done.stdout
    rows = read_jsonl(next((tmp_path / "w").glob(metrics)))
    assert [row["step"] for row in rows] == list(range(1, 61))
    command[command.index("--ranks") + 1] = "9"
    too_many = subprocess.run([*command, "--from", "pretrain"], capture_output=True, text=True)
    assert too_many.returncode == 2 and too_many.stderr.count("\n") == 1, too_many.stderr
    assert "9 ranks were asked for, and the cluster has" in too_many.stderr


def test_a_job_trains_there_whether_the_terminal_or_a_page_began_it(
    cluster: Any, small_ring: Workspace, tmp_path: Path
) -> None:
    node, on = cluster.add_node(num_cpus=1), f"ray://{cluster.address}"
    words = ["improve", "--how", "train", "--yes", "--on", on, "--ranks", "1", "--workspace", str(small_ring.path)]
    said = subprocess.run([sys.executable, "-m", "malmoi", *words], capture_output=True, text=True, timeout=900)
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"trains on {on}; time and memory are those of this machine" in said.stdout
    assert f"--algorithm dpo --on {on} --ranks 1 --yes" in said.stdout
    assert said.stdout.count(f"1 rank on {on}") == 3 and "v2 is a candidate" in said.stdout, said.stdout
    server = Server(small_ring.path, tmp_path / "log", more=("--on", on, "--ranks", "1"))
    server.begin()
    try:
        with Ledger.open(small_ring) as ledger, server.client(ledger, "Owner") as owner:
            server.until_it_answers(owner)
            asked = {"how": "best-of-n", "n": 2}
            shown = owner.post("/api/improve/preview", json={**asked, "estimate": False}).json()
            assert [one["name"] for one in shown["remarks"] if one["code"] == "elsewhere"] == [on]
            job = owner.post("/api/improve", json=asked).json()["id"]
            until(lambda: find_job(ledger, job)["status"] not in ("queued", "running"), 600)
            assert find_job(ledger, job)["status"] == "done", log_of(small_ring, job)
        assert sum(f"1 rank on {on}" in line for line in log_of(small_ring, job)) == 2
    finally:
        server.kill()
    cluster.remove_node(node)


def test_a_workspace_says_where_it_trains(tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path)
    assert place_of(workspace) is None
    marker = tmp_path / "malmoi.toml"
    given = marker.read_text("utf-8")
    marker.write_text(given + 'on = "ray://head:6379"\nranks = 4\n', "utf-8")
    assert place_of(workspace) == Place("ray://head:6379", 4)
    assert place_of(workspace, "ray", 2) == Place("ray", 2)
    for wrong in ("on = 3\n", 'on = "slurm"\n', "ranks = 2\n", 'on = "ray"\nranks = "all"\n'):
        marker.write_text(given + wrong, "utf-8")
        with pytest.raises(ConfigError):
            place_of(workspace)
