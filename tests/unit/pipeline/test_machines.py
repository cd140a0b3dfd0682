"""Plans for machines that are not here: what they count, what they refuse."""

from pathlib import Path

import pytest

from malmoi.cli.plan import show_elsewhere
from malmoi.errors import ConfigError, UserError
from malmoi.pipeline import estimate, machines
from malmoi.pipeline.machines import Need, find_machines, needs_on, plan_on
from malmoi.pipeline.memory import costs_of, shape_of
from malmoi.pipeline.recipe import find_recipe, read_recipe
from malmoi.pipeline.together import MOST_VALUES, Together

MICRO = "pretrain.micro_batch_size=1"


def pretraining(machines: str, *settings: str) -> Need:
    recipe = read_recipe(find_recipe("nano"), settings)
    return next(
        need for need in needs_on(recipe, shape_of(recipe), find_machines(machines)) if need.stage == "pretrain"
    )


def test_machines_are_read_from_a_table(tmp_path: Path) -> None:
    found = find_machines("8xh100")
    assert (found.name, found.n_ranks) == ("H100", 8) and found.kind is not None and found.kind.memory_gb == 80
    assert find_machines("A100").n_ranks == 1 and find_machines("2 x here").kind is None
    mine = tmp_path / "mine.toml"
    mine.write_text(
        "[B9]\ntflops = 2000\nmemory_gb = 200\nbandwidth_gb_s = 8000\nlink_gb_s = 900\nusd_per_hour = 5\n", "utf-8"
    )
    assert find_machines("4xB9", mine).name == "B9"
    for wrong in ("8xT5", "0xH100", "", "H100x8x", "9999999xH100"):
        with pytest.raises(ConfigError, match="kinds: A100, H100, H200, here"):
            find_machines(wrong)
    mine.write_text("[B9]\ntflops = -1\n", "utf-8")
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        find_machines("B9", mine)


def test_only_ranks_with_a_micro_batch_make_it_faster() -> None:
    one, two, all_in_one = pretraining("H100", MICRO), pretraining("2xH100", MICRO), pretraining("2xH100")
    assert one.n_ranks == 1 and two.n_ranks == 2 and one.n_steps == two.n_steps == all_in_one.n_steps
    assert one.seconds / 2 < two.seconds < 0.6 * one.seconds
    settings = read_recipe(find_recipe("nano"), ())["pretrain"]
    assert all_in_one.n_ranks == max(1, min(2, settings.batch_size // settings.micro_batch_size))


def test_sharding_takes_less_memory_of_each_rank_and_what_does_not_fit_is_named() -> None:
    large = (MICRO, "pretrain.model.n_layer=48", "pretrain.model.n_embd=8192", "pretrain.model.n_head=64",
             "pretrain.model.head_dim=128", "pretrain.model.n_ff=28672", "pretrain.batch_size=64")  # fmt: skip
    whole, sharded = pretraining("64xH100", *large), pretraining("64xH100", *large, "pretrain.loop.fsdp=true")
    assert sharded.memory_bytes < whole.memory_bytes and whole.memory_bytes > 80e9
    recipe = read_recipe(find_recipe("nano"), large)
    made = plan_on(recipe, shape_of(recipe), find_machines("64xH100"))
    assert "pretrain" in made["too_large"] and "corpus" not in made["too_large"]
    assert made["usd"] == pytest.approx(made["hours"] * 64 * 2.69)


def test_ranks_of_this_machine_are_tried_together() -> None:
    tiny = Path(__file__).parents[2] / "e2e" / "tiny.toml"
    recipe = read_recipe(tiny, ['stages=["corpus", "tokenizer", "pretrain"]', MICRO])
    training = costs_of(recipe, shape_of(recipe))["pretrain"].training
    assert training is not None
    with Together(shape_of(recipe), 2) as pair:
        assert pair.step(training) > 0
        assert pair.exchange(64 * MOST_VALUES) > pair.exchange(10) > 0
        pair._ranks[1].kill()
        with pytest.raises(UserError, match="--machines 2xhere: one of 2 processes ended"):
            pair.read(8)
            pair.read(9)


def test_what_is_not_tried_takes_the_time_that_doctor_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (estimate, machines):
        monkeypatch.setattr(module, "reading_ratio", lambda: 0.25)
    recipe = read_recipe(find_recipe("picture"), [])
    shape = shape_of(recipe)
    here = needs_on(recipe, shape, find_machines("2xhere"))
    doctor = estimate.estimate(recipe, shape, "float32")
    assert [need.seconds for need in here] == pytest.approx([one.seconds for one in doctor], rel=0.01)
    elsewhere = needs_on(recipe, shape, find_machines("1xH100"))
    assert [4 * need.seconds for need in here] == pytest.approx([need.seconds for need in elsewhere], rel=0.01)
    assert all(need.on_reference_s == need.seconds for need in elsewhere)
    assert not any(need.on_reference_s for need in here)


def test_time_that_is_not_of_the_machine_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = read_recipe(find_recipe("picture"), [])
    show_elsewhere(plan_on(recipe, shape_of(recipe), find_machines("1xH100")))
    assert "of one CPU core, not of H100: the time of pictures, clip, denoiser" in capsys.readouterr().out
