"""PPO's stream of optimizer steps: what it samples, how it is scored and mixed, and when it stops."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from malmoi.algorithms import ppo
from malmoi.corpus.shards import ShardWriter
from malmoi.data.batch import Tokens, compact_ids
from malmoi.data.prompts import TokenizedPrompt
from malmoi.errors import ConfigError
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig, Step, fit
from malmoi.train.policy_maths import token_rewards
from malmoi.train.rollouts import Rollouts, prompt_order

SHAPE: dict[str, Any] = {
    "n_layer": 1, "n_embd": 16, "n_head": 2, "n_kv_head": 1, "head_dim": 8, "n_ff": 16, "seq_len": 40,
}  # fmt: skip
QUESTIONS = ("cat", "What is a list?", "낱말", "dog on the log")


def small(**given: Any) -> ppo.Config:
    return ppo.Config(**{"n_iterations": 2, "batch_size": 6, "max_tokens": 5, "temperature": 1.0, **given})


def stream(
    tokenizer: Tokenizer, config: ppo.Config, away: float = 0.0, score_std: float = 1.0, ptx_shards: Path | None = None
) -> ppo.PpoSteps:
    """A stream on four tiny networks; the reference stands `away` from the policy."""
    torch.manual_seed(0)
    shape = ModelConfig(vocab_size=tokenizer.vocab_size, **SHAPE)
    policy, ref, value, reward_model = (
        kind(shape) for kind in (LanguageModel, LanguageModel, ScalarModel, ScalarModel)
    )
    ref.load_state_dict(policy.state_dict())
    with torch.no_grad():
        for parameter in ref.parameters():
            parameter.add_(torch.randn(parameter.shape) * away)
    template, prompts = ChatTemplate.default(), []
    for question in QUESTIONS:
        messages = [{"role": "user", "content": question}]
        ids, _ = template.encode(tokenizer, messages, add_generation_prompt=True)
        prompts.append(TokenizedPrompt(messages, compact_ids(ids), {}))
    texts = ppo.ptx_steps(config, ppo.Inputs(ptx_shards=ptx_shards), shape.seq_len)
    return ppo.PpoSteps(
        ppo.PolicyAndValue(policy, value), ref, reward_model, prompts, tokenizer, config, score_unit=score_std,
        texts=texts,
    )  # fmt: skip


def networks(steps: ppo.PpoSteps) -> ppo.PolicyAndValue:
    assert steps.value is not None
    return ppo.PolicyAndValue(steps.policy, steps.value)


def answers_in(batches: list[ppo.Batch], term: Any = ppo.policy_loss) -> list[Rollouts]:
    """The answers that the policy learns from, or the value network."""
    return [batch.data for batch in batches if isinstance(batch.data, Rollouts) and batch.term is term]


def texts_in(batches: list[ppo.Batch]) -> list[ppo.Batch]:
    return [batch for batch in batches if isinstance(batch.data, Tokens)]


def first_answers(steps: ppo.PpoSteps) -> Rollouts:
    [answers] = answers_in(next(iter(steps)))
    return answers


def test_before_the_first_update_old_and_new_policies_are_one(tokenizer: Tokenizer) -> None:
    """The ratio is 1 at every token: what was sampled and scored is what is recomputed."""
    config = small(micro_batch_size=4)
    steps = stream(tokenizer, config)
    micros = next(iter(steps))
    batches = answers_in(micros)
    assert len(batches) == 2 and answers_in(micros, ppo.value_loss) == batches
    for batch in batches:
        _, metrics = ppo.loss(networks(steps), ppo.Batch(ppo.policy_loss, batch), config)
        assert metrics["approx_kl"].item() == pytest.approx(0, abs=1e-9)
        assert metrics["clip_fraction"].item() == 0
        torch.testing.assert_close(metrics["policy_loss"], -(batch.advantages * batch.mask).sum())
        torch.testing.assert_close(batch.logps, batch.ref_logps)
    assert steps.info["kl"] == pytest.approx(0, abs=1e-6)


def test_log_probabilities_are_of_the_chosen_tokens_at_the_sampling_temperature(tokenizer: Tokenizer) -> None:
    steps = stream(tokenizer, small(temperature=0.7), away=0.1)
    batch = first_answers(steps)
    for network, found in ((steps.policy, batch.logps), (steps.ref, batch.ref_logps)):
        logps = (network(batch.ids[:, :-1]) / 0.7).log_softmax(-1).gather(2, batch.ids[:, 1:, None])[..., 0]
        torch.testing.assert_close(found, logps * batch.mask, atol=1e-5, rtol=1e-5)
    kl = [float((row.logps - row.ref_logps).sum()) for row in (batch.rows(torch.tensor([i])) for i in range(6))]
    assert steps.info["kl"] == pytest.approx(sum(kl) / 6, abs=1e-5)


def test_the_mask_covers_the_answer_and_its_end_but_not_the_prompt(tokenizer: Tokenizer) -> None:
    steps = stream(tokenizer, small(batch_size=32, max_tokens=30))
    with torch.no_grad():  # an end of turn that is likely enough to come now and then
        steps.policy.lm_head.weight[tokenizer.end_of_turn_id] *= 8
    next(iter(steps))
    rollouts = steps.rollouts
    assert rollouts is not None and 0 < int(rollouts.finished.sum()) < 32
    for row, (prompt, answer) in enumerate(steps.latest):
        response = rollouts.ids[row, 1:][rollouts.mask[row]].tolist()
        assert response == answer.sampled
        assert rollouts.ids[row, : len(prompt.ids)].tolist() == prompt.ids.tolist()
        assert int(rollouts.mask[row].nonzero()[0]) == len(prompt.ids) - 1
        assert bool(rollouts.finished[row]) == answer.finished


@pytest.mark.parametrize("normalise", [0, 32])
@pytest.mark.parametrize("bias", [0.0, -50.0])
def test_an_answer_that_never_ended_always_loses_the_price_of_that(
    tokenizer: Tokenizer, normalise: int, bias: float
) -> None:
    """However low scores lie and whatever they are divided by: two of the scores' standard deviations of 0.25."""

    def scored(penalty: float) -> tuple[ppo.PpoSteps, Rollouts]:
        config = small(batch_size=32, max_tokens=30, missing_eos_penalty=penalty, normalise_rewards=normalise)
        steps = stream(tokenizer, config, score_std=0.25)
        with torch.no_grad():
            steps.policy.lm_head.weight[tokenizer.end_of_turn_id] *= 8
            steps.reward_model.score_bias += bias
        next(iter(steps))
        assert steps.rollouts is not None and 0 < int(steps.rollouts.finished.sum()) < 32
        return steps, steps.rollouts

    (free, without), (steps, paid) = scored(0.0), scored(2.0)
    raw, priced = (
        rollouts.scores * (part.score_std or 1) + part.score_mean for part, rollouts in ((free, without), (steps, paid))
    )
    torch.testing.assert_close(raw - priced, 0.5 * ~paid.finished, atol=1e-4, rtol=0)
    # Read as a whole turn, with the end in place of the last token that there was room for.
    row = int((~paid.finished).nonzero()[0, 0])
    ids = paid.rows(torch.tensor([row])).ids.clone()
    ids[0, -1] = tokenizer.end_of_turn_id
    torch.testing.assert_close(raw[row], steps.reward_model(ids)[0, -1], atol=1e-4, rtol=1e-4)


