"""Stages of somebody's own, one file each: whatever Malmoi does with its stages, it does with these too."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from malmoi import stages
from malmoi.cli import app
from malmoi.errors import ConfigError
from malmoi.files import read_json, read_jsonl, sha256_of, write_jsonl
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.run import run_recipe
from malmoi.pipeline.watcher import Watcher
from malmoi.train.loop import Step
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

pytestmark = pytest.mark.usefixtures("float32", "own")
OWN = Path(__file__).with_name("own")
PICTURES = """
import json, sys
from malmoi import stages
stages.__path__.append(sys.argv[1])
from malmoi.pipeline.watcher import Watcher
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.run import run_recipe
from malmoi.workspace.folder import Workspace
run_recipe(Recipe.of({"stages": ["strokes"]}), Workspace.open(sys.argv[2]), Watcher())
print(json.dumps([name for name in sys.modules if name.startswith("malmoi.")]))
"""


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(OWN)])
    yield
    for name in ("opinions", "strokes"):
        sys.modules.pop(f"malmoi.stages.{name}", None)
    stages._load.cache_clear()


@pytest.fixture
def ring(policy_folder: Path, tmp_path: Path) -> dict[str, Any]:
    """From a model and conversations to a reward model, whose rankings come from the stage `opinions`."""
    said = [
        {"messages": [{"role": "user", "content": f"q{n}?"}, {"role": "assistant", "content": "a cat"}]}
        for n in range(40)
    ]
    write_jsonl(tmp_path / "chats.jsonl", said)
    write_jsonl(tmp_path / "prompts.jsonl", ({"prompt": f"p{n}?"} for n in range(40)))
    return {
        "name": "own",
        "stages": ["base", "data", "opinions", "reward"],
        "base": {"model": str(policy_folder)},
        "data": {
            "conversations": [str(tmp_path / "chats.jsonl")], "prompts": [str(tmp_path / "prompts.jsonl")],
            "heldout_fraction": 0.3, "longest": 32, "longest_prompt": 16,
        },
        "opinions": {"likes": "dog"},
        "reward": {"n_steps": 2, "batch_size": 4, "loop": {"checkpoint_every_s": 0}},
    }  # fmt: skip


def run(recipe: dict[str, Any], folder: Path, watcher: Watcher | None = None) -> dict[str, Any]:
    return run_recipe(Recipe.of(recipe), Workspace.open(folder), watcher or Watcher())


def call(*words: object) -> Any:
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_second_source_of_rankings_feeds_the_reward_model(ring: dict[str, Any], tmp_path: Path) -> None:
    done = run(ring, tmp_path / "w")
    assert read_json(done["reward"].out / "model" / "malmoi.json")["parents"]["opinions"] == done["opinions"].sha256
    assert all(made.skipped for made in run(ring, tmp_path / "w").values())
    ring["opinions"] = {"likes": "duck"}
    again = run(ring, tmp_path / "w")
    assert [stage for stage, made in again.items() if not made.skipped] == ["opinions", "reward"]
    with Ledger.open(Workspace.open(tmp_path / "w")) as ledger:
        above = {node.run.stage for node in ledger.lineage(again["reward"].run_id).walk()}
        assert {"opinions", "data", "base"} <= above
        below = {made.run_id for made in ledger.descendants(done["opinions"].sha256)}
        assert below == {done["reward"].run_id}
    assert [row["id"] for row in call("runs", "list", "--workspace", tmp_path / "w") if "opinions" in row["id"]] == [
        done["opinions"].run_id, again["opinions"].run_id,
    ]  # fmt: skip


def test_a_recipe_names_what_a_stage_reads(ring: dict[str, Any], tmp_path: Path) -> None:
    """A run, the first digits of a hash, an output folder, a run's folder, a file; each is hashed, and a parent."""
    first = run(ring, tmp_path / "w")
    made = first["opinions"]
    copied = tmp_path / "mine.jsonl"
    copied.write_bytes((made.out / "train.jsonl").read_bytes())
    ring["stages"], _ = ["base", "data", "reward"], ring.pop("opinions")
    with pytest.raises(ConfigError, match="stages: reward needs rankings before it, which data or judgements"):
        Recipe.of(ring)
    for name, sha256 in (
        (made.run_id, made.sha256), (made.sha256[:12], made.sha256), (str(made.out), made.sha256),
        (str(made.out.parent), made.sha256), (str(copied), sha256_of(copied)),
    ):  # fmt: skip
        ring["reward"]["reads"] = {"rankings": name}
        done = run(ring, tmp_path / "w")["reward"]
        assert not done.skipped
        assert read_json(done.out / "model" / "malmoi.json")["parents"]["rankings"] == sha256
        assert (done.out / "model" / "model.safetensors").read_bytes() == (
            first["reward"].out / "model" / "model.safetensors"
        ).read_bytes()
        with Ledger.open(Workspace.open(tmp_path / "w")) as ledger:
            assert sha256 in {node.artefact.sha256 for node in ledger.lineage(done.run_id).walk() if node.artefact}
    for name, says in (("nowhere", "no stage, model, run, hash or path"), (str(tmp_path / "w"), "holds no rankings")):
        ring["reward"]["reads"] = {"rankings": name}
        with pytest.raises(ConfigError, match=f"reward.reads.rankings: .*{says}"):
            run(ring, tmp_path / "w")


