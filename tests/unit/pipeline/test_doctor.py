import json
from dataclasses import replace
from pathlib import Path

import pytest

from malmoi.cli import plan
from malmoi.cost import TrainingCost
from malmoi.errors import ConfigError
from malmoi.model.lora import LoraConfig, add_lora
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline import doctor
from malmoi.pipeline import estimate as estimates
from malmoi.pipeline.doctor import Machine, inspect_machine, refusals
from malmoi.pipeline.estimate import Trials, estimate
from malmoi.pipeline.memory import (
    BASE_BYTES,
    disk_of,
    learned_of,
    memory_of,
    parts_of,
    shape_of,
    training_costs_of,
)
from malmoi.pipeline.recipe import Recipe, find_recipe, read_recipe
from malmoi.train.optim import OptimConfig

pytestmark = pytest.mark.usefixtures("float32")
SMALL = (
    "tokenizer.vocab_size=300", "pretrain.n_steps=6", "pretrain.model.n_layer=1", "pretrain.model.n_embd=16",
    "pretrain.copying=false",
    "pretrain.model.n_head=1", "pretrain.model.n_kv_head=1", "pretrain.model.head_dim=8", "pretrain.model.n_ff=16",
    "pretrain.model.seq_len=64", "sample.max_tokens=8", "ppo.max_tokens=8", "eval.max_tokens=8",
)  # fmt: skip
AMPLE = Machine("cpu", 2, (), None, "float32", 8 * 10**9, 8 * 10**9, 10**12, 0.0)


def nano(*assignments: str) -> Recipe:
    return read_recipe(find_recipe("nano"), list(assignments))


def test_this_machine_is_described() -> None:
    found = inspect_machine(Path("no/such/folder"))
    assert found.n_cores >= 1
    assert 0 < found.free_memory_bytes <= found.memory_bytes
    assert found.free_disk_bytes > 0
    assert found.compute_dtype == "float32"


def test_the_shipped_recipe_fits_a_small_machine() -> None:
    assert refusals(nano(), replace(AMPLE, free_memory_bytes=3 * 10**9)) == []


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("tokenizer.vocab_size=100000000", ("nano: pretrain: needs about", "lower tokenizer.vocab_size")),
        ("pretrain.model.n_embd=16384", ("nano: pretrain: needs about", "memory", "lower pretrain.model.n_embd")),
        ("pretrain.model.n_ff=4000000", ("nano: pretrain: needs about", "lower pretrain.model.n_ff")),
        ("pretrain.model.n_layer=1000", ("nano: pretrain: needs about", "lower pretrain.model.n_layer")),
        ("pretrain.model.vocab_size=100000000", ("nano: sft: needs about", "lower pretrain.model.vocab_size")),
        (
            "pretrain.copying=false pretrain.model.seq_len=400000",
            ("nano: pretrain: needs about", "lower pretrain.model.seq_len"),
        ),
        (
            "ppo.ptx_coef=1 ppo.ptx_windows_per_answer=80 ppo.micro_batch_size=2000",
            ("nano: ppo: needs about", "lower ppo.micro_batch_size"),
        ),
        ("ppo.micro_batch_size=100000 ppo.batch_size=100000", ("ppo: needs about", "lower ppo.micro_batch_size")),
        ("pretrain.model.seq_len=20", ("sample.max_tokens", "no room for a prompt", "seq_len 20")),
        ("ppo.max_tokens=320", ("ppo.max_tokens: answers of 320", "seq_len 320")),
    ],
)
def test_what_cannot_fit_is_refused_with_what_to_lower(assignment: str, words: tuple[str, ...]) -> None:
    found = refusals(nano(*assignment.split()), AMPLE)
    assert any(all(word in reason for word in words) for reason in found), found
    assert not any("\n" in reason for reason in found)


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    assert any("holds no text" in reason for reason in refusals(nano(f"corpus.text={tmp_path}"), AMPLE))


def test_a_full_disk_is_refused_unless_only_the_impossible_is() -> None:
    full = replace(AMPLE, free_disk_bytes=10**6)
    assert "disk: about" in refusals(nano(), full)[0]
    assert refusals(nano(), full, use_total=True) == []
    busy = replace(AMPLE, free_memory_bytes=10**6)
    assert refusals(nano(), busy)
    assert refusals(nano(), busy, use_total=True) == []


def test_own_text_counts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("word " * 10)
    recipe = nano(f'corpus.text="{tmp_path}"')
    assert refusals(recipe, AMPLE) == []  # so little is repeated
    assert disk_of(nano(), shape_of(nano())) - disk_of(recipe, shape_of(nano())) == 4 * (2_500_000 - 50)


