from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from malmoi.errors import ConfigError
from malmoi.files import write_text
from malmoi.pipeline.recipe import ORDER, READ_FROM, Recipe, find_recipe, read_recipe


def paths_of(module: str) -> set[str]:
    fields = import_module(f"malmoi.algorithms.{module}").Config.model_fields
    return {name for name, field in fields.items() if Path in (field.annotation, *get_args(field.annotation))}


def test_every_path_that_an_algorithm_reads_is_refused_in_a_recipe(tmp_path: Path) -> None:
    modules = {"pretrain", "sft", "reward", "judge", "ppo", "dpo", "grpo"}
    keys = {f"{stage}.{name}" for stage in modules for name in paths_of("reward" if stage == "judge" else stage)}
    assert keys == READ_FROM.keys()
    for key in keys:
        stage, _, name = key.partition(".")
        shipped = "nano" if stage in ("pretrain", "sft", "reward", "ppo") else "smollm"
        with pytest.raises(ConfigError, match=rf"--set: {key}: a recipe takes this from the stage"):
            read_recipe(find_recipe(shipped), [f"{key}=somewhere"])
        text = find_recipe(shipped).read_text(encoding="utf-8")
        write_text(tmp_path / "own.toml", text.replace(f"[{stage}]\n", f'[{stage}]\n{name} = "somewhere"\n'))
        with pytest.raises(ConfigError, match=rf"own\.toml: {key}: a recipe takes this"):
            read_recipe(tmp_path / "own.toml")


def test_a_table_of_no_stage_is_refused_but_stages_may_be_left_out_with_set(tmp_path: Path) -> None:
    text = find_recipe("nano").read_text(encoding="utf-8")
    write_text(tmp_path / "own.toml", text + "\n[dpo]\nn_steps = 3\n")
    with pytest.raises(ConfigError, match=r"own\.toml: dpo: is not among the stages"):
        read_recipe(tmp_path / "own.toml")
    assert read_recipe(find_recipe("nano"), ['stages=["corpus","tokenizer"]']).stages == ("corpus", "tokenizer")


@pytest.mark.parametrize("name", ["nano", "smollm"])
def test_recipes_that_come_with_malmoi_are_read(name: str) -> None:
    recipe = read_recipe(find_recipe(name))
    assert isinstance(recipe, Recipe) and set(recipe.stages) <= set(ORDER)


def test_a_folder_named_like_a_recipe_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    assert read_recipe(find_recipe("nano")).name == "nano"
    with pytest.raises(ConfigError, match=r"\./own: no such recipe; .*: nano, nano-small, smollm"):
        find_recipe("./own")
