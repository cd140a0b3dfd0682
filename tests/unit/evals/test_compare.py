from pathlib import Path

import numpy as np
import pytest
import torch

from malmoi.errors import ConfigError
from malmoi.evals.answer_measures import sampled_logps
from malmoi.evals.answering import sample_answers
from malmoi.evals.compare import win_rates
from malmoi.inference.requests import Answer
from malmoi.inference.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.recipe import find_recipe, read_recipe
from malmoi.pipeline.stages import parents_of


def test_wins_count_ties_half_and_nobody_plays_against_itself() -> None:
    ours, theirs = np.array([[1.0, 3.0]]), np.array([[1.0, 2.0]])
    assert win_rates(ours, theirs).tolist() == [[0.25, 1.0]]
    assert win_rates(theirs, theirs, is_same=True).tolist() == [[0.0, 1.0]]


def test_answers_weigh_what_one_by_one_they_weigh(float32: None, shape: ModelConfig, policy: LanguageModel) -> None:
    prompts = [[1, 2, 3], [4, 5, 6, 7, 8]]
    answers = sample_answers(policy, prompts, 2, Sampling(temperature=0.7, max_tokens=6), end_ids=[9], seed=3)
    answers[0][0] = Answer(answers[0][0].ids, True, end_id=7)
    found = sampled_logps(policy, prompts, answers, temperature=0.7)
    for row, (ids, group) in enumerate(zip(prompts, answers, strict=True)):
        for column, answer in enumerate(group):
            whole = [*ids, *answer.ids, *answer.sampled[len(answer.ids) :]]
            with torch.no_grad():
                logps = (policy(torch.tensor([whole]))[0] / 0.7).log_softmax(dim=-1)
            expected = sum(float(logps[place - 1, whole[place]]) for place in range(len(ids), len(whole)))
            assert found[row, column] == pytest.approx(expected, abs=1e-4)


def test_a_stage_reads_the_first_of_its_alternatives() -> None:
    assert parents_of("sft", {"base", "data"}) == ["base", "data"]
    assert parents_of("ppo", {"sft", "reward", "demonstrations", "tokenizer"})[-1] == "tokenizer"
    assert parents_of("ppo", {"sft", "reward", "data"}) == ["sft", "reward", "data"]
    with pytest.raises(ConfigError, match="reward needs rank or data before it"):
        parents_of("reward", {"sft"})


def test_shipped_recipes_name_the_stages_that_theirs_read() -> None:
    for name in ("nano", "smollm"):
        stages = read_recipe(find_recipe(name)).stages
        for number, stage in enumerate(stages):
            assert set(parents_of(stage, stages[:number])) <= set(stages[:number])


def test_a_recipe_asks_for_the_settings_of_its_stages_alone(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text('stages = ["base", "data", "dpo"]\n[data]\n[dpo]\nn_steps = 1\n')
    recipe = read_recipe(path, ["seed=7"])
    assert recipe.sft is None and recipe.dpo is not None and recipe.dpo.seed == 7
    with pytest.raises(ConfigError, match=r"dpo\.n_steps: missing"):
        read_recipe(path, ['stages=["dpo"]', "dpo={}"])
