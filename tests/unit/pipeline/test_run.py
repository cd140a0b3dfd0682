"""What is recorded of a run, however it ends. The stages are the smallest there are: text of one's own, and a model."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from malmoi.errors import DataError
from malmoi.files import read_jsonl, sha256_of, write_jsonl, write_text
from malmoi.pipeline.estimate import Trials, estimate_remaining
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.run import remaining_work, run_recipe
from malmoi.pipeline.watcher import Watcher
from malmoi.train.loop import Step
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.locks import InUseError
from malmoi.workspace.models import remove_model
from malmoi.workspace.runs import list_runs, show_run
from malmoi.workspace.transfer import import_model

pytestmark = pytest.mark.usefixtures("float32")
CRASH = """
import os, signal, sys
from pathlib import Path
from malmoi.pipeline.watcher import Watcher
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.run import run_recipe
from malmoi.workspace.folder import Workspace
class Killed(Watcher):
    def say(self, line):
        print("said", flush=True)
        (Path(sys.argv[1]) / "runs" / "0001-base" / "out" / ".rows.jsonl.7.7.partial").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
run_recipe(Recipe.of({"stages": ["base"], "base": {"model": sys.argv[2]}}), Workspace.open(sys.argv[1]), Killed())
"""


class Crashing(Watcher):
    """Fails as a GPU might, once a stage has something to say."""

    def say(self, line: str) -> None:
        warnings.warn("it is getting hot", UserWarning, stacklevel=1)
        raise RuntimeError("CUDA error: an illegal memory access")


def recipe(policy_folder: Path, **more: Any) -> Recipe:
    return Recipe.of({"stages": ["base"], "base": {"model": str(policy_folder)}, **more})


def listed(workspace: Workspace) -> list[tuple[str, str]]:
    with Ledger.open(workspace) as ledger:
        return [(row["id"], row["status"]) for row in list_runs(ledger) if row["stage"] != "import"]


def shown(workspace: Workspace, name: str) -> dict[str, Any]:
    with Ledger.open(workspace) as ledger:
        return show_run(ledger, name)


def test_a_crash_is_a_failed_run_whose_log_says_where_and_the_next_run_goes_on(
    policy_folder: Path, tmp_path: Path
) -> None:
    workspace = Workspace.open(tmp_path / "w")
    with pytest.warns(UserWarning, match="it is getting hot"), pytest.raises(RuntimeError):
        run_recipe(recipe(policy_folder), workspace, Crashing())
    run_id, status = listed(workspace)[0]
    assert status == "failed"
    row = shown(workspace, run_id)
    assert row["error"] == "RuntimeError: CUDA error: an illegal memory access"
    log = "\n".join(row["log"])
    assert "warning: UserWarning: it is getting hot" in log
    assert "Traceback" in log and "in say" in log
    done = run_recipe(recipe(policy_folder), workspace, Watcher())
    assert done["base"].run_id == run_id and listed(workspace) == [(run_id, "done")]
    log = "\n".join(shown(workspace, run_id)["log"])
    assert "base goes on" in log and "million weights" in log and "done in" in log


def test_a_killed_run_is_stopped_and_leaves_nothing_in_what_is_made(policy_folder: Path, tmp_path: Path) -> None:
    workspace, whole = Workspace.open(tmp_path / "w"), Workspace.open(tmp_path / "whole")
    # The base model is recorded first, as an import: so the run to be killed gets a number that is known.
    run_recipe(recipe(policy_folder), whole, Watcher())
    run_id = listed(whole)[0][0]
    script = CRASH.replace("0001-base", run_id)
    killed = subprocess.run([sys.executable, "-c", script, str(workspace.path), str(policy_folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert listed(workspace) == [(run_id, "stopped")]
    with workspace.running(run_id):
        assert listed(workspace) == [(run_id, "running")]
    made = run_recipe(recipe(policy_folder), workspace, Watcher())["base"]
    assert made.sha256 == sha256_of(whole.runs / run_id / "out")
    assert not list(workspace.runs.rglob("*.partial"))


def test_a_model_has_its_name_once_its_stage_ends_even_if_a_later_one_fails(
    policy_folder: Path, tmp_path: Path
) -> None:
    class Second(Watcher):
        def started(self, stage: str, run_id: str, resumed: bool) -> None:
            if stage == "data":
                raise RuntimeError("crash")

    write_text(tmp_path / "chats.jsonl", '{"messages": [{"role": "user", "content": "a"}]}\n')
    workspace = Workspace.open(tmp_path / "w")
    both = recipe(policy_folder, stages=["base", "data"], data={"conversations": [str(tmp_path / "chats.jsonl")]})
    with pytest.raises(RuntimeError):
        run_recipe(both, workspace, Second())
    assert (workspace.models / "base" / "model.safetensors").exists()
    assert os.readlink(workspace.models / "base").startswith("../runs/")


def test_no_model_is_removed_that_the_recipe_has_read_or_made(policy_folder: Path, tmp_path: Path) -> None:
    class Removing(Watcher):
        def started(self, stage: str, run_id: str, resumed: bool) -> None:
            for name in ("smol", "base") if stage == "data" else ("smol",):
                with pytest.raises(InUseError, match=f"{name} .* is in use by"):
                    remove_model(workspace, name)
                tried.append(name)
            if stage == "data":
                raise RuntimeError("enough")

    tried: list[str] = []
    write_text(tmp_path / "chats.jsonl", '{"messages": [{"role": "user", "content": "a"}]}\n')
    workspace = Workspace.open(tmp_path / "w")
    import_model(workspace.path, str(policy_folder), "smol", reserved=())
    data = {"conversations": [str(tmp_path / "chats.jsonl")]}
    both = {"stages": ["base", "data"], "base": {"model": "smol"}, "data": data}
    with pytest.raises(RuntimeError, match="enough"):
        run_recipe(Recipe.of(both), workspace, Removing())
    assert tried == ["smol", "smol", "base"]
    assert remove_model(workspace, "smol") and remove_model(workspace, "base")


def test_only_what_is_left_of_an_interrupted_training_is_planned(
    policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that was stopped in the middle counts the steps behind its checkpoint, and from its start when forced."""
    chats = [
        {"messages": [{"role": "user", "content": "a" * n}, {"role": "assistant", "content": "b"}]} for n in range(1, 9)
    ]
    write_jsonl(tmp_path / "chats.jsonl", chats)
    sft = {"n_steps": 8, "batch_size": 2, "lora": {"rank": 2}}
    sft |= {"loop": {"checkpoint_every_s": 0, "optim": {"name": "muon"}}}
    data = {"conversations": [str(tmp_path / "chats.jsonl")], "heldout_fraction": 0.3}
    with_sft = recipe(policy_folder, stages=["base", "data", "sft"], data=data, sft=sft)
    workspace = Workspace.open(tmp_path / "w")

    class Stopping(Watcher):
        def step(self, step: Step) -> None:
            if step.step == 6:
                raise KeyboardInterrupt

    assert remaining_work(with_sft, workspace) == (("base", "data", "sft"), 0)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(with_sft, workspace, Stopping())
    assert remaining_work(with_sft, workspace) == (("sft",), 5)  # the checkpoint of the sixth step was not written yet
    assert (
        remaining_work(with_sft, workspace, start="sft")
        == remaining_work(with_sft, workspace, only="sft")
        == (("sft",), 0)
    )
    monkeypatch.setattr(Trials, "step", lambda *_: 2.0)
    (estimated,) = estimate_remaining(with_sft, workspace, "float32")
    assert estimated.seconds == pytest.approx(8 * 2.0 * 3 / 8)
    assert [step["step"] for step in metrics(workspace)] == [1, 2, 3, 4, 5, 6]
    run_recipe(with_sft, workspace, Watcher())
    assert [step["step"] for step in metrics(workspace)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert remaining_work(with_sft, workspace) == ((), 0)


def test_nothing_is_trained_on_rankings_that_all_tie_and_the_rest_goes_on(policy_folder: Path, tmp_path: Path) -> None:
    told: dict[str, str] = {}

    class Listening(Watcher):
        def left_out(self, stage: str, why: str) -> None:
            told[stage] = why

    def with_ranks(*ranks: int) -> Recipe:
        rows = [
            {"messages": [{"role": "user", "content": "a" * n}], "answers": ["b", "c"], "ranks": ranks}
            for n in range(1, 9)
        ]
        write_jsonl(tmp_path / "ranked.jsonl", rows)
        chats = [{"messages": [*row["messages"], {"role": "assistant", "content": "b"}]} for row in rows]
        write_jsonl(tmp_path / "chats.jsonl", chats)
        sources = {"conversations": ["chats.jsonl"], "rankings": ["ranked.jsonl"]}
        data = {name: [str(tmp_path / one) for one in those] for name, those in sources.items()}
        steps = {"n_steps": 1, "batch_size": 2}
        stages = ["base", "data", "reward", "grpo", "sft"]
        grpo = {"n_iterations": 1, "batch_size": 4, "group_size": 2, "max_tokens": 4}
        return recipe(
            policy_folder, stages=stages, data={**data, "heldout_fraction": 0.3}, reward=steps, grpo=grpo, sft=steps
        )

    workspace = Workspace.open(tmp_path / "w")
    done = run_recipe(with_ranks(1, 1), workspace, Listening())
    assert list(done) == ["base", "data", "sft"]
    assert "all answers to each prompt tie" in told["reward"] and told["grpo"] == "needs what reward makes"
    assert remaining_work(with_ranks(1, 1), workspace) == ((), 0)
    with pytest.raises(DataError, match="reward: all answers to each prompt tie"):
        run_recipe(with_ranks(1, 1), workspace, Watcher(), only="reward")
    assert "grpo" in run_recipe(with_ranks(1, 2), workspace, Watcher())


def metrics(workspace: Workspace) -> list[dict[str, Any]]:
    return read_jsonl(next(workspace.runs.glob("*-sft")) / "metrics.jsonl")
