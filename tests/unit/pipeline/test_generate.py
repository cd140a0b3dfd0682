"""A recipe whose answers come from a vLLM server makes the same models: here a stand-in with our own engine inside."""

from pathlib import Path
from typing import Any

import pytest

from malmoi.errors import ConfigError, UserError
from malmoi.files import read_json, read_jsonl, sha256_of, write_jsonl
from malmoi.pipeline.recipe import Recipe, read_recipe
from malmoi.pipeline.run import run_recipe
from malmoi.pipeline.watcher import Watcher
from malmoi.workspace.folder import Workspace
from tests.vllm_stand_in import VllmStandIn

pytestmark = pytest.mark.usefixtures("float32")


def recipe_of(policy: Path, tmp_path: Path, **generate: Any) -> Recipe:
    rows = [
        {"messages": [{"role": "user", "content": "a" * n}], "answers": ["b", "c"], "ranks": [1, 2]}
        for n in range(1, 9)
    ]
    write_jsonl(tmp_path / "ranked.jsonl", rows)
    chats = [{"messages": [*row["messages"], {"role": "assistant", "content": "b"}]} for row in rows]
    write_jsonl(tmp_path / "chats.jsonl", chats)
    sources = {"conversations": "chats.jsonl", "rankings": "ranked.jsonl"}
    data = {name: [str(tmp_path / one)] for name, one in sources.items()} | {"heldout_fraction": 0.3}
    rollouts = {"n_iterations": 2, "batch_size": 4, "max_tokens": 5, "temperature": 0.8}
    return Recipe.of(
        {
            "stages": ["base", "data", "reward", "grpo", "ppo"], "base": {"model": str(policy)}, "data": data,
            "reward": {"n_steps": 1, "batch_size": 2},
            "grpo": rollouts | {"group_size": 2}, "ppo": rollouts | {"n_epochs": 1},
            **({"generate": generate} if generate else {}),
        }
    )  # fmt: skip


def test_answers_and_trained_models_are_the_same_and_a_dying_server_changes_nothing(
    policy_folder: Path, tmp_path: Path
) -> None:
    own, other = Workspace.open(tmp_path / "own"), Workspace.open(tmp_path / "other")
    expected = run_recipe(recipe_of(policy_folder, tmp_path), own, Watcher())
    with VllmStandIn(policy_folder) as server:
        server.dies_after = 9
        recipe = recipe_of(policy_folder, tmp_path, backend="vllm", url=server.url, patience_s=9)
        found = run_recipe(recipe, other, Watcher())
        assert server.n_deaths == 1 and server.n_loads >= 2 * 2
        n_asked = server.n_asked
        assert all(one.skipped for one in run_recipe(recipe_of(policy_folder, tmp_path), other, Watcher()).values())
    assert server.n_asked == n_asked
    for stage in ("grpo", "ppo"):
        assert sha256_of(found[stage].out / "model" / "model.safetensors") == sha256_of(
            expected[stage].out / "model" / "model.safetensors"
        )
        folder = other.runs / found[stage].run_id
        assert all(abs(row["generator_gap"]) < 1e-5 for row in read_jsonl(folder / "metrics.jsonl"))
        assert read_json(folder / "config.json")["generate"]["backend"] == "vllm"
        assert not (folder / "served").exists()


def test_a_job_keeps_who_answers(policy_folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(policy_folder, tmp_path, backend="vllm", url="http://127.0.0.1:9")
    assert Recipe.of(recipe.table()).generate == recipe.generate
    assert "generate" not in recipe_of(policy_folder, tmp_path).table()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["generate.backend=vlm"], "generate.backend: "),
        (["generate.backend=vllm", "generate.url=localhost"], "generate.*no address of a server"),
        (["generate.url=http://127.0.0.1:1"], "generate.url: has no effect|generate.url"),
        (["generate.temperature=1"], "generate.temperature"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('stages = ["base"]\n[base]\nmodel = "x"\n')
    with pytest.raises(ConfigError, match=said):
        read_recipe(tmp_path / "own.toml", given)


def test_a_server_that_is_away_ends_the_run_with_one_line(policy_folder: Path, tmp_path: Path) -> None:
    recipe = recipe_of(policy_folder, tmp_path, backend="vllm", url="http://127.0.0.1:9", patience_s=0.1)
    workspace = Workspace.open(tmp_path / "w")
    with pytest.raises(UserError, match=r"vLLM at http://127\.0\.0\.1:9: .*is it running there"):
        run_recipe(recipe, workspace, Watcher())
    assert not [*workspace.runs.glob("*/served")]
