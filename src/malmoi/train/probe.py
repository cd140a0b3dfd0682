"""Fit a probe to rankings: a reward model from few judgements, that knows how little it knows.

A Bayesian logistic regression on the differences of pairs (`bayes.py`), each ranking with the weight 1 and a tie with
the target one half. How strong the prior is, and how much the prompt may change what is preferred, is chosen by
cross-validation over prompts; so is the temperature that makes its probabilities true. See `model/probe.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from malmoi.errors import DataError
from malmoi.model.probe import Answers, Probe, ProbeShape
from malmoi.train.bayes import Floats, Posterior, fit_kernel, fit_weights, fitted_temperature, log_losses
from malmoi.train.features import Features

N_ANSWER, N_PROMPT, N_FACTOR = 256, 16, 256
"""Most coordinates of an answer, of a prompt, and columns of the posterior that are kept."""
FEWEST = 10
"""Rankings with a preference below which nothing is learned."""
N_FOLDS = 5
MOST_PAIRS = 1_500
"""Pairs in the cross-validation."""
CANDIDATES = tuple(product((0.3, 1.0, 3.0), (0.0, 1.0)))
"""Prior variances of the gaps (of a typical pair, in nats²) and weights of the prompt in it."""


class Pairs(NamedTuple):
    """P pairs of answers: rows of `Features.answers`, the probability that the first is better, the weight (one over
    the number of pairs of the same ranking), and the number of the ranking."""

    first: np.ndarray
    second: np.ndarray
    target: Floats
    weight: Floats
    ranking: np.ndarray


class Fit(NamedTuple):
    """A fitted probe and how it was chosen.

    prior, prompt_weight: the chosen one of `CANDIDATES`
    accuracy, log_loss: of the cross-validation over prompts, by ranking; log_loss is after the temperature
    temperature: what the cross-validated gaps were divided by; it is in the probe already
    """

    probe: Probe
    prior: float
    prompt_weight: float
    accuracy: float
    log_loss: float
    temperature: float

    def scores(self, features: Features) -> list[np.ndarray]:
        """The score of each answer of each ranking, (K,), in nats: σ(gap) is the probability that one is better."""
        return probe_scores(self.probe, features)

    def deviations(self, features: Features) -> list[np.ndarray]:
        """The posterior standard deviation of each answer's score, (K,), in nats."""
        return probe_deviations(self.probe, features)


@dataclass(frozen=True)
class Coordinates:
    """What is done to features before the regression: standardised, and turned to their main directions.

    answer: (2 D, Z - 1), of length 1 on average; prompt: (D, C - 1), each of variance 1; length: scale and shift
    """

    answer: Floats
    answer_shift: Floats
    prompt: Floats
    prompt_shift: Floats
    length: tuple[float, float]

    def answers(self, features: Features) -> Floats:
        """z of each answer, (N, Z)."""
        scale, shift = self.length
        length = np.log(features.lengths) * scale - shift
        return np.column_stack([features.answers @ self.answer - self.answer_shift, length])

    def prompts(self, features: Features) -> Floats:
        """The prompt's part of c before its scale, (R, C - 1)."""
        return np.asarray(np.tanh(features.prompts @ self.prompt - self.prompt_shift))


