from pathlib import Path
from typing import get_args

import pytest

from malmoi.config import Settings
from malmoi.errors import ConfigError
from malmoi.files import write_text
from malmoi.pipeline.recipe import Recipe, find_recipe, read_recipe
from malmoi.stages import find_stage, stage_names

STAGES = [find_stage(name) for name in stage_names()]


def test_every_path_that_an_algorithm_reads_is_refused_in_a_recipe(tmp_path: Path) -> None:
    # KTO is a stage of no shipped recipe: it learns from votes, which there are in a service.
    own = [stage for stage in STAGES if stage.name != "kto"]
    keys = {f"{stage.name}.{name}" for stage in own if stage.Inputs for name in stage.Inputs.model_fields}
    assert {"pretrain.shards", "sft.model", "judge.data", "ppo.reward_model", "grpo.policy"} <= keys
    for key in keys:
        stage, _, name = key.partition(".")
        of_pictures = stage in ("clip", "denoiser", "consistency")
        came_before = stage in ("vae", "gan", "autoencoder")
        shipped = "nano" if stage in ("pretrain", "sft", "reward", "ppo") else "picture" if of_pictures else "smollm"
        shipped = "picture-lora" if stage == "picture_lora" else shipped
        shipped = "picture-before" if came_before else shipped
        with pytest.raises(ConfigError, match=rf"--set: {key}: a recipe takes what a stage reads from the stages"):
            read_recipe(find_recipe(shipped), [f"{key}=somewhere"])
        text = find_recipe(shipped).read_text(encoding="utf-8")
        write_text(tmp_path / "own.toml", text.replace(f"[{stage}]\n", f'[{stage}]\n{name} = "somewhere"\n'))
        with pytest.raises(ConfigError, match=rf"own\.toml: {key}: a recipe takes what"):
            read_recipe(tmp_path / "own.toml")


def test_a_table_of_no_stage_is_refused_but_stages_may_be_left_out_with_set(tmp_path: Path) -> None:
    text = find_recipe("nano").read_text(encoding="utf-8")
    write_text(tmp_path / "own.toml", text + "\n[dpo]\nn_steps = 3\n")
    with pytest.raises(ConfigError, match=r"own\.toml: dpo: is not among the stages"):
        read_recipe(tmp_path / "own.toml")
    assert read_recipe(find_recipe("nano"), ['stages=["corpus","tokenizer"]']).stages == ("corpus", "tokenizer")


@pytest.mark.parametrize("name", ["nano", "nano-small", "smollm", "answers"])
def test_recipes_that_come_with_malmoi_are_read_and_written_as_tables(name: str) -> None:
    recipe = read_recipe(find_recipe(name))
    assert Recipe.of(recipe.table()) == recipe