def test_the_work_is_counted_in_micro_batches() -> None:
    recipe = nano(
        "pretrain.n_steps=10", "pretrain.batch_size=7", "pretrain.micro_batch_size=3", "ppo.n_iterations=3",
        "ppo.n_epochs=2", "ppo.n_minibatches=4", "ppo.batch_size=32", "ppo.micro_batch_size=4", "reward.batch_size=5",
        "reward.micro_batch_size=99", "reward.n_steps=2",
    )  # fmt: skip
    works = {work.stage: work for work in training_costs_of(recipe, shape_of(recipe))}
    assert works["pretrain"].n_micros == 10 * 3
    assert (works["reward"].n_micros, works["reward"].rows) == (2, 5 * recipe["sample"].n_answers)
    assert (works["ppo"].n_micros, works["ppo"].n_answers) == (3 * 2 * 4 * 2, 3 * 32)
    assert list(works) == ["pretrain", "sft", "reward", "ppo"]
    short = nano('stages=["corpus", "tokenizer", "pretrain"]')
    assert [work.stage for work in training_costs_of(short, shape_of(short))] == ["pretrain"]


def test_memory_is_weights_gradients_optimizer_and_activations() -> None:
    shape = shape_of(nano("pretrain.model.n_layer=30", "pretrain.model.n_embd=1024"))
    n = shape.n_parameters()
    tiny = TrainingCost("text", OptimConfig(name="adamw"), 1, 1, 1, 1)
    # Without activations to speak of, a checkpoint being written is the peak: three copies of weights and moments.
    assert memory_of(tiny, shape, "float32") == pytest.approx(BASE_BYTES + 3 * 12 * n, rel=1e-3)
    muon = replace(tiny, optim=OptimConfig(name="muon"))
    assert memory_of(muon, shape, "float32") < memory_of(tiny, shape, "float32")
    rows = [memory_of(replace(tiny, rows=rows, longest=256), shape, "float32") for rows in (64, 128, 192)]
    assert rows[2] - rows[1] == pytest.approx(rows[1] - rows[0])
    assert rows[0] > memory_of(tiny, shape, "float32")


def test_the_estimate_adds_up_and_follows_the_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "TRIAL_S", 0.05)
    recipe = nano(*SMALL)
    needs = {need.stage: need for need in estimate(recipe, shape_of(recipe), "float32")}
    assert list(needs) == list(recipe.stages)
    assert all(need.seconds > 0 and need.memory_bytes >= BASE_BYTES for need in needs.values())
    longer = nano(*SMALL, "pretrain.n_steps=6000")
    more = {need.stage: need for need in estimate(longer, shape_of(longer), "float32", ["pretrain"])}
    assert list(more) == ["pretrain"]
    assert more["pretrain"].seconds > 50 * needs["pretrain"].seconds


def test_a_large_network_is_tried_in_part() -> None:
    recipe = nano(*SMALL, "pretrain.model.n_layer=400", "pretrain.model.n_embd=64", "pretrain.model.n_ff=256")
    shape = shape_of(recipe)
    part, rows = Trials(shape, flops=1e8).part_of(64, 2, 8)
    assert part.n_layer < 10
    assert rows == 2
    whole, rows = Trials(shape, flops=1e15).part_of(64, 2, 8)
    assert (whole.n_layer, rows) == (400, 8)


def test_trials_are_scaled_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "TRIAL_S", 0.02)
    recipe = nano(*SMALL)
    trials = Trials(shape_of(recipe), flops=1e7)
    work = training_costs_of(recipe, shape_of(recipe))[0]
    once = trials.step(work)
    assert once > 0
    assert trials.step(replace(work, rows=2 * work.rows)) == pytest.approx(2 * once)
    assert trials.read(20) == pytest.approx(2 * trials.read(10))
    assert trials.answer(10, 5) == pytest.approx(trials.answer(20, 10) / 2)


@pytest.mark.parametrize("seq_len", [40, 600, 5000])
def test_contexts_of_any_length_are_tried(seq_len: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "TRIAL_S", 0.02)
    recipe = nano(*SMALL, f"pretrain.model.seq_len={seq_len}", "ppo.ptx_coef=1")
    trials = Trials(shape_of(recipe), flops=1e6)
    for work in training_costs_of(recipe, shape_of(recipe)):
        assert all(trials.step(part) > 0 for part in parts_of(work))
    assert trials.read(seq_len) > 0 and trials.answer(seq_len, 3) > 0


def test_adapters_are_counted_as_they_are_made_and_moved_as_configured() -> None:
    recipe = nano("sft.lora.rank=512", "sft.lora.frozen_share=0.5")
    shape = shape_of(recipe).model_copy(update={"n_layer": 6})
    work = replace(next(work for work in training_costs_of(recipe, shape) if work.stage == "sft"), rows=1, longest=1)
    assert work.optim.name == "muon"
    model = LanguageModel(shape)
    add_lora(model, work.lora)
    n_learned = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert learned_of(shape, work.lora).n_matrices == n_learned
    adamw = replace(work, optim=OptimConfig(name="adamw"))
    # A checkpoint on its way to the disk is the peak: three copies of what learns and of the moments.
    fewer = memory_of(adamw, shape, "float32") - memory_of(work, shape, "float32")
    assert fewer == pytest.approx(3 * 4 * n_learned)
    few, whole = replace(work, lora=LoraConfig(rank=8)), replace(work, lora=LoraConfig())
    assert memory_of(few, shape, "float32") < memory_of(whole, shape, "float32")
    assert learned_of(shape, LoraConfig()).n_matrices + learned_of(shape, LoraConfig()).n_others == (
        shape.n_parameters()
    )


