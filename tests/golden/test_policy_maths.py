"""The arithmetic of PPO-RLHF beside loops over single tokens, written from the papers."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from malmoi.algorithms import ppo
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.train.policy_maths import (
    adapted_beta,
    clipped_policy_loss,
    clipped_value_loss,
    gae,
    token_rewards,
    whiten,
)
from malmoi.train.rollouts import Rollouts, scores_at_end

Rows = list[tuple[int, int]]
Naive = Callable[..., float]


@st.composite
def ragged(draw: Any) -> tuple[Rows, Tensor, torch.Generator]:
    """Responses (first, last) inside rows of one width, their mask (B, T), and a source of numbers."""
    width = draw(st.integers(1, 9))
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, width - 1))
        rows.append((first, draw(st.integers(first, width - 1))))
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, (first, last) in enumerate(rows):
        mask[row, first : last + 1] = True
    return rows, mask, torch.Generator().manual_seed(draw(st.integers(0, 2**32)))


def fill(rows: Rows, mask: Tensor, naive: Naive) -> Tensor:
    """(B, T): what `naive(row, t, first, last)` says inside each response, 0 outside."""
    filled = torch.zeros(mask.shape)
    for row, (first, last) in enumerate(rows):
        for t in range(first, last + 1):
            filled[row, t] = naive(row, t, first, last)
    return filled


@settings(deadline=None)
@given(case=ragged(), gamma=st.sampled_from([0.0, 0.9, 1.0]), gae_lambda=st.sampled_from([0.0, 0.95, 1.0]))
def test_advantages_are_the_discounted_sums_of_td_errors(case: Any, gamma: float, gae_lambda: float) -> None:
    rows, mask, generator = case
    rewards, values = torch.randn(2, *mask.shape, generator=generator)

    def td_error(row: int, t: int, last: int) -> float:
        following = float(values[row, t + 1]) if t < last else 0.0
        return float(rewards[row, t]) + gamma * following - float(values[row, t])

    def advantage(row: int, t: int, first: int, last: int) -> float:
        return sum((gamma * gae_lambda) ** (later - t) * td_error(row, later, last) for later in range(t, last + 1))

    found = gae(rewards, values, mask, gamma, gae_lambda)
    torch.testing.assert_close(found, fill(rows, mask, advantage), atol=1e-5, rtol=1e-5)


def test_with_lambda_1_and_gamma_1_an_advantage_is_the_whole_reward_to_come_less_the_value() -> None:
    rewards = torch.tensor([[9.0, -1.0, 0.5, 2.0, 9.0]])
    values = torch.tensor([[9.0, 0.2, 0.3, 0.4, 9.0]])
    mask = torch.tensor([[False, True, True, True, False]])
    expected = torch.tensor([[0.0, 1.3, 2.2, 1.6, 0.0]])
    torch.testing.assert_close(gae(rewards, values, mask, 1.0, 1.0), expected)


def test_advantages_refuse_unequal_shapes() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        gae(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 4, dtype=torch.bool), 1.0, 0.95)


@settings(deadline=None)
@given(case=ragged(), beta=st.sampled_from([0.0, 0.02, 0.5]))
def test_each_token_pays_its_kl_and_the_last_one_earns_the_score(case: Any, beta: float) -> None:
    rows, mask, generator = case
    logps, ref_logps = -torch.rand(2, *mask.shape, generator=generator)
    scores = torch.randn(len(rows), generator=generator)

    def reward(row: int, t: int, first: int, last: int) -> float:
        penalty = -beta * (float(logps[row, t]) - float(ref_logps[row, t]))
        return penalty + (float(scores[row]) if t == last else 0.0)

    found = token_rewards(scores, logps, ref_logps, mask, beta)
    torch.testing.assert_close(found, fill(rows, mask, reward), atol=1e-6, rtol=1e-6)


@settings(deadline=None)
@given(case=ragged(), shift_mean=st.booleans())
def test_whitening_sees_the_responses_alone(case: Any, shift_mean: bool) -> None:
    rows, mask, generator = case
    values = torch.randn(mask.shape, generator=generator) * 3 + 5
    inside = [float(values[row, t]) for row, (first, last) in enumerate(rows) for t in range(first, last + 1)]
    mean = sum(inside) / len(inside)
    std = math.sqrt(sum((value - mean) ** 2 for value in inside) / len(inside) + 1e-8)

    def whitened(row: int, t: int, first: int, last: int) -> float:
        return (float(values[row, t]) - mean) / std + (0.0 if shift_mean else mean)

    expected = fill(rows, mask, whitened)
    # A single value, or several equal ones, are divided by the root of eps alone: 1e4 times any rounding.
    torch.testing.assert_close(whiten(values, mask, shift_mean), expected, atol=1e-4 if std > 1e-3 else 0.1, rtol=1e-4)


def naive_policy_loss(logp: float, old_logp: float, advantage: float, eps: float) -> float:
    """arXiv:1707.06347, eq. 7, as cases."""
    ratio = math.exp(logp - old_logp)
    if advantage >= 0:
        return -min(ratio, 1 + eps) * advantage
    return -max(ratio, 1 - eps) * advantage


def naive_value_loss(value: float, old_value: float, target: float, eps: float) -> float:
    clipped = min(max(value, old_value - eps), old_value + eps)
    return max((value - target) ** 2, (clipped - target) ** 2) / 2


@settings(deadline=None)
@given(case=ragged(), eps=st.sampled_from([0.1, 0.2, 0.9]))
def test_clipped_losses_are_those_of_the_papers(case: Any, eps: float) -> None:
    _, mask, generator = case
    new, old, third = torch.randn(3, *mask.shape, generator=generator) * 0.5
    for loss, naive in ((clipped_policy_loss, naive_policy_loss), (clipped_value_loss, naive_value_loss)):
        expected = [
            naive(*numbers, eps) for numbers in zip(*(x.flatten().tolist() for x in (new, old, third)), strict=True)
        ]
        torch.testing.assert_close(loss(new, old, third, eps).flatten(), torch.tensor(expected), atol=1e-6, rtol=1e-5)


def test_no_gradient_pushes_a_ratio_further_out_than_the_clip() -> None:
    logps = torch.tensor([0.5, 0.5, -0.5, -0.5, 0.0], requires_grad=True)
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    clipped_policy_loss(logps, torch.zeros(5), advantages, 0.2).sum().backward()
    assert logps.grad is not None
    assert (logps.grad != 0).tolist() == [False, True, True, False, True]


@pytest.mark.parametrize(
    ("kl", "error"), [(6.0, 0.0), (6.6, 0.1), (5.4, -0.1), (60.0, 0.2), (0.0, -0.2), (-3.0, -0.2), (7.2, 0.2)]
)
def test_beta_follows_its_target_by_at_most_a_fifth(kl: float, error: float) -> None:
    """arXiv:1909.08593, §2.2, with its published horizon of 10,000 answers and batches of 512."""
    assert adapted_beta(0.15, kl, 6.0, 10_000, 512) == pytest.approx(0.15 * (1 + error * 512 / 10_000))


CONFIG = ModelConfig(vocab_size=13, n_layer=2, n_embd=12, n_head=2, n_kv_head=1, head_dim=6, n_ff=10, seq_len=12)


def random_networks(seed: int) -> ppo.PolicyAndValue:
    torch.manual_seed(seed)
    networks = ppo.PolicyAndValue(LanguageModel(CONFIG), ScalarModel(CONFIG))
    with torch.no_grad():
        for parameter in networks.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    return networks


def random_rollouts(seed: int, rows: Rows, width: int) -> Rollouts:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(rows), width)
    position = torch.arange(width)
    mask = torch.stack([(position >= first) & (position <= last) for first, last in rows])
    logps, ref_logps, values, advantages, returns = torch.randn(5, *shape, generator=generator)
    return Rollouts(
        ids=torch.randint(CONFIG.vocab_size, (len(rows), width + 1), generator=generator),
        mask=mask, logps=(logps * 0.2 - 2.5) * mask, ref_logps=ref_logps * mask, values=values * mask,
        advantages=advantages * mask, returns=returns * mask, scores=torch.randn(len(rows), generator=generator),
        finished=torch.ones(len(rows), dtype=torch.bool),
    )  # fmt: skip


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_the_loss_is_a_sum_over_single_response_tokens(temperature: float) -> None:
    """Value and gradients, each answer read alone, without padding or batch."""
    rows = [(2, 5), (0, 0), (4, 10), (3, 9)]
    batch = random_rollouts(1, rows, width=11)
    networks = random_networks(2)
    config = ppo.Config(n_iterations=1, temperature=temperature, clip_eps=0.15, value_clip_eps=0.3, vf_coef=0.4)
    policy_sum, metrics = ppo.loss(networks, ppo.Batch(ppo.policy_loss, batch, batch.count), config)
    value_sum, value_metrics = ppo.loss(networks, ppo.Batch(ppo.value_loss, batch), config)
    found, metrics = policy_sum + value_sum, metrics | value_metrics
    gradients = torch.autograd.grad(found, list(networks.parameters()))

    expected = {"policy_loss": 0.0, "value_loss": 0.0, "approx_kl": 0.0, "clip_fraction": 0.0, "entropy": 0.0}
    total = torch.zeros(())
    for row, (first, last) in enumerate(rows):
        ids = batch.ids[row : row + 1, : last + 2]
        logits, values = networks.policy(ids[:, :-1])[0] / temperature, networks.value(ids[:, :-1])[0]
        for t in range(first, last + 1):
            logp = logits[t, ids[0, t + 1]] - logits[t].exp().sum().log()
            ratio = (logp - batch.logps[row, t]).exp()
            advantage = batch.advantages[row, t]
            policy_loss = -torch.minimum(ratio * advantage, ratio.clamp(0.85, 1.15) * advantage)
            clipped = batch.values[row, t] + (values[t] - batch.values[row, t]).clamp(-0.3, 0.3)
            target = batch.returns[row, t]
            value_loss = torch.maximum((values[t] - target) ** 2, (clipped - target) ** 2) / 2
            total = total + policy_loss + 0.4 * value_loss
            expected["policy_loss"] += policy_loss.item()
            expected["value_loss"] += value_loss.item()
            expected["approx_kl"] += ratio.item() - 1 - math.log(ratio.item())
            expected["clip_fraction"] += float(abs(ratio.item() - 1) > 0.15)
            expected["entropy"] += float(torch.distributions.Categorical(logits=logits[t].detach()).entropy())
    assert found.item() == pytest.approx(total.item(), abs=1e-4)
    assert {name: value.item() for name, value in metrics.items()} == pytest.approx(expected, abs=1e-4)
    for ours, naive in zip(gradients, torch.autograd.grad(total, list(networks.parameters())), strict=True):
        torch.testing.assert_close(ours, naive, atol=1e-4, rtol=1e-4)
    assert batch.count == sum(last - first + 1 for first, last in rows)


def test_rows_of_rollouts_are_the_same_rows_without_needless_padding() -> None:
    batch = random_rollouts(1, [(2, 5), (0, 0), (4, 10)], width=11)
    part = batch.rows(torch.tensor([1, 0]))
    assert part.ids.shape == (2, 7) and part.logps.shape == (2, 6)
    assert torch.equal(part.ids, batch.ids[[1, 0], :7]) and torch.equal(part.returns, batch.returns[[1, 0], :6])
    assert torch.equal(part.scores, batch.scores[[1, 0]])
    assert part.count == 5


def test_the_score_is_read_at_the_last_token_of_the_answer() -> None:
    """Whatever padding stands behind it: each row scored alone, cut at its end, has the same score."""
    rows = [(2, 5), (0, 0), (4, 10)]
    batch, model = random_rollouts(1, rows, width=11), random_networks(3).value
    model.score_bias.fill_(2.0)
    found = scores_at_end(model, batch.ids, batch.mask)
    alone = [model(batch.ids[row : row + 1, : last + 2])[0, -1] for row, (_, last) in enumerate(rows)]
    torch.testing.assert_close(found, torch.stack(alone))