def test_a_recipe_asks_only_for_the_settings_of_its_stages(tmp_path: Path) -> None:
    short = 'stages = ["base", "data", "dpo"]\n[data]\nrankings = ["a"]\n[dpo]\nn_steps = 1\n'
    write_text(tmp_path / "short.toml", short)
    recipe = read_recipe(tmp_path / "short.toml", ["seed=7"])
    assert list(recipe.settings) == ["base", "data", "dpo"] and recipe["dpo"].seed == 7
    with pytest.raises(ConfigError, match=r"--set: dpo\.n_steps: missing"):
        read_recipe(tmp_path / "short.toml", ["dpo={}"])


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ('stages=["corpus","corpus"]', "--set: stages: corpus is listed twice"),
        ("stages=[]", "--set: stages: expected a list"),
        ('stages=["corpus","pretrian"]', '--set: stages: pretrian: no such stage; did you mean "pretrain"'),
        ('stages=["tokenizer","corpus"]', "--set: stages: tokenizer needs documents before it, which corpus makes"),
        ("seed=-1", "--set: seed: "),
        ("pretrian.n_steps=3", '--set: pretrian: unknown setting; did you mean "pretrain"'),
        ("ppo.bta=3", '--set: ppo.bta: unknown setting; did you mean "beta"'),
        ("sft=3", "--set: sft: "),
        ("ppo.reads.polcy=x", '--set: ppo.reads.polcy: no such role; did you mean "policy"'),
        (
            "ppo.reads.policy=eval",
            "--set: ppo.reads.policy: stage eval makes no policy or base or aligned policy before ppo",
        ),
        ("ppo.reads=x", "--set: ppo.reads: expected a name or a path for each role"),
        (
            "pretrain.model.n_layer=1",
            "nano.toml with --set pretrain.model.n_layer: pretrain: copying: needs two layers",
        ),
    ],
)
def test_what_a_recipe_cannot_mean_is_refused_in_one_line(assignment: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_recipe(find_recipe("nano"), [assignment])
    assert str(error.value).startswith(says) and "\n" not in str(error.value)


def test_a_folder_named_like_a_recipe_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    assert read_recipe(find_recipe("nano")).name == "nano"
    names = "answers, nano, nano-small, picture, picture-before, picture-lora, smollm, web"
    with pytest.raises(ConfigError, match=rf"\./own: no such recipe; .*: {names}"):
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
        (
            "picture",
            ["denoiser.loop.recompute=true"],
            "denoiser.loop.recompute: does nothing here: networks of pictures",
        ),
        ("picture", ["clip.loop.fsdp=true"], "clip.loop.fsdp: does nothing here: networks of pictures are whole"),
        ("picture-before", ["gan.loop.compile=true"], "gan.loop.compile: does nothing here: it compiles blocks"),
        ("nano", ["ppo.ptx_windows_per_answer=2"], "ppo.ptx_windows_per_answer: does nothing here: ptx_coef is 0"),
        ("nano", ["ppo.kl_target=6", "ppo.beta=0"], "ppo.kl_target: does nothing"),
        (
            "smollm",
            ['stages=["base","data","sft"]', "data.rankings=[]", "data.judge_fraction=0.2"],
            "data.judge_fraction: does nothing",
        ),
        ("smollm", ["sft.loop.optim.head_lr=1e-3"], "sft.loop.optim.head_lr: does nothing"),
        ("smollm", ["dpo.loop.optim.embedding_lr=1e-3"], "dpo.loop.optim.embedding_lr: does nothing"),
    ],
)
def test_a_setting_that_another_one_makes_do_nothing_is_refused(shipped: str, given: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=f"--set: {says}") as error:
        read_recipe(find_recipe(shipped), given)
    assert "\n" not in str(error.value)


def test_a_file_may_hold_what_set_makes_unused_but_not_what_it_makes_unused_itself(tmp_path: Path) -> None:
    assert read_recipe(find_recipe("nano-small"), ["corpus.text=mine"])["demonstrations"].n_unseen == 100
    assert read_recipe(find_recipe("smollm"), ["dpo.lora.rank=0"])["dpo"] is not None
    assert read_recipe(find_recipe("nano"), ["sft.lora.alpha=64", "sft.lora.rank=4", "ppo.ptx_coef=1"])["sft"]
    own = find_recipe("nano").read_text(encoding="utf-8")
    write_text(tmp_path / "own.toml", own.replace("[corpus]\n", '[corpus]\ntext = "mine"\n'))
    with pytest.raises(ConfigError, match=r"own\.toml: corpus\.packages: does nothing here"):
        read_recipe(tmp_path / "own.toml")
    assert read_recipe(tmp_path / "own.toml", ['corpus.text=""'])["corpus"].packages == ()


def test_every_rule_names_settings_that_there_are() -> None:
    for stage in STAGES:
        for rule in stage.unused:
            assert has(stage.Settings, rule.key) or (stage.Inputs and has(stage.Inputs, rule.key)), (stage.name, rule)
            role = rule.switch.removeprefix("reads.")
            assert has(stage.Settings, rule.switch) or role in stage.reads, (stage.name, rule)


def has(schema: type[Settings], key: str) -> bool:
    name, _, rest = key.partition(".")
    if name not in schema.model_fields:
        return False
    kinds = (schema.model_fields[name].annotation, *get_args(schema.model_fields[name].annotation))
    return not rest or any(has(kind, rest) for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings))