def test_every_stop_token_ends_an_answer_and_is_learned_as_it_was_sampled(tokenizer: Tokenizer) -> None:
    ends = [tokenizer.end_of_turn_id, tokenizer.end_of_text_id]
    both = Tokenizer(tokenizer.backend, tokenizer.settings, {"eos_token_id": ends})
    steps = stream(both, small(batch_size=24, max_tokens=30))
    with torch.no_grad():
        steps.policy.lm_head.weight[ends] *= 8
    next(iter(steps))
    rollouts = steps.rollouts
    assert rollouts is not None
    last = {rollouts.ids[row, 1:][rollouts.mask[row]].tolist()[-1] for row in range(24) if rollouts.finished[row]}
    assert last == set(ends)
    for row, (_, answer) in enumerate(steps.latest):
        assert rollouts.ids[row, 1:][rollouts.mask[row]].tolist() == answer.sampled
        assert not set(answer.ids) & set(ends) and answer.finished == (answer.end_id in ends)


def test_the_score_is_earned_at_the_last_token(tokenizer: Tokenizer) -> None:
    steps = stream(tokenizer, small(), away=0.1)
    batch = first_answers(steps)
    # γ = λ = 1: the return of the last token is its reward, in which the score stands.
    last = batch.mask.float().cumsum(1).argmax(dim=1, keepdim=True)
    plain = small(gae_lambda=1.0)
    rewards = token_rewards(batch.scores, batch.logps, batch.ref_logps, batch.mask, beta=0.05)
    returns = ppo.with_advantages(batch, plain, beta=0.05).returns
    torch.testing.assert_close(returns.gather(1, last), rewards.gather(1, last))


