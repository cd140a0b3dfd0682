"""The whole ring in one process tree: it runs, is not run twice, and survives being killed."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from malmoi.files import is_partial
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

TINY = Path(__file__).with_name("tiny.toml")
STEPS = {"pretrain": 12, "sft": 12, "reward": 6, "ppo": 16}


def malmoi(*words: object) -> list[str]:
    return [sys.executable, "-m", "malmoi", *map(str, words)]


def run(workspace: Path, *words: object, code: int = 0) -> str:
    done = subprocess.run(
        malmoi("run", TINY, "--workspace", workspace, *words), capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def folder_of(workspace: Path, stage: str) -> Path | None:
    found = sorted((workspace / "runs").glob(f"*-{stage}"))
    return found[-1] if found else None


def weights(workspace: Path, stage: str) -> bytes:
    folder = folder_of(workspace, stage)
    assert folder is not None
    return (folder / "out" / "model" / "model.safetensors").read_bytes()


def n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the tiny recipe ran without interruption."""
    workspace = tmp_path_factory.mktemp("whole")
    run(workspace)
    return workspace


def test_report_has_every_figure_with_its_interval(whole: Path) -> None:
    report = json.loads((whole / "report.json").read_text())
    for section, key in (
        ("sft", "exact_base"), ("sft", "exact_sft"), ("sft", "exact_unseen_items"),
        ("reward", "accuracy"), ("ppo", "gold_sft"), ("ppo", "gold_ppo"),
    ):  # fmt: skip
        row = report[section][key]
        assert row["low"] <= row["mean"] <= row["high"] and row["n"] > 0, (section, key)
    for key in ("bpb_before", "bpb_after", "tokens_per_s", "bpb_xz", "bpb_xz_primed"):
        assert report["pretrain"][key] > 0
    assert report["pretrain"]["bpb_after"] < report["pretrain"]["bpb_before"]
    assert set(STEPS) < set(report["seconds"]) and report["seconds"]["total"] > 0
    assert report["peak_memory_bytes"] > 0 and report["seed"] == 1 and "torch" in report["versions"]
    assert "<html" in (whole / "report.html").read_text()


def test_metrics_have_one_object_a_step(whole: Path) -> None:
    for stage, n_steps in STEPS.items():
        folder = folder_of(whole, stage)
        assert folder is not None
        steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert steps == list(range(1, n_steps + 1)), stage


def test_unchanged_is_not_run_again_and_changed_reruns_what_depends_on_it(whole: Path) -> None:
    before = {path.name for path in (whole / "runs").iterdir()}
    assert run(whole).count("unchanged, not run again") == 12
    assert {path.name for path in (whole / "runs").iterdir()} == before
    run(whole, "--set", "reward.n_steps=5")
    new = sorted(path.name.split("-", 1)[1] for path in (whole / "runs").iterdir() if path.name not in before)
    assert new == ["eval", "natural", "ppo", "reward"]


def test_only_needs_its_parents(whole: Path, tmp_path: Path) -> None:
    assert "has not been run" in run(tmp_path, "--only", "sft", code=2)
    before = weights(whole, "sft")
    run(whole, "--only", "sft")
    assert weights(whole, "sft") == before


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_artefacts(whole: Path, tmp_path: Path) -> None:
    rng = random.Random(7)
    for stage, seconds in stage_seconds(whole).items():
        if stage in STEPS:
            assert kill_at(tmp_path, stage, rng.randrange(1, STEPS[stage]), signal.SIGKILL) == -signal.SIGKILL
        else:
            kill_after(tmp_path, stage, rng.random() * seconds)
    run(tmp_path)
    assert hashes(tmp_path) == hashes(whole)
    assert not [path for path in (tmp_path / "runs").rglob("*") if is_partial(path.name)]


def stage_seconds(workspace: Path) -> dict[str, float]:
    """Stage -> how long its first run took."""
    with Ledger.open(Workspace.open(workspace)) as ledger:
        return {run.stage: run.seconds for run in reversed(ledger.runs())}


def hashes(workspace: Path) -> dict[str, dict[str, str]]:
    """Stage -> name -> SHA-256, as recorded, of what its first run made, models and snapshots among it."""
    with Ledger.open(Workspace.open(workspace)) as ledger:
        made = {run.stage: ledger.artefacts_of(run.id).values() for run in reversed(ledger.runs())}
    return {stage: {one.name: one.sha256 for one in found} for stage, found in made.items()}


@pytest.mark.slow
def test_asked_to_stop_it_saves_leaves_and_goes_on(whole: Path, tmp_path: Path) -> None:
    for n_steps, number in ((4, signal.SIGTERM), (8, signal.SIGINT)):
        assert kill_at(tmp_path, "sft", n_steps, number) == 130
        folder = folder_of(tmp_path, "sft")
        assert folder is not None and (folder / "checkpoint.safetensors").exists()
    run(tmp_path, "--set", 'stages=["corpus","tokenizer","index","pretrain","demonstrations","sft"]')
    assert weights(tmp_path, "sft") == original(whole, "sft")


def original(workspace: Path, stage: str) -> bytes:
    """Of the first run of a stage: other tests may have added runs with other settings."""
    folder = sorted((workspace / "runs").glob(f"*-{stage}"))[0]
    return (folder / "out" / "model" / "model.safetensors").read_bytes()


def kill_after(workspace: Path, stage: str, seconds: float) -> None:
    """Run until a stage has begun, and for so long a time more, then kill."""
    process = subprocess.Popen(
        malmoi("run", TINY, "--workspace", workspace), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and folder_of(workspace, stage) is None:
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    process.wait(timeout=600)


def kill_at(workspace: Path, stage: str, n_steps: int, number: signal.Signals) -> int:
    """Run until a stage has taken so many steps, then send the signal; returns the exit code."""
    process = subprocess.Popen(
        malmoi("run", TINY, "--workspace", workspace), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 1800
    while time.monotonic() < deadline and process.poll() is None:
        folder = folder_of(workspace, stage)
        if folder is not None and n_lines(folder / "metrics.jsonl") >= n_steps:
            process.send_signal(number)
            break
        time.sleep(0.002)
    return process.wait(timeout=600)
