"""The ring turns: people rank, improve makes a candidate, people compare, it serves, and one can go back."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.feedback.origin import people_behind
from malmoi.feedback.terminal import person_at_terminal
from malmoi.files import sha256_of
from malmoi.formats.folder import save_model
from malmoi.model.transformer import LanguageModel
from malmoi.workspace.answer_lineage import trace_answer
from malmoi.workspace.folder import Workspace
from malmoi.workspace.jobs import add_job, find_job, wake
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.versions import begin_versions, in_service, list_versions
from tests.ranked_workspace import SMALL, ranked_workspace

N_PROMPTS = 24
CAN_END = {"done", "failed", "stopped"}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A tiny policy, and rankings of its answers by Ann and Ben."""
    for name, value in SMALL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MALMOI_DATABASE_URL", raising=False)
    return ranked_workspace(tmp_path / "w", N_PROMPTS, n_heldout=6, seq_len=64)


def malmoi(workspace: Workspace, *words: str, stdin: str = "", code: int = 0) -> str:
    command = [sys.executable, "-m", "malmoi", *words, "--workspace", str(workspace.path)]
    done = subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def shown(workspace: Workspace, *words: str) -> Any:
    command = [sys.executable, "-m", "malmoi", *words, "--json", "--workspace", str(workspace.path)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)


def until_ended(ledger: Ledger, job: int) -> dict[str, Any]:
    end = time.monotonic() + 240
    while (row := find_job(ledger, job))["status"] not in CAN_END:
        assert time.monotonic() < end, row
        time.sleep(0.1)
    return row


@contextlib.contextmanager
def opened(workspace: Workspace) -> Iterator[Ledger]:
    with Ledger.open(workspace) as ledger:
        yield ledger


def test_people_rank_and_compare_until_a_better_version_serves(workspace: Workspace) -> None:
    said = malmoi(workspace, "improve", "--n", "2", "--yes")
    assert "24 rankings of 24 prompts: Ann 12, Ben 12" in said and "v2 is a candidate" in said
    before, candidate = shown(workspace, "versions", "list")
    assert (before["state"], candidate["state"], candidate["n"]) == ("in_service", "candidate", 2)
    assert candidate["hash"] == before["hash"] and candidate["reward_hash"] and candidate["from"] == "v1"
    assert candidate["learned_from"]["n_rankings"] == 24 and "not_known" not in said

    questions = workspace.path / "questions.txt"
    questions.write_text("".join(f"what about {i}?\n" for i in range(6)))
    compared = malmoi(
        workspace, "versions", "compare", "v2", "--questions", str(questions), "--most", "3", "--by", "Ann",
        stdin="t\nnonsense\nx\na\n",
    )  # fmt: skip
    assert "not known yet" in compared
    refused = malmoi(workspace, "versions", "promote", "v2", code=2)
    assert "it is not known yet whether it is better than v1" in refused
    malmoi(workspace, "versions", "promote", "v2", "--knowingly", "--by", "Ann")
    asked = shown(workspace, "ask", "what is a list?", "--seed", "3")
    assert asked["voice"] == "v2" and asked["model_sha256"] == candidate["hash"]
    assert asked["sampling"]["best_of"] == 2 and asked["sampling"]["reward_model_sha256"] == candidate["reward_hash"]
    # The answer leads to the people whose rankings taught the reward model that picked it.
    with opened(workspace) as ledger:
        found = trace_answer(ledger, asked["id"])
        assert found.reward_sha256 == candidate["reward_hash"]
        assert people_behind(found.model) is None
        assert people_behind(found.model, found.reward) == {"n_judgements": 24, "n_people": 2, "n_simulated": 0}
    assert "picked by reward model" in malmoi(workspace, "lineage", asked["id"])
    history = shown(workspace, "versions", "show", "v2")["history"]
    assert [(act["act"], act["by"], act["knowingly"]) for act in history] == [("promote", "Ann", True)]
    assert "v1 is in service again" in malmoi(workspace, "versions", "rollback")
    assert shown(workspace, "ask", "what is a list?")["voice"] == "v1"


def test_training_is_resumed_to_the_same_weights_after_a_kill(workspace: Workspace, tmp_path: Path) -> None:
    """Two jobs asked for at once run one after the other; the process of the first is killed, and resumed."""
    from malmoi.pipeline.improve import Wanted, begin

    shutil.copytree(workspace.path, tmp_path / "undisturbed", symlinks=True)
    with opened(workspace) as ledger:
        first = begin(ledger, Wanted(how="train", n=2))
        settings = find_job(ledger, first)["settings"]
        second = add_job(ledger, "improve", {**settings, "how": "best-of-n"})
        end = time.monotonic() + 240
        while (find_job(ledger, first)["stage"] or "") not in ("reward", "dpo"):
            assert time.monotonic() < end
            time.sleep(0.02)
        with ledger.engine.connect() as connection:
            pid = connection.exec_driver_sql("SELECT pid FROM job WHERE status = 'running'").scalar()
        os.kill(int(pid or 0), signal.SIGKILL)
        while find_job(ledger, first)["status"] == "running":
            assert time.monotonic() < end
            time.sleep(0.05)
        assert find_job(ledger, first)["status"] == "interrupted" and find_job(ledger, second)["place"] == 1
        wake(ledger)
        rows = [until_ended(ledger, job) for job in (first, second)]
        assert [row["status"] for row in rows] == ["done", "done"], [row["error"] for row in rows]
        assert rows[0]["n_begun"] == 2 and [row["version"] for row in rows] == ["v2", "v3"]
        assert rows[0]["finished_at"] < rows[1]["finished_at"] and in_service(ledger) == list_versions(ledger)[0]
        trained = list_versions(ledger)[1]
    with opened(Workspace.open(tmp_path / "undisturbed")) as ledger:
        begin_versions(ledger)
        until_ended(ledger, _begun(ledger, settings))
        same = list_versions(ledger)[1]
    assert sha256_of(trained.policy / "model.safetensors") == sha256_of(same.policy / "model.safetensors")


def _begun(ledger: Ledger, settings: dict[str, Any]) -> int:
    job = add_job(ledger, "improve", settings)
    wake(ledger)
    return job


def test_a_version_made_worse_is_refused(workspace: Workspace) -> None:
    from malmoi.feedback.contenders import Match
    from malmoi.feedback.gate_comparisons import record_answer, verdict_of
    from malmoi.formats.folder import load_model, load_text
    from malmoi.workspace.versions import NewVersion, add_version

    model = load_model(workspace.models / "sft", LanguageModel)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(2)))
    save_model(workspace.models / "broken", model, *load_text(workspace.models / "sft"), {})
    with opened(workspace) as ledger:
        serving = begin_versions(ledger)
        worse = add_version(ledger, NewVersion(how="added", model="broken", policy=workspace.models / "broken"))
        ann = person_at_terminal(ledger, "Ann")
        match = Match(ledger, worse, serving, [[{"role": "user", "content": f"what about {i}?"}] for i in range(40)])
        for _ in range(20):
            pair = match.next_pair(ann)
            assert pair is not None
            record_answer(ledger, pair["id"], "ab"[pair["shown"][0]["version"] == worse.number], ann)
        assert verdict_of(ledger, worse, serving).outcome == "worse"
    for words in (["v2"], ["v2", "--knowingly"]):
        assert "people find its answers worse" in malmoi(workspace, "versions", "promote", *words, code=2)
    assert "v2 is refused" in malmoi(workspace, "versions", "refuse", "v2")