def fit_probe(
    features: Features,
    ranks: Sequence[Sequence[int]],
    groups: Sequence[str],
) -> Fit:
    """Fit a probe to rankings.

    ranks: of each ranking's answers, 1 is best; groups: the conversation tree of each ranking, which cross-validation
    does not split
    Raises DataError if there are too few rankings, or no preference among them.
    """
    pairs = pairs_of(features, ranks)
    n_useful = len(set(pairs.ranking[pairs.target != 0.5].tolist()))
    if n_useful < FEWEST:
        raise DataError(
            f"{n_useful} of {len(ranks)} rankings prefer one answer to another: too few to learn from; rank the "
            f"answers to at least {FEWEST} prompts"
        )
    how = coordinates(features)
    x, asked = how.answers(features), how.prompts(features)
    x = x[pairs.first] - x[pairs.second]
    chosen, gaps, part = _cross_validate(x, asked[pairs.ranking], pairs, groups)
    prior, prompt_weight = chosen
    temperature = fitted_temperature(gaps, part.target, part.weight)
    loss = float(np.average(log_losses(gaps / temperature, part.target), weights=part.weight))
    # (gap > 0) is right where the first is better; a tie and an equal gap count one half.
    right = np.where(gaps == 0, 0.5, np.where(gaps > 0, part.target, 1 - part.target))
    accuracy = float(np.average(right, weights=part.weight))
    scale = np.sqrt(prompt_weight / max(1, asked.shape[1]))
    c = np.column_stack([np.ones(len(asked)), asked * scale])[pairs.ranking]
    joint = (c[:, :, None] * (x * np.sqrt(prior))[:, None, :]).reshape(len(x), -1)
    mean, factor = posterior(joint, pairs)
    probe = _module(how, features, mean, factor, np.sqrt(prior) / temperature, scale)
    return Fit(probe, prior, prompt_weight, accuracy, loss, temperature)


def pairs_of(features: Features, ranks: Sequence[Sequence[int]]) -> Pairs:
    """All C(K, 2) pairs of each ranking."""
    ends = np.cumsum(features.sizes)
    rows: list[tuple[int, int, float, float, int]] = []
    for number, rank in enumerate(ranks):
        start = int(ends[number] - features.sizes[number])
        share = 2 / max(2, len(rank) * (len(rank) - 1))
        for i, j in combinations(range(len(rank)), 2):
            preferred = 0.5 if rank[i] == rank[j] else float(rank[i] < rank[j])
            rows.append((start + i, start + j, preferred, share, number))
    first, second, target, weight, ranking = np.array(rows).reshape(-1, 5).T
    return Pairs(first.astype(int), second.astype(int), target, weight, ranking.astype(int))


def coordinates(features: Features) -> Coordinates:
    """Standardise, and turn to the directions in which the answers, and the prompts, differ most."""
    answer, answer_shift = _main_directions(features.answers, N_ANSWER, whiten=False)
    prompt, prompt_shift = _main_directions(features.prompts, N_PROMPT, whiten=True)
    lengths = np.log(features.lengths)
    scale = 1 / max(1e-6, float(lengths.std()))
    return Coordinates(answer, answer_shift, prompt, prompt_shift, (scale, float(lengths.mean()) * scale))


def _main_directions(rows: np.ndarray, most: int, whiten: bool) -> tuple[Floats, Floats]:
    """A matrix (D, m) and a shift (m,): rows @ matrix - shift are standardised coordinates, the most varied first.

    Their squares sum to 1 on average, or, if whitened, each to 1.
    """
    rows = rows.astype(np.float64)
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 1e-6, scale, np.inf)
    unit = (rows - centre) / scale / np.sqrt(max(1, np.isfinite(scale).sum()))
    if len(unit) <= unit.shape[1]:
        values, vectors = np.linalg.eigh(unit @ unit.T)
        vectors = unit.T @ (vectors / np.sqrt(np.maximum(values, 1e-30)))
    else:
        values, vectors = np.linalg.eigh(unit.T @ unit)
    kept = np.argsort(-values)[:most]
    kept = kept[values[kept] > 1e-9 * max(1e-30, values.max())]
    vectors = vectors[:, kept]
    if whiten:
        vectors = vectors / np.sqrt(values[kept] / len(unit))
    matrix = vectors / scale[:, None] / np.sqrt(max(1, np.isfinite(scale).sum()))
    return matrix, centre @ matrix


