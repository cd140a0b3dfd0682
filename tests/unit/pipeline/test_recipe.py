from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from malmoi.config import Settings
from malmoi.errors import ConfigError
from malmoi.files import write_text
from malmoi.pipeline.recipe import ORDER, READ_FROM, Recipe, find_recipe, read_recipe
from malmoi.pipeline.unused import OF_ALGORITHMS, OF_RECIPES


def paths_of(module: str) -> set[str]:
    return set(import_module(f"malmoi.algorithms.{module}").Inputs.model_fields)


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


@pytest.mark.parametrize(
    ("shipped", "given", "says"),
    [
        (
            "nano",
            ["corpus.text=mine", 'corpus.packages=["torch"]'],
            "corpus.packages: does nothing here: your own text",
        ),
        ("nano", ["corpus.text=mine", "demonstrations.n_unseen=7"], "demonstrations.n_unseen: does nothing"),
        ("nano", ["corpus.errors=skip"], "corpus.errors: does nothing here: it is about your text"),
        ("nano", ["corpus.min_chars=3"], "corpus.min_chars: does nothing"),
        ("nano", ["sft.lora.alpha=64"], r"sft.lora.alpha: does nothing here: lora.rank is 0; leave it out"),
        ("nano", ["ppo.lora={seed = 2}"], "ppo.lora.seed: does nothing"),
        ("nano", ["reward.loop.optim.momentum=0.9"], "reward.loop.optim.momentum: does nothing"),
        ("nano", ["ppo.loop.optim.final_lr_ratio=0.1"], "ppo.loop.optim.final_lr_ratio: does nothing"),
        ("nano", ["ppo.ptx_windows_per_answer=2"], "ppo.ptx_windows_per_answer: does nothing here: ptx_coef is 0"),
        ("nano", ["ppo.kl_target=6", "ppo.beta=0"], "ppo.kl_target: does nothing"),
        ("smollm", ["data.rankings=[]", "data.judge_fraction=0.2"], "data.judge_fraction: does nothing"),
        ("smollm", ["sft.loop.optim.head_lr=1e-3"], "sft.loop.optim.head_lr: does nothing"),
        ("smollm", ["judge.loop.optim.embedding_lr=1e-3"], "judge.loop.optim.embedding_lr: does nothing"),
    ],
)
def test_a_setting_that_another_one_makes_do_nothing_is_refused(shipped: str, given: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=f"--set: {says}") as error:
        read_recipe(find_recipe(shipped), given)
    assert "\n" not in str(error.value)


def test_a_file_may_hold_what_set_makes_unused_but_not_what_it_makes_unused_itself(tmp_path: Path) -> None:
    assert read_recipe(find_recipe("nano-small"), ["corpus.text=mine"]).demonstrations.n_unseen == 100
    assert read_recipe(find_recipe("smollm"), ["judge.lora.rank=0"]).judge is not None
    assert read_recipe(find_recipe("nano"), ["sft.lora.alpha=64", "sft.lora.rank=4", "ppo.ptx_coef=1"]).sft is not None
    own = find_recipe("nano").read_text(encoding="utf-8")
    write_text(tmp_path / "own.toml", own.replace("[corpus]\n", '[corpus]\ntext = "mine"\npackages = []\n'))
    with pytest.raises(ConfigError, match=r"own\.toml: corpus\.packages: does nothing here"):
        read_recipe(tmp_path / "own.toml")
    assert read_recipe(tmp_path / "own.toml", ['corpus.text=""']).corpus.packages == ()


def test_every_rule_names_settings_that_there_are() -> None:
    for rule in OF_RECIPES:
        for key in (rule.key, rule.switch):
            assert has(Recipe, key), key
    for name, rules in OF_ALGORITHMS.items():
        for rule in rules:
            for key in (rule.key, rule.switch):
                module = import_module(f"malmoi.algorithms.{name}")
                assert has(module.Config, key) or has(module.Inputs, key), f"{name}.{key}"


def has(schema: type[Settings], key: str) -> bool:
    name, _, rest = key.partition(".")
    if name not in schema.model_fields:
        return False
    kinds = (schema.model_fields[name].annotation, *get_args(schema.model_fields[name].annotation))
    return not rest or any(has(kind, rest) for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings))
