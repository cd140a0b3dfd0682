"""Every algorithm learns eight examples by heart: the shortest proof that its gradient points downhill."""

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from malmoi.algorithms import dpo, grpo, kto, ppo, pretrain, reward, sft
from malmoi.data.batch import compact_ids
from malmoi.data.comparisons import Ranking, ranking_steps
from malmoi.data.prompts import TokenizedPrompt
from malmoi.errors import DataError
from malmoi.evals.answering import answer_questions
from malmoi.files import write_jsonl
from malmoi.inference.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig, Step, fit
from malmoi.train.optim import OptimConfig
from malmoi.train.rollouts import RolloutSteps

pytestmark = pytest.mark.usefixtures("float32")
ANSWERS = {
    "cat": "sat on the mat", "dog": "sat on the log", "list": "holds values", "order": "of values",
    "낱말": "모으던 일", "사람": "적어 보냈다", "What?": "a list", "the": "cat",
}  # fmt: skip
GREEDY = Sampling(temperature=0, max_tokens=20)


def adamw(lr: float) -> LoopConfig:
    return LoopConfig(optim=OptimConfig(lr=lr, decay="constant"))


def losses(job: Job, loop: LoopConfig) -> list[float]:
    seen: list[Step] = []
    fit(job, loop, [seen.append])
    return [step.metrics["loss"] for step in seen]


@pytest.mark.parametrize(("name", "lr"), [("adamw", 1e-2), ("muon", 0.05)])
def test_pretraining_learns_a_text_by_heart(shards: Path, shape: ModelConfig, name: str, lr: float) -> None:
    optim = OptimConfig.model_validate({"name": name, "lr": lr, "embedding_lr": 0.05, "head_lr": 0.01})
    loop = LoopConfig(optim=optim)
    config = pretrain.Config(model=shape, n_steps=120, batch_size=8, loop=loop)
    job = pretrain.build(config, pretrain.Inputs(shards=shards))
    found = losses(job, loop)
    assert found[0] == pytest.approx(torch.tensor(300.0).log().item(), rel=1e-4)  # it begins by knowing nothing
    assert found[-1] < 0.3


