"""Details of PPO-RLHF that decide whether it works: those of docs/reference/ppo.md that no other test covers."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from malmoi.algorithms import ppo
from malmoi.data.batch import compact_ids, pad
from malmoi.data.prompts import TokenizedPrompt
from malmoi.files import write_jsonl
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "ppo.md"
SHAPE: dict[str, Any] = {
    "n_layer": 1, "n_embd": 16, "n_head": 2, "n_kv_head": 1, "head_dim": 8, "n_ff": 16, "seq_len": 40,
}  # fmt: skip
SMALL: dict[str, Any] = {"n_iterations": 2, "batch_size": 8, "max_tokens": 6}


def shape(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(vocab_size=tokenizer.vocab_size, **SHAPE)


@pytest.fixture
def inputs(tmp_path: Path, tokenizer: Tokenizer) -> ppo.Inputs:
    torch.manual_seed(0)
    for name, kind in (("policy", LanguageModel), ("reward", ScalarModel)):
        save_model(tmp_path / name, kind(shape(tokenizer)), tokenizer, ChatTemplate.default(), {})
    write_jsonl(tmp_path / "prompts.jsonl", ({"messages": [{"role": "user", "content": w}]} for w in ("cat", "낱말")))
    folders = {"policy": tmp_path / "policy", "reward_model": tmp_path / "reward", "data": tmp_path / "prompts.jsonl"}
    return ppo.Inputs(**folders)


def test_a_new_head_is_normal_with_deviation_1_over_the_root_of_width_plus_1(tokenizer: Tokenizer) -> None:
    wide = ScalarModel(shape(tokenizer).model_copy(update={"n_embd": 4096}))
    weight = wide.score.weight.detach()
    assert float(weight.std()) == pytest.approx(1 / math.sqrt(4097), rel=0.05)
    assert abs(float(weight.mean())) < 4 / math.sqrt(4096 * 4097) and wide.score_bias == 0


def test_no_network_has_dropout(tokenizer: Tokenizer) -> None:
    for kind in (LanguageModel, ScalarModel):
        model = kind(shape(tokenizer))
        assert not any(isinstance(module, (nn.Dropout, nn.AlphaDropout)) for module in model.modules())
        ids = torch.arange(20, 40)[None]
        assert torch.equal(model.train()(ids), model.eval()(ids))


def test_padding_on_the_right_moves_neither_log_probabilities_nor_scores(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    policy, scores = LanguageModel(shape(tokenizer)), ScalarModel(shape(tokenizer))
    rows = [[20, 21, 22, 23], [30, 31, 32, 33, 34, 35, 36, 37]]
    ids, lengths = pad(rows, tokenizer.pad_id)
    mask = torch.arange(ids.shape[1] - 1) < lengths[:, None] - 1
    together = policy.logps(ids[:, :-1], ids[:, 1:], mask)[0]
    for number, row in enumerate(rows):
        alone = torch.tensor([row])
        every = torch.ones(1, len(row) - 1, dtype=torch.bool)
        torch.testing.assert_close(
            together[number, : len(row) - 1], policy.logps(alone[:, :-1], alone[:, 1:], every)[0][0]
        )
        torch.testing.assert_close(scores(ids)[number, : len(row)], scores(alone)[0])


def test_padding_is_not_the_end_of_a_turn(tokenizer: Tokenizer) -> None:
    assert tokenizer.pad_id != tokenizer.end_of_turn_id


@pytest.mark.parametrize(("value_from", "preset"), [("reward_model", "stiennon"), ("policy", "ziegler")])
def test_the_value_starts_as_the_reward_model_or_at_zero(inputs: ppo.Inputs, value_from: str, preset: Any) -> None:
    job = ppo.build(ppo.Config(preset=preset, **SMALL), inputs)
    assert isinstance(job.model, ppo.PolicyAndValue) and isinstance(job.steps, ppo.PpoSteps)
    value, source = job.model.value, job.steps.reward_model if value_from == "reward_model" else job.model.policy
    ids = torch.arange(20, 30)[None]
    torch.testing.assert_close(value.model(ids), source.model(ids))
    if value_from == "reward_model":
        torch.testing.assert_close(value(ids), job.steps.reward_model(ids))
        assert value.score.weight is not job.steps.reward_model.score.weight
    else:
        assert not value(ids).any()


def test_scores_are_normalised_once_over_answers_of_the_reference(tokenizer: Tokenizer, inputs: ppo.Inputs) -> None:
    plain = ppo.build(ppo.Config(**SMALL, missing_eos_penalty=0), inputs).steps
    scaled = ppo.build(ppo.Config(**SMALL, missing_eos_penalty=0, normalise_rewards=64), inputs).steps
    assert isinstance(plain, ppo.PpoSteps) and isinstance(scaled, ppo.PpoSteps)
    next(iter(plain))
    next(iter(scaled))
    assert plain.rollouts is not None and scaled.rollouts is not None
    mean, std = scaled.score_mean, scaled.score_std
    torch.testing.assert_close(scaled.rollouts.scores * std + mean, plain.rollouts.scores, atol=1e-5, rtol=1e-5)
    every = [scaled.prompts[i % 2] for i in range(256)]
    _, drawn, _ = scaled._sample(every, np.random.default_rng(5))
    assert float(drawn.scores.mean()) == pytest.approx(0, abs=0.35)
    assert float(drawn.scores.std()) == pytest.approx(1, abs=0.3)
    assert ppo.Config(n_iterations=1, preset="ziegler").normalise_rewards == 256
    again = ppo.build(ppo.Config(**SMALL, missing_eos_penalty=0, normalise_rewards=64), inputs).steps
    again.load_state_dict(scaled.state_dict())
    assert isinstance(again, ppo.PpoSteps) and (again.score_mean, again.score_std) == (mean, std)


def test_every_answer_of_every_iteration_has_its_own_random_numbers(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    policy, value = LanguageModel(shape(tokenizer)), ScalarModel(shape(tokenizer))
    prompts = [TokenizedPrompt([], compact_ids([20, 21, 22]), {})]
    config = ppo.Config(n_iterations=2, batch_size=8, max_tokens=8, n_epochs=1, temperature=1.0)
    steps = ppo.PpoSteps(ppo.PolicyAndValue(policy, value), policy, value, prompts, tokenizer, config)
    said = []
    for _ in steps:
        said += [tuple(answer.ids) for _, answer in steps.latest]
    assert len(said) == 16 and len(set(said)) == 16


def test_the_page_names_code_and_tests_that_are_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in set(re.findall(r"`(test_\w+\.py)(?:::\w+)?`", text)):
        assert list((ROOT / "tests").rglob(name)), name
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", text)
    assert len(named) > 20
    for file, test in named:
        sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file)]
        assert any(f"def {test}(" in source for source in sources), f"{file}::{test}"
    for path, name in re.findall(r"`([\w/]+\.py):(\w+)`", text):
        source = ROOT / "src" / "malmoi" / path
        assert re.search(rf"\b{name}\b", source.read_text(encoding="utf-8")), f"{path}:{name}"


@pytest.mark.parametrize("name", ppo.PRESETS)
def test_the_page_gives_each_preset_the_constants_that_it_has(name: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    header = next(line for line in text.splitlines() if line.startswith("| setting |"))
    column = [cell.strip(" `") for cell in header.split("|")].index(name)
    shown = dict(re.findall(r"^\| `ppo\.(\w+)` ((?:\|[^|\n]*)+)$", text, re.MULTILINE))
    settings = ppo.Config(preset=name, n_iterations=1).model_dump() | {"normalise_rewards": 0}  # type: ignore[arg-type]
    settings |= ppo.PRESETS[name]
    assert shown.keys() >= {key for preset in ppo.PRESETS.values() for key in preset}
    for key, cells in shown.items():
        said = cells.split("|")[column - 1].strip()
        assert said == str(settings[key]).lower(), f"{key}: {said}"