def test_a_model_of_the_workspace_is_named_and_another_kind_is_refused(ring: dict[str, Any], tmp_path: Path) -> None:
    done = run(ring, tmp_path / "w")
    ring["reward"] |= {"reads": {"policy": "base"}, "seed": 5}
    second = run(ring, tmp_path / "w")["reward"]
    assert not second.skipped and second.sha256 != done["reward"].sha256
    ring["reward"] |= {"reads": {"policy": "data"}}
    with pytest.raises(ConfigError, match=r"reward\.reads\.policy: stage data makes no policy or base"):
        Recipe.of(ring)


def test_pictures_are_learned_resumed_and_traced_without_text(tmp_path: Path) -> None:
    class Stopping(Watcher):
        def step(self, step: Step) -> None:
            if step.step == 5:
                raise KeyboardInterrupt

    recipe = {"stages": ["strokes"], "strokes": {"loop": {"checkpoint_every_s": 0}}}
    whole = run(recipe, tmp_path / "whole")["strokes"]
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "w", Stopping())
    [row] = call("runs", "list", "--workspace", tmp_path / "w")
    assert (row["stage"], row["status"]) == ("strokes", "stopped")
    again = run(recipe, tmp_path / "w")["strokes"]
    assert (again.run_id, again.sha256) == (row["id"], whole.sha256)
    assert [step["step"] for step in read_jsonl(again.out.parent / "metrics.jsonl")] == [*range(1, 9)]
    assert call("lineage", again.sha256[:12], "--workspace", tmp_path / "w")[0]["run"]["id"] == again.run_id


def test_a_recipe_of_pictures_loads_no_algorithm_of_text(tmp_path: Path) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", PICTURES, str(OWN), str(tmp_path / "w")], capture_output=True, text=True, check=True
    ).stdout
    assert not [name for name in json.loads(loaded) if name.startswith(("malmoi.algorithms.", "malmoi.evals."))]


def test_they_are_listed_planned_and_reported(tmp_path: Path) -> None:
    listed = {row["name"]: row for row in call("stages")}
    assert listed["opinions"]["makes"]["rankings"]["train"] == "train.jsonl"
    assert listed["strokes"]["reads"] == {}
    (tmp_path / "pictures.toml").write_text('stages = ["strokes"]\n')
    planned = call("doctor", tmp_path / "pictures.toml", "--workspace", tmp_path / "w")
    assert planned["recipe"]["stages"]["strokes"]["memory_bytes"] > 0
    assert planned["recipe"]["settings"]["strokes"]["n_steps"] == 8
    done = CliRunner().invoke(app, ["run", str(tmp_path / "pictures.toml"), "--workspace", str(tmp_path / "w")])
    assert done.exit_code == 0, done.output
    assert "strokes" in (tmp_path / "w" / "report.html").read_text(encoding="utf-8")