def test_sft_learns_to_give_eight_answers_and_to_end_them(
    tmp_path: Path, policy_folder: Path, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    rows = (
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
        for asked, said in ANSWERS.items()
    )
    write_jsonl(tmp_path / "chats.jsonl", rows)
    loop = adamw(1e-2)
    inputs = sft.Inputs(model=policy_folder, data=tmp_path / "chats.jsonl")
    job = sft.build(sft.Config(n_steps=80, batch_size=8, loop=loop), inputs)
    assert losses(job, loop)[-1] < 0.05
    assert isinstance(job.model, LanguageModel)
    answers = answer_questions(job.model, tokenizer, template, list(ANSWERS), GREEDY)
    assert {asked: (answer.text, answer.finished) for asked, answer in zip(ANSWERS, answers, strict=True)} == {
        asked: (said, True) for asked, said in ANSWERS.items()
    }


def test_reward_learns_eight_rankings_ties_included(tmp_path: Path, policy_folder: Path, tokenizer: Tokenizer) -> None:
    words = list(ANSWERS)
    ranks = [[1, 2, 3], [3, 1, 2], [1, 2, 2], [2, 1, 2], [2, 3, 1], [1, 3, 2], [1, 1, 2], [3, 2, 1]]
    rows = (
        {"messages": [{"role": "user", "content": word}], "answers": ["cat", "mat on", "낱말"], "ranks": ranks[i]}
        for i, word in enumerate(words)
    )
    write_jsonl(tmp_path / "rankings.jsonl", rows)
    loop = adamw(1e-2)
    inputs = reward.Inputs(model=policy_folder, data=tmp_path / "rankings.jsonl")
    job = reward.build(reward.Config(n_steps=60, batch_size=8, loop=loop), inputs)
    floor = sum(row.count(2) == 2 or row.count(1) == 2 for row in ranks) / 8 * torch.tensor(2.0).log().item() / 3
    assert losses(job, loop)[-1] == pytest.approx(floor, abs=0.05)  # a tie costs log 2 at best
    assert isinstance(job.model, ScalarModel)
    [batch] = next(iter(job.steps))
    gaps = job.model(batch.ids, batch.branches)[batch.row, batch.last]
    gaps = (gaps[batch.better] - gaps[batch.worse]).detach()
    assert (gaps[batch.target == 1] > 0.5).all() and (gaps[batch.target == 0.5].abs() < 0.5).all()


def test_dpo_learns_to_prefer_one_of_three_answers_to_each_of_eight_prompts(
    tmp_path: Path, policy_folder: Path
) -> None:
    ranks = [[1, 2, 3], [3, 1, 2], [1, 2, 2], [2, 1, 2], [2, 3, 1], [1, 3, 2], [1, 1, 1], [3, 2, 1]]
    rows = (
        {"messages": [{"role": "user", "content": word}], "answers": ["cat", "mat on", "낱말"], "ranks": ranks[i]}
        for i, word in enumerate(ANSWERS)
    )
    write_jsonl(tmp_path / "rankings.jsonl", rows)
    loop = adamw(1e-2)
    inputs = dpo.Inputs(policy=policy_folder, data=tmp_path / "rankings.jsonl")
    job = dpo.build(dpo.Config(n_steps=40, batch_size=7, loop=loop), inputs)
    found = losses(job, loop)
    log_2 = torch.tensor(2.0).log().item()
    assert found[0] == pytest.approx((5 + 2 * 2 / 3) / 7 * log_2, rel=1e-3)  # ties say nothing
    assert found[-1] < 0.05
    assert isinstance(job.model, LanguageModel)
    [batch] = next(iter(job.steps))
    logps = dpo.answer_logps(job.model, batch)
    assert (logps[batch.better] > logps[batch.worse])[batch.target == 1].float().mean() > 0.9


def test_kto_learns_which_of_two_answers_to_each_of_eight_prompts_was_liked(
    tmp_path: Path, policy_folder: Path
) -> None:
    rows = [
        {"messages": [{"role": "user", "content": word}, {"role": "assistant", "content": said}], "label": is_liked}
        for i, word in enumerate(ANSWERS)
        for said, is_liked in (("cat", i % 2 == 0), ("mat on", i % 2 == 1))
    ]
    write_jsonl(tmp_path / "votes.jsonl", rows)
    loop = adamw(1e-2)
    inputs = kto.Inputs(policy=policy_folder, data=tmp_path / "votes.jsonl")
    job = kto.build(kto.Config(n_steps=60, batch_size=16, loop=loop), inputs)
    found = losses(job, loop)
    assert found[0] == pytest.approx(0.5, abs=1e-3)  # nothing has moved
    assert found[-1] < 0.3
    write_jsonl(tmp_path / "liked.jsonl", [row | {"label": True} for row in rows])
    with pytest.raises(DataError, match="all votes are of one kind"):
        kto.build(kto.Config(n_steps=1), kto.Inputs(policy=policy_folder, data=tmp_path / "liked.jsonl"))


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_the_score_of_a_reward_model_that_likes_one_word_rises(
    policy: LanguageModel, reward_model: ScalarModel, tokenizer: Tokenizer, template: ChatTemplate, algorithm: str
) -> None:
    cat = tokenizer.encode(" cat")[0]
    prompts = []
    for word in ANSWERS:
        messages = [{"role": "user", "content": word}]
        ids, _ = template.encode(tokenizer, messages, add_generation_prompt=True)
        prompts.append(TokenizedPrompt(messages, compact_ids(ids), {}))
    random = np.random.default_rng(0)

    def ranking() -> Ranking:
        """Eight random tokens, in more and more of which the word is said."""
        prompt = prompts[random.integers(8)].ids
        said = [np.where(random.random(8) < share, cat, random.integers(6, 300, 8)) for share in (0.8, 0.3, 0.0)]
        return Ranking([[*prompt, *answer.tolist()] for answer in said], [1, 2, 3])

    steps = ranking_steps([ranking() for _ in range(2048)], tokenizer.pad_id, 32, 32, seed=0)
    fit(Job(reward_model, steps, reward.loss, n_steps=120), adamw(1e-2))
    settings = {
        "n_iterations": 20, "batch_size": 64, "n_epochs": 4, "max_tokens": 8, "temperature": 1.0, "beta": 0.0,
        "kl_budget": 1e6, "missing_eos_penalty": 0, "loop": adamw(0.03),
    }  # fmt: skip
    ref, seen = copy.deepcopy(policy), list[Step]()
    rollouts: RolloutSteps
    if algorithm == "ppo":
        config = ppo.Config.model_validate(settings)
        networks = ppo.PolicyAndValue(policy, copy.deepcopy(reward_model))
        rollouts = ppo.PpoSteps(networks, ref, reward_model, prompts, tokenizer, config)
        job = Job(networks, rollouts, partial(ppo.loss, config=config), n_steps=80)
    else:
        own = grpo.Config.model_validate(settings)
        rollouts = grpo.GrpoSteps(policy, ref, reward_model, prompts, tokenizer, own)
        job = Job(policy, rollouts, partial(grpo.loss, config=own), n_steps=80)
    fit(job, adamw(0.03), [seen.append])
    assert seen[-1].metrics["score"] > seen[0].metrics["score"] + 6
    # By chance it would be said twice in the 512 tokens of an iteration.
    assert sum(answer.ids.count(cat) for _, answer in rollouts.latest) > 64