def test_advantages_are_whitened_and_returns_are_not(tokenizer: Tokenizer) -> None:
    steps = stream(tokenizer, small(), away=0.3)
    batch = first_answers(steps)
    inside = batch.advantages[batch.mask]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-5)
    assert float(inside.std(correction=0)) == pytest.approx(1, abs=1e-3)
    raw = (batch.returns - batch.values)[batch.mask]
    torch.testing.assert_close((raw - raw.mean()) / raw.std(correction=0), inside, atol=1e-4, rtol=1e-4)
    scaled = ppo.with_advantages(batch, small(whiten_rewards=True), beta=0.05)
    assert not torch.allclose(scaled.returns, batch.returns)


def test_every_epoch_takes_every_answer_once_in_another_order(tokenizer: Tokenizer) -> None:
    config = small(n_epochs=2, n_minibatches=3, micro_batch_size=1)
    steps = stream(tokenizer, config)
    taken = [list(micros) for micros in steps]
    assert [len(micros) for micros in taken] == [2 * 2] * (2 * 2 * 3)  # for the policy, and for the value network
    passes = [[batch for micros in taken[i : i + 3] for batch in micros] for i in range(0, 12, 3)]
    scores = [[float(answers.scores[0]) for answers in answers_in(taken_once)] for taken_once in passes]
    assert sorted(scores[0]) == sorted(scores[1]) and scores[0] != scores[1]
    assert sorted(scores[2]) == sorted(scores[3]) and sorted(scores[0]) != sorted(scores[2])
    assert sum(batch.count for batch in passes[0]) == sum(batch.count for batch in passes[1])


def test_prompts_are_taken_in_shuffled_passes_over_all_of_them() -> None:
    taken = [row for iteration in range(5) for row in prompt_order(10, 4, seed=3, iteration=iteration)]
    assert sorted(taken[:10]) == sorted(taken[10:]) == list(range(10))
    assert taken[:10] != taken[10:]
    assert taken[:10] != [row for iteration in range(3) for row in prompt_order(10, 4, 4, iteration)][:10]


def test_pretraining_text_is_divided_by_its_own_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "train", tokenizer.vocab_size) as writer:
        writer.append(list(range(6, 250)), n_bytes=300)
    config = small(ptx_coef=27.8, batch_size=16, micro_batch_size=5, max_tokens=3)
    steps = stream(tokenizer, config, ptx_shards=tmp_path)
    micros = next(iter(steps))
    count = sum(batch.count for batch in micros)
    ptx = texts_in(micros)
    assert count == sum(answers.count for answers in answers_in(micros)) and ptx
    mixed = sum(ppo.loss(networks(steps), batch, config)[0].item() for batch in ptx) / count
    policy, texts = steps.policy, [batch.data for batch in ptx if isinstance(batch.data, Tokens)]
    nats = sum(policy.cross_entropy(text.ids, text.targets, text.mask).item() for text in texts)
    assert mixed == pytest.approx(27.8 * nats / sum(text.count for text in texts), rel=1e-5)


@pytest.mark.parametrize(("per_answer", "n_windows"), [(None, 64), (0.25, 2), (0.01, 1)])
def test_every_answer_brings_as_many_windows_of_pretraining_text_as_asked(
    tokenizer: Tokenizer, tmp_path: Path, per_answer: float | None, n_windows: int
) -> None:
    """None: InstructGPT's eight."""
    with ShardWriter(tmp_path, "train", tokenizer.vocab_size) as writer:
        writer.append(list(range(6, 250)), n_bytes=300)
    asked = {} if per_answer is None else {"ptx_windows_per_answer": per_answer}
    config = small(ptx_coef=27.8, batch_size=16, n_minibatches=2, micro_batch_size=5, max_tokens=3, **asked)
    lengths = [len(text.data.ids) for text in texts_in(next(iter(stream(tokenizer, config, ptx_shards=tmp_path))))]
    assert sum(lengths) == n_windows and max(lengths) <= config.micro_batch_size


