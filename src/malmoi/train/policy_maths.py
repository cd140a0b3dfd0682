"""The arithmetic of RLHF. Every function is pure; masks are True at response tokens."""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Values = TypeVar("Values", Tensor, np.ndarray)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp_min(1)


def whiten(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
    """Divide by the standard deviation over the mask (biased, eps 1e-8 inside the root); keep the mean unless shifted.

    values, mask: (B, T). Source: the published code of arXiv:1909.08593.
    """
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    return (whitened if shift_mean else whitened + mean) * mask


def priced(scores: Values, finished: Values, price: float) -> Values:
    """Subtract `price` from the score of an answer that never ended its turn: ending it always scores higher.

    scores, finished: of one shape; price: in the scores' unit. Used wherever answers are trained on, chosen
    or compared. Source: TRL's `missing_eos_penalty`.
    """
    return scores - price * ~finished


def token_rewards(scores: Tensor, logps: Tensor, ref_logps: Tensor, mask: Tensor, beta: float) -> Tensor:
    """-beta (log policy - log ref) at every response token, plus the score at the last one.

    scores: (B,), in reward units; logps, ref_logps, mask: (B, T). Returns (B, T).
    Source: arXiv:1909.08593, eq. 2.
    """
    rewards = -beta * (logps - ref_logps) * mask
    position = torch.arange(mask.shape[1], device=mask.device)
    last = (position * mask).argmax(dim=1, keepdim=True)
    return rewards.scatter_add(1, last, scores[:, None].to(rewards.dtype))


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """Generalised advantage estimates, right to left over the response; beyond its last token the value is 0.

    rewards, values, mask: (B, T), in reward units; gamma, gae_lambda in [0, 1]
    Returns (B, T), without gradient, zero outside the mask. Raises ValueError on unequal shapes.
    Source: Schulman et al. 2016, arXiv:1506.02438, eq. 16.
    """
    if not rewards.shape == values.shape == mask.shape:
        raise ValueError(f"shapes differ: {rewards.shape}, {values.shape}, {mask.shape}")
    advantages = torch.zeros_like(rewards)
    following = next_value = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        inside = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        following = torch.where(inside, delta + gamma * gae_lambda * following, following)
        next_value = torch.where(inside, values[:, t], next_value)
        advantages[:, t] = torch.where(inside, following, 0.0)
    return advantages.detach()


def clipped_policy_loss(logps: Tensor, old_logps: Tensor, advantages: Tensor, clip_eps: float) -> Tensor:
    """-min(ratio A, clip(ratio) A) per token. Source: Schulman et al. 2017, arXiv:1707.06347, eq. 7."""
    ratio = (logps - old_logps).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip_eps, 1 + clip_eps) * advantages)


def group_advantages(scores: Tensor, group_size: int, divide_by_std: bool) -> Tensor:
    """Score - mean of its group, divided by the group's standard deviation (unbiased, 1e-4 added) if asked.

    scores: (B,), answers to one prompt are consecutive. Returns (B,), zero where all scores of a group are equal.
    Source: arXiv:2402.03300, §4.1.1; without the division: arXiv:2503.20783.
    """
    groups = scores.view(-1, group_size)
    centred = groups - groups.mean(dim=1, keepdim=True)
    return (centred / (groups.std(dim=1, keepdim=True) + 1e-4) if divide_by_std else centred).flatten()


def kl_estimate(log_ratio: Tensor) -> Tensor:
    """exp(x) - 1 - x: unbiased for KL(p || q) where x = log q - log p of samples of p, and never negative.

    Source: http://joschu.net/blog/kl-approx.html, k3.
    """
    return log_ratio.exp() - 1 - log_ratio


def clipped_value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip_eps: float) -> Tensor:
    """½ max of the clipped and the plain squared error per token. Source: the published code of arXiv:1909.08593."""
    clipped = old_values + (values - old_values).clamp(-clip_eps, clip_eps)
    return 0.5 * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)


def adapted_beta(beta: float, kl: float, target: float, horizon: int, n_answers: int) -> float:
    """Proportional controller of the KL coefficient. kl, target: nats per answer. Source: arXiv:1909.08593, §2.2."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * n_answers / horizon)