def _cross_validate(
    x: Floats, asked: Floats, pairs: Pairs, groups: Sequence[str]
) -> tuple[tuple[float, float], Floats, Pairs]:
    """The candidate with the least log loss on rankings of groups that it was not fitted on, its gaps there, and the
    pairs that they are of."""
    rng = np.random.default_rng(0)
    names = np.array(sorted(set(groups)))
    fold_of = dict(zip(rng.permutation(names).tolist(), np.arange(len(names)) % N_FOLDS, strict=True))
    folds = np.array([fold_of[groups[number]] for number in pairs.ranking])
    if len(folds) > MOST_PAIRS:
        drawn = np.cumsum(np.bincount(pairs.ranking)[order := rng.permutation(int(pairs.ranking.max()) + 1)])
        part = np.isin(pairs.ranking, order[drawn <= MOST_PAIRS])
        x, asked, folds, pairs = x[part], asked[part], folds[part], Pairs(*(values[part] for values in pairs))
    plain, likeness = x @ x.T, asked @ asked.T / max(1, asked.shape[1])
    best, found = np.inf, (CANDIDATES[0], np.zeros(len(folds)))
    for prior, prompt_weight in CANDIDATES:
        kernel = prior * plain * (1 + prompt_weight * likeness)
        gaps = np.zeros(len(folds))
        for fold in range(N_FOLDS):
            held, own = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            if len(held) and len(own):
                inside = kernel[np.ix_(own, own)]
                gaps[held] = kernel[np.ix_(held, own)] @ fit_kernel(inside, pairs.target[own], pairs.weight[own])
        loss = float(pairs.weight @ log_losses(gaps, pairs.target))
        if loss < best:
            best, found = loss, ((prior, prompt_weight), gaps)
    return (*found, pairs)


def posterior(joint: Floats, pairs: Pairs) -> Posterior:
    """Mean (d,) of the weights, and V (d, M): their covariance is I - V Vᵀ, up to directions that say least.

    The regression is done in the directions in which pairs differ at all.
    """
    is_wide = len(joint) <= joint.shape[1]
    values, vectors = np.linalg.eigh(joint @ joint.T if is_wide else joint.T @ joint)
    kept = values > 1e-9 * max(1e-30, values.max())
    basis = joint.T @ (vectors[:, kept] / np.sqrt(values[kept])) if is_wide else vectors[:, kept]
    mean, covariance = fit_weights(joint @ basis, pairs.target, pairs.weight)
    known, directions = np.linalg.eigh(np.eye(len(mean)) - covariance)
    most = np.argsort(-known)[:N_FACTOR]
    return Posterior(basis @ mean, basis @ (directions[:, most] * np.sqrt(np.clip(known[most], 0, 1))))


def _module(
    how: Coordinates, features: Features, mean: Floats, factor: Floats, scale: float, prompt_scale: float
) -> Probe:
    """scale: of the answers' coordinates; prompt_scale: of the prompt's part of c, which weights and factor take in."""
    shape = ProbeShape(features.layers, how.answer.shape[1], how.prompt.shape[1], factor.shape[1])
    probe = Probe(shape, how.prompt.shape[0] // len(features.layers))
    first, shift = how.length
    values = {
        "answer": how.answer * scale, "answer_shift": how.answer_shift * scale,
        "length": np.array([first, shift]) * scale,
        "prompt": how.prompt, "prompt_shift": how.prompt_shift, "prompt_scale": np.array(prompt_scale),
        "weights": mean, "factor": factor,
    }  # fmt: skip
    state = {name: torch.from_numpy(np.asarray(value)).float() for name, value in values.items()}
    probe.load_state_dict(state)
    return probe


def probe_scores(probe: Probe, features: Features) -> list[np.ndarray]:
    """The score of each answer of each ranking, (K,), in nats."""
    with torch.no_grad():
        return features.split(probe.scores(_answers(probe, features))[:, 0].numpy())


def probe_deviations(probe: Probe, features: Features) -> list[np.ndarray]:
    """The posterior standard deviation of each answer's score, (K,), in nats."""
    answers = _answers(probe, features)
    with torch.no_grad():
        return features.split(probe.deviations(answers, answers.is_real).numpy())


def _answers(probe: Probe, features: Features) -> Answers:
    """Rows of one token each, (N, 1)."""
    with torch.no_grad():
        means = torch.from_numpy(features.answers).float() @ probe.answer - probe.answer_shift
        prompts = (torch.from_numpy(features.prompts).float() @ probe.prompt - probe.prompt_shift)[features.ranking]
    lengths: Tensor = torch.from_numpy(features.lengths)[:, None]
    return Answers(prompts, means[:, None], lengths, torch.ones_like(lengths, dtype=torch.bool))