def test_pretraining_text_that_is_asked_for_must_be_given(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="ptx_shards"):
        stream(tokenizer, small(ptx_coef=1.0))


def test_the_range_of_what_the_reward_model_says_is_zero_where_it_says_one_thing(tokenizer: Tokenizer) -> None:
    steps, usual = (stream(tokenizer, small(batch_size=16)) for _ in range(2))
    with torch.no_grad():
        steps.reward_model.score.weight.zero_()
    next(iter(steps))
    next(iter(usual))
    assert steps.info["score_range"] == 0.0 and usual.info["score_range"] > 1e-3


@pytest.mark.parametrize(("budget", "n_taken"), [(1e6, 3 * 4), (1e-3, 4)])
def test_over_its_kl_budget_training_ends_after_the_iteration(
    tokenizer: Tokenizer, budget: float, n_taken: int
) -> None:
    config = small(kl_budget=budget, n_iterations=3, n_epochs=2, n_minibatches=2)
    steps = stream(tokenizer, config, away=0.3)
    job = Job(networks(steps), steps, partial(ppo.loss, config=config), n_steps=12)
    seen: list[Step] = []
    fit(job, LoopConfig(), [seen.append])
    assert len(seen) == n_taken
    assert seen[0].metrics["kl"] > 1e-3


def test_beta_adapts_once_an_iteration(tokenizer: Tokenizer) -> None:
    config = small(kl_target=1e-6, beta=0.1, n_epochs=2)
    steps = stream(tokenizer, config, away=0.3)
    betas = []
    for _ in steps:
        betas.append(steps.info["beta"])
    grown = 0.1 * (1 + 0.2 * 6 / 10_000)
    assert betas == pytest.approx([0.1, 0.1, grown, grown], rel=1e-9)


def test_one_answer_is_a_batch_too(tokenizer: Tokenizer) -> None:
    steps = stream(tokenizer, small(batch_size=1), away=0.1)
    next(iter(steps))
    assert steps.info["kl_error"] == 0


PRESETS = {
    "ziegler": {"beta": 0.15, "kl_target": 6.0, "whiten_rewards": True, "value_from": "policy", "temperature": 0.7,
                "n_epochs": 4, "n_minibatches": 1, "average_decay": 0.0},
    "stiennon": {"beta": 0.05, "kl_target": None, "whiten_rewards": False, "value_from": "reward_model",
                 "temperature": 0.7, "n_epochs": 4, "n_minibatches": 1, "average_decay": 0.0},
    "instructgpt": {"beta": 0.02, "kl_target": None, "whiten_rewards": False, "value_from": "reward_model",
                    "temperature": 1.0, "n_epochs": 1, "n_minibatches": 8, "average_decay": 0.992},
}  # fmt: skip
SHARED = {"gamma": 1.0, "gae_lambda": 0.95, "clip_eps": 0.2, "value_clip_eps": 0.2, "vf_coef": 0.1}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_the_constants_of_its_paper(name: str) -> None:
    settings = ppo.Config(preset=name, n_iterations=1).model_dump()  # type: ignore[arg-type]
    assert {key: settings[key] for key in PRESETS[name] | SHARED} == PRESETS[name] | SHARED


@pytest.mark.parametrize("name", PRESETS)
def test_a_setting_that_is_given_wins_over_the_preset(name: str) -> None:
    given = {"beta": 0.3, "n_epochs": 7, "temperature": 0.9, "kl_target": None, "whiten_rewards": True}
    settings = ppo.Config.model_validate({"preset": name, "n_iterations": 1, **given}).model_dump()
    assert {key: settings[key] for key in given} == given
    assert settings["n_minibatches"] == PRESETS[name]["n_minibatches"]
    again = ppo.Config.model_validate(settings)
    assert again.model_dump() == settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "openai"},
        {"recipe": "ziegler"},
        {"bta": 1},
        {"temperature": 0},
        {"batch_size": 4, "n_minibatches": 8},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ppo.Config.model_validate({"n_iterations": 1, **wrong})