def test_adapters_need_no_second_policy_and_an_average_is_one_more_of_all_that_learns() -> None:
    recipe = read_recipe(find_recipe("smollm"), [])
    works = {work.stage: work for work in training_costs_of(recipe, shape_of(recipe))}
    assert [works[stage].n_frozen for stage in ("sft", "dpo", "ppo", "grpo")] == [0, 0, 1, 1]
    recipe = read_recipe(find_recipe("smollm"), ["dpo.lora.rank=0", "ppo.lora.rank=0"])
    works = {work.stage: work for work in training_costs_of(recipe, shape_of(recipe))}
    assert [works[stage].n_frozen for stage in ("dpo", "ppo")] == [1, 2]
    shape = shape_of(nano())
    ppo = next(replace(work, rows=1, longest=1) for work in training_costs_of(nano(), shape) if work.stage == "ppo")
    assert ppo.is_averaged
    alone = memory_of(replace(ppo, is_averaged=False), shape, "float32")
    assert memory_of(ppo, shape, "float32") - alone == pytest.approx(3 * 2 * 4 * shape.n_parameters())


def test_text_that_is_mixed_into_ppo_takes_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """ptx_windows_per_answer windows for each answer, in micro-batches of their own."""
    monkeypatch.setattr(estimates, "TRIAL_S", 0.02)
    small = (*SMALL, "ppo.n_iterations=2", "ppo.n_minibatches=4", "ppo.batch_size=16", "ppo.micro_batch_size=4")
    plain, mixed = nano(*small), nano(*small, "ppo.ptx_coef=27.8")
    shape = shape_of(plain)
    (before,) = [work for work in training_costs_of(plain, shape) if work.stage == "ppo"]
    (after,) = [work for work in training_costs_of(mixed, shape) if work.stage == "ppo"]
    assert before.ptx is None and replace(after, ptx=None) == before
    assert after.ptx is not None
    assert (after.ptx.n_micros, after.ptx.rows, after.ptx.longest) == (2 * 4 * (8 * 16 // 4) // 4, 4, 64)
    assert memory_of(replace(after, longest=8), shape, "float32") > memory_of(
        replace(before, longest=8), shape, "float32"
    )
    assert [work.stage for work in parts_of(after)] == ["ppo", ""]
    much = nano(*small, "ppo.ptx_coef=27.8", "ppo.ptx_windows_per_answer=8000")
    needs = [estimate(recipe, shape, "float32", ["ppo"])[0].seconds for recipe in (plain, much)]
    assert needs[1] > 50 * needs[0]


@pytest.mark.parametrize("name", ["ppo.ptx_coef=1", "ppo.lora.rank=2", "ppo.value_from=policy"])
def test_both_networks_of_ppo_are_tried(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = nano(*SMALL, name)
    shape = shape_of(recipe)
    (work,) = [work for work in training_costs_of(recipe, shape) if work.stage == "ppo"]
    made, loss, micros = estimates._trial(replace(work, n_tokens=12), shape, 3)
    kinds = [sorted(loss(made, micro)[1]) for micro in micros]
    assert kinds == [["approx_kl", "clip_fraction", "entropy", "policy_loss"], ["value_loss"]]


def test_a_known_base_is_estimated_before_it_is_here(tmp_path: Path) -> None:
    recipe = read_recipe(find_recipe("smollm"), [])
    shape = shape_of(recipe, tmp_path)
    assert shape.n_parameters() == 134_515_008
    works = {work.stage: work for work in training_costs_of(recipe, shape)}
    assert list(works) == ["sft", "ppo", "dpo", "grpo"]
    assert (works["ppo"].n_answers, works["grpo"].n_answers) == (5 * 32 + 64, 5 * 32)
    plain = replace(works["dpo"], lora=type(works["dpo"].lora)())
    assert memory_of(works["dpo"], shape, "float32") < memory_of(plain, shape, "float32")
    with pytest.raises(ConfigError, match="is not here yet"):
        shape_of(read_recipe(find_recipe("smollm"), ["base.model=qwen3-0.6b"]), tmp_path)


def test_an_examination_is_plain_json_and_tries_nothing_that_cannot_fit(capsys: pytest.CaptureFixture[str]) -> None:
    found = doctor.examine(nano("pretrain.model.n_embd=65536"), Path())
    assert "stages" not in json.loads(json.dumps(found))["recipe"]
    assert found["refused"]
    assert found["recipe"]["settings"]["ppo"]["max_tokens"] == 48
    plan.show_examination(found)
    assert "machine" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="memory"):
        doctor.refuse(nano("pretrain.model.n_embd=65536"), AMPLE)
