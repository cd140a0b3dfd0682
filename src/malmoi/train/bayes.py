"""Bayesian logistic regression on the differences of pairs, by Laplace's approximation.

Source: Rasmussen & Williams 2006, "Gaussian processes for machine learning", section 3.4 and algorithm 3.1; with
targets between 0 and 1 (a tie is one half) and a weight for each pair. P pairs; all arrays are float64.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_STEPS = 50


class Posterior(NamedTuple):
    """Of the weights of m coordinates with the prior N(0, 1): their mean (m,), and covariance (m, m)."""

    mean: Floats
    covariance: Floats


def log_losses(gaps: Floats, target: Floats) -> Floats:
    """-log p of each pair's outcome in nats, (P,): the probability that the first is better is σ(gap)."""
    return np.asarray(target * np.logaddexp(0, -gaps) + (1 - target) * np.logaddexp(0, gaps))


def fit_kernel(kernel: Floats, target: Floats, weight: Floats, offset: Floats | float = 0.0) -> Floats:
    """The coefficients (P,) of the most likely gaps, which are `kernel` @ coefficients + `offset`.

    kernel: (P, P) prior covariance of the gaps; offset: (P,) their prior mean
    """
    alpha = np.zeros(len(target))
    spread = np.zeros(len(target))
    value = _objective(0.0, spread + offset, target, weight)
    for _ in range(MOST_STEPS):
        p = 1 / (1 + np.exp(-spread - offset))
        root = np.sqrt(weight * p * (1 - p))
        right = root**2 * spread + weight * (target - p)
        inner = np.linalg.solve(np.eye(len(p)) + root[:, None] * kernel * root, root * (kernel @ right))
        step, towards = 1.0, right - root * inner - alpha
        moved = kernel @ towards
        while True:
            next_alpha, next_spread = alpha + step * towards, spread + step * moved
            new = _objective(float(next_alpha @ next_spread), next_spread + offset, target, weight)
            if new >= value:
                break
            step /= 2
            if step < 1e-6:
                return alpha
        alpha, spread = next_alpha, next_spread
        if new - value < 1e-7:
            break
        value = new
    return alpha


def _objective(norm: float, gaps: Floats, target: Floats, weight: Floats) -> float:
    """The logarithm of the posterior density. norm: squared length of the weights"""
    return float(-0.5 * norm - weight @ log_losses(gaps, target))


def fit_weights(x: Floats, target: Floats, weight: Floats, offset: Floats | float = 0.0) -> Posterior:
    """The posterior of the weights; the gaps are x @ weights + offset. x: (P, m)"""
    if len(x) < x.shape[1]:
        mean = x.T @ fit_kernel(x @ x.T, target, weight, offset)
    else:
        mean = _newton(x, target, weight, offset)
    p = 1 / (1 + np.exp(-x @ mean - offset))
    precision = np.eye(x.shape[1]) + (x * (weight * p * (1 - p))[:, None]).T @ x
    return Posterior(np.asarray(mean), np.asarray(np.linalg.inv(precision), np.float64))


def _newton(x: Floats, target: Floats, weight: Floats, offset: Floats | float) -> Floats:
    mean = np.zeros(x.shape[1])
    value = _objective(0.0, x @ mean + offset, target, weight)
    for _ in range(MOST_STEPS):
        p = 1 / (1 + np.exp(-x @ mean - offset))
        precision = np.eye(len(mean)) + (x * (weight * p * (1 - p))[:, None]).T @ x
        towards = np.linalg.solve(precision, x.T @ (weight * (target - p)) - mean)
        step, new = 1.0, -np.inf
        while step > 1e-6:
            moved = mean + step * towards
            new = _objective(float(moved @ moved), x @ moved + offset, target, weight)
            if new >= value:
                break
            step /= 2
        if new - value < 1e-7:
            break
        mean, value = mean + step * towards, new
    return mean


def fitted_temperature(gaps: Floats, target: Floats, weight: Floats) -> float:
    """The number in [1/4, 4] that gaps should be divided by, for the least log loss."""
    choices = np.exp(np.linspace(-np.log(4), np.log(4), 81))
    return float(choices[np.argmin([weight @ log_losses(gaps / t, target) for t in choices])])
