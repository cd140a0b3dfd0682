"""GRPO's groups, weights and loss beside loops written from arXiv:2402.03300 and arXiv:2503.20783."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from malmoi.algorithms import grpo
from malmoi.data.batch import compact_ids
from malmoi.data.prompts import TokenizedPrompt
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.train.policy_maths import group_advantages, kl_estimate


def small(**given: Any) -> grpo.Config:
    return grpo.Config(**{"n_iterations": 2, "batch_size": 6, "group_size": 3, "max_tokens": 5, "beta": 0.2, **given})


def stream(tokenizer: Tokenizer, config: grpo.Config, away: float = 0.0) -> grpo.GrpoSteps:
    torch.manual_seed(0)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, n_layer=1, n_embd=16, n_head=2, n_kv_head=1, head_dim=8, n_ff=16, seq_len=40
    )
    policy, ref, reward_model = LanguageModel(shape), LanguageModel(shape), ScalarModel(shape)
    ref.load_state_dict(policy.state_dict())
    with torch.no_grad():
        for parameter in ref.parameters():
            parameter.add_(torch.randn(parameter.shape) * away)
    prompts = [
        TokenizedPrompt([], compact_ids(tokenizer.encode(text)), {})
        for text in ("cat", "What is a list?", "낱말", "dog on")
    ]
    return grpo.GrpoSteps(policy, ref, reward_model, prompts, tokenizer, config)


def test_advantages_are_over_the_group_alone() -> None:
    scores = torch.tensor([1.0, 2.0, 6.0, -5.0, -5.0, -5.0])
    plain = group_advantages(scores, 3, divide_by_std=False)
    assert plain.tolist() == [-2.0, -1.0, 3.0, 0.0, 0.0, 0.0]
    std = math.sqrt((4 + 1 + 9) / 2)
    expected = [value / (std + 1e-4) for value in (-2.0, -1.0, 3.0)]
    assert group_advantages(scores, 3, divide_by_std=True).tolist() == pytest.approx([*expected, 0, 0, 0], rel=1e-5)


def test_each_prompt_is_answered_by_a_whole_group(tokenizer: Tokenizer) -> None:
    steps = stream(tokenizer, small())
    next(iter(steps))
    asked = [prompt.ids.tolist() for prompt, _ in steps.latest]
    assert asked == [asked[0]] * 3 + [asked[3]] * 3 and asked[0] != asked[3]
    assert len({tuple(answer.ids) for _, answer in steps.latest}) > 2
    rollouts = steps.rollouts
    assert rollouts is not None and not rollouts.values.any()
    by_group = (rollouts.advantages * rollouts.mask).amax(dim=1) + (rollouts.advantages * rollouts.mask).amin(dim=1)
    torch.testing.assert_close(by_group.view(2, 3).sum(dim=1), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss_per", ["answer", "token"])
def test_the_loss_is_the_mean_over_answers_or_over_tokens(tokenizer: Tokenizer, loss_per: Any) -> None:
    config = small(loss_per=loss_per, micro_batch_size=4)
    steps = stream(tokenizer, config, away=0.3)
    batches = list(next(iter(steps)))
    assert len(batches) == 2
    total, count, answers = 0.0, 0, []
    for batch in batches:
        rows = batch.rollouts
        moved = replace(rows, logps=rows.logps + 0.3 * rows.mask)  # the policy has gone away from what it sampled
        total += grpo.loss(steps.policy, replace(batch, rollouts=moved), config)[0].item()
        count += batch.count
        for row in range(len(rows.ids)):
            tokens = []
            for t in rows.mask[row].nonzero()[:, 0].tolist():
                logp, advantage = float(rows.logps[row, t]), float(rows.advantages[row, t])
                ratio, other = math.exp(-0.3), float(rows.ref_logps[row, t])
                clipped = min(max(ratio, 1 - 0.2), 1 + 0.2)
                kl = math.exp(other - logp) - (other - logp) - 1
                tokens.append(-min(ratio * advantage, clipped * advantage) + 0.2 * ratio * kl)
            answers.append(tokens)
    if loss_per == "answer":
        expected = sum(sum(tokens) / len(tokens) for tokens in answers) / len(answers)
    else:
        expected = sum(map(sum, answers)) / sum(map(len, answers))
    assert total / count == pytest.approx(expected, rel=1e-4)
    assert count == (6 if loss_per == "answer" else sum(map(len, answers)))


def test_the_gradient_of_the_kl_term_is_that_of_the_kl_itself() -> None:
    """Over many samples of the policy, the corrected estimate's gradient is the exact one; the plain one's is not."""
    torch.manual_seed(0)
    logits = torch.tensor([0.2, -0.5, 1.0, 0.3], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([1.0, 0.1, -0.4, 0.0], dtype=torch.float64).log_softmax(0)
    logps = logits.log_softmax(0)
    [exact] = torch.autograd.grad((logps.exp() * (logps - ref)).sum(), logits)
    chance = logps.detach().exp()  # every answer as often as the policy gives it

    def gradient(values: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad((chance * values).sum(), logits, retain_graph=True)[0]

    logps = logits.log_softmax(0)
    estimate = kl_estimate(ref - logps)
    torch.testing.assert_close(gradient((logps - logps.detach()).exp() * estimate), exact)
    assert not torch.allclose(gradient(estimate), exact, atol=1e-2)


def test_adaptive_beta_is_that_of_the_iteration(tokenizer: Tokenizer) -> None:
    steps = stream(tokenizer, small(kl_target=1e-6, beta=0.1, n_epochs=2), away=0.3)
    betas = [batch.beta for batches in steps for batch in batches]
    grown = 0.1 * (1 + 0.2 * 6 / 10_000)
    assert betas == pytest.approx([0.1, 0.1, grown, grown], rel=1e-9)


@pytest.mark.parametrize("wrong", [{"group_size": 4}, {"group_size": 1}, {"loss_per": "batch"}, {"n_minibatches": 9}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        small(**wrong)
