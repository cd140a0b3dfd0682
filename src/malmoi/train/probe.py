"""Fit a probe to rankings: a reward model from few judgements, that knows how little it knows.

A Bayesian logistic regression on the differences of pairs (`bayes.py`), each ranking with the weight 1 and a tie with
the target one half. How strong the prior is, and how much the prompt may change what is preferred, is chosen by
cross-validation over prompts; so is the temperature that makes its probabilities true. See `model/probe.py`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from malmoi.errors import DataError
from malmoi.model.probe import Answers, Probe, ProbeShape
from malmoi.train.bayes import Floats, Posterior, fit_kernel, fit_weights, fitted_temperature, log_losses
from malmoi.train.coordinates import Coordinates, coordinates
from malmoi.train.features import Features

N_FACTOR = 256
"""Most columns of the posterior that are kept."""
FEWEST = 10
"""Rankings with a preference below which nothing is learned."""
N_FOLDS = 5
MOST_PAIRS = 1_000
"""Pairs in the cross-validation."""
PRIORS, PROMPT_WEIGHTS, SOURCE_WEIGHTS = (0.3, 1.0, 3.0, 10.0), (0.0, 1.0), (0.0, 1.0, 4.0)
"""What cross-validation chooses from: prior variances of a typical answer's score, in nats², and how much of it depends
on the prompt, and on the source that such a prompt comes from."""
CONTINUED_PRIORS, START_SHARES = (0.01, 0.1, 0.3, 1.0), (0.0, 0.5, 1.0)
"""The same where another probe is the start: prior variances of the weights as they were, and shares of its weights."""


class Pairs(NamedTuple):
    """P pairs of answers: rows of `Features.answers`, the probability that the first is better, the weight (one over
    the number of pairs of the same ranking), and the number of the ranking."""

    first: np.ndarray
    second: np.ndarray
    target: Floats
    weight: Floats
    ranking: np.ndarray

    def of(self, part: np.ndarray) -> "Pairs":
        return Pairs(*(values[part] for values in self))


class Choice(NamedTuple):
    """One of `PRIORS`, of `PROMPT_WEIGHTS` and of `SOURCE_WEIGHTS`; or of `CONTINUED_PRIORS` and `START_SHARES`."""

    prior: float
    prompt_weight: float = 0.0
    source_weight: float = 0.0
    start_share: float = 0.0

    def scales(self, how: Coordinates) -> Floats:
        """What the prompt's part of c is multiplied by, (C - 1,)."""
        n_prompt = how.prompt.shape[1] - how.n_source
        by_prompt = np.sqrt(self.prompt_weight / max(1, n_prompt))
        return np.repeat([by_prompt, np.sqrt(self.source_weight)], [n_prompt, how.n_source])


class Conflict(NamedTuple):
    """Two sources, and how often what one of them taught is right about the other's pairs: less than one half."""

    one: str
    other: str
    accuracy: float


class Fit(NamedTuple):
    """A fitted probe and how it was chosen.

    accuracy, log_loss: of the cross-validation over prompts, by ranking; log_loss is after the temperature
    temperature: what the cross-validated gaps were divided by; it is in the probe already
    n_rankings: those that prefer one answer; conflicts: sources that contradict each other
    """

    probe: Probe
    choice: Choice
    accuracy: float
    log_loss: float
    temperature: float
    n_rankings: int
    conflicts: tuple[Conflict, ...]

    def scores(self, features: Features) -> list[np.ndarray]:
        """The score of each answer of each ranking, (K,), in nats: σ(gap) is the probability that one is better."""
        return probe_scores(self.probe, features)

    def deviations(self, features: Features) -> list[np.ndarray]:
        """The posterior standard deviation of each answer's score, (K,), in nats."""
        return probe_deviations(self.probe, features)


def fit_probe(
    features: Features, ranks: Sequence[Sequence[int]], groups: Sequence[str], sources: Sequence[str] = (),
    follow: str = "",
) -> Fit:  # fmt: skip
    """Fit a probe to rankings.

    ranks: of each ranking's answers, 1 is best; groups: the conversation tree of each ranking, which cross-validation
    does not split
    sources: whose judgement each ranking is; what a source of at least `FEWEST` rankings wants may then be its own, and
    the kind of the prompt says whose judgement counts
    follow: the source whose judgement counts always; "": as the prompt says
    Raises DataError if there are too few rankings, or no preference among them, or too few of the source to follow.
    """
    pairs, useful = _useful_pairs(features, ranks)
    named = _told_apart([sources[n] for n in useful] if len(sources) else [], follow)
    how = coordinates(features, sources, named)
    x = how.answers(features)
    # People may judge the same prompts, which then do not tell whose judgement it is.
    asked = how.judged(features, sources) if follow and how.sources else how.prompts(features)
    x = x[pairs.first] - x[pairs.second]
    validation = _validation(pairs, groups)
    part = validation.part
    plain, asked_of = x[part] @ x[part].T, asked[pairs.ranking[part]]

    def candidates() -> Iterator[Candidate]:
        for weights in product(PROMPT_WEIGHTS, SOURCE_WEIGHTS if named else (0.0,)):
            c = asked_of * Choice(1.0, *weights).scales(how)
            kernel = plain * (1 + c @ c.T)
            yield from (Candidate(Choice(prior, *weights), prior * kernel) for prior in PRIORS)

    found = _cross_validate(candidates(), validation)
    scales, scale = found.choice.scales(how), np.sqrt(found.choice.prior)
    c = np.column_stack([np.ones(len(asked)), asked * scales])[pairs.ranking]
    mean, factor = posterior((c[:, :, None] * (x * scale)[:, None, :]).reshape(len(x), -1), pairs)
    applied = how.following(follow) if follow and how.sources else how
    probe = _module(applied, features.layers, mean, factor, scale / found.temperature, scales)
    return Fit(probe, *found, len(useful), conflicts(x, pairs, sources, named))


def continue_probe(start: Probe, features: Features, ranks: Sequence[Sequence[int]], groups: Sequence[str]) -> Fit:
    """Fit a probe whose weights are, before any ranking is read, those of another one, or a share of them.

    start: reads the same layers of the same network; how it sees answers and prompts stays as it is
    Raises DataError as `fit_probe`.
    """
    pairs, useful = _useful_pairs(features, ranks)
    answers = _answers(start, features)
    with torch.no_grad():
        all_joint = start.joint(answers, answers.is_real).double().numpy()
    joint = all_joint[pairs.first] - all_joint[pairs.second]
    before = start.weights.detach().double().numpy()
    validation = _validation(pairs, groups)
    part = joint[validation.part]
    plain = part @ part.T
    found = _cross_validate(
        (
            Candidate(Choice(prior, start_share=share), prior * plain, share * part @ before)
            for share, prior in product(START_SHARES, CONTINUED_PRIORS)
        ),
        validation,
    )
    share, scale = found.choice.start_share, np.sqrt(found.choice.prior)
    mean, factor = posterior(joint * scale, pairs, share * joint @ before)
    shape = replace(start.shape, n_factor=factor.shape[1])
    state = {name: tensor.detach().double() for name, tensor in start.state_dict().items()}
    for name in ("answer", "answer_shift", "length"):
        state[name] *= scale / found.temperature
    state |= {"weights": torch.from_numpy(mean + share * before / scale), "factor": torch.from_numpy(factor)}
    probe = Probe(shape, start.prompt.shape[0] // len(shape.layers))
    probe.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    return Fit(probe, *found, len(useful), ())


def _useful_pairs(features: Features, ranks: Sequence[Sequence[int]]) -> tuple[Pairs, list[int]]:
    """All pairs, and the numbers of the rankings that prefer one answer. Raises DataError if these are too few."""
    pairs = pairs_of(features, ranks)
    useful = sorted(set(pairs.ranking[pairs.target != 0.5].tolist()))
    if len(useful) < FEWEST:
        raise DataError(
            f"{len(useful)} of {len(ranks)} rankings prefer one answer to another: too few to learn from; rank the "
            f"answers to at least {FEWEST} prompts"
        )
    return pairs, useful


def _told_apart(sources: Sequence[str], follow: str) -> list[str]:
    """The sources that have enough rankings to be told apart; none if there is only one."""
    known = Counter(sources)
    named = sorted(source for source, n in known.items() if n >= FEWEST)
    if follow and follow not in named:
        there = ", ".join(f"{source} ({n})" for source, n in sorted(known.items()))
        raise DataError(
            f"follow: {follow!r} has no {FEWEST} rankings that prefer an answer; there are {there or 'none'}"
        )
    return named if len(named) > 1 else []


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


class Candidate(NamedTuple):
    """A choice, and what it says before any ranking is read: covariance (P, P) and mean (P,) of the gaps."""

    choice: Choice
    kernel: Floats
    offset: Floats | float = 0.0


class Validation(NamedTuple):
    """Pairs for cross-validation: part (P,) of all pairs, and of these themselves and the fold of each."""

    part: np.ndarray
    pairs: Pairs
    folds: np.ndarray


class Chosen(NamedTuple):
    """The best candidate, and how well it does on pairs that it was not fitted to; see `Fit`."""

    choice: Choice
    accuracy: float
    log_loss: float
    temperature: float


def _validation(pairs: Pairs, groups: Sequence[str]) -> Validation:
    """All pairs, or of as many rankings as have `MOST_PAIRS`. A group is in one fold."""
    rng = np.random.default_rng(0)
    names = np.array(sorted(set(groups)))
    fold_of = dict(zip(rng.permutation(names).tolist(), np.arange(len(names)) % N_FOLDS, strict=True))
    folds, part = np.array([fold_of[groups[number]] for number in pairs.ranking]), np.arange(len(pairs.ranking))
    if len(folds) > MOST_PAIRS:
        order = rng.permutation(int(pairs.ranking.max()) + 1)
        drawn = np.cumsum(np.bincount(pairs.ranking, minlength=len(order))[order])
        part = np.flatnonzero(np.isin(pairs.ranking, order[drawn <= MOST_PAIRS]))
    return Validation(part, pairs.of(part), folds[part])


def _cross_validate(candidates: Iterable[Candidate], validation: Validation) -> Chosen:
    """The candidate with the least log loss on groups that it was not fitted on."""
    _, pairs, folds = validation
    best, found = np.inf, (Choice(1.0), np.zeros(len(folds)))
    for choice, kernel, offset in candidates:
        offset = np.broadcast_to(offset, len(folds))
        gaps = np.array(offset)
        for fold in range(N_FOLDS):
            held, own = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            if len(held) and len(own):
                inside = kernel[np.ix_(own, own)]
                alpha = fit_kernel(inside, pairs.target[own], pairs.weight[own], offset[own])
                gaps[held] += kernel[np.ix_(held, own)] @ alpha
        loss = float(pairs.weight @ log_losses(gaps, pairs.target))
        if loss < best:
            best, found = loss, (choice, gaps)
    choice, gaps = found
    temperature = fitted_temperature(gaps, pairs.target, pairs.weight)
    loss = float(np.average(log_losses(gaps / temperature, pairs.target), weights=pairs.weight))
    # A gap above 0 is right where the first is better; a tie and an equal gap count one half.
    right = np.where(gaps == 0, 0.5, np.where(gaps > 0, pairs.target, 1 - pairs.target))
    return Chosen(choice, float(np.average(right, weights=pairs.weight)), loss, temperature)


def conflicts(x: Floats, pairs: Pairs, sources: Sequence[str], named: Sequence[str]) -> tuple[Conflict, ...]:
    """Sources of which each is wrong about the other more often than not. x: (P, Z) differences of the pairs"""
    own = {name: np.array([sources[number] == name for number in pairs.ranking]) for name in named}
    mean = {
        name: x[part].T @ fit_kernel(x[part] @ x[part].T, pairs.target[part], pairs.weight[part])
        for name, part in own.items()
    }

    def accuracy(of: str, about: str) -> float:
        part = own[about] & (pairs.target != 0.5)
        return float(np.average((x[part] @ mean[of] > 0) == (pairs.target[part] == 1), weights=pairs.weight[part]))

    found = [Conflict(a, b, (accuracy(a, b) + accuracy(b, a)) / 2) for a, b in combinations(named, 2)]
    return tuple(one for one in found if one.accuracy < 0.5)


def posterior(joint: Floats, pairs: Pairs, offset: Floats | float = 0.0) -> Posterior:
    """Mean (d,) of the weights, and V (d, M): their covariance is I - V Vᵀ, up to directions that say least.

    The regression is done in the directions in which pairs differ at all.
    """
    is_wide = len(joint) <= joint.shape[1]
    values, vectors = np.linalg.eigh(joint @ joint.T if is_wide else joint.T @ joint)
    kept = values > 1e-9 * max(1e-30, values.max())
    basis = joint.T @ (vectors[:, kept] / np.sqrt(values[kept])) if is_wide else vectors[:, kept]
    mean, covariance = fit_weights(joint @ basis, pairs.target, pairs.weight, offset)
    known, directions = np.linalg.eigh(np.eye(len(mean)) - covariance)
    most = np.argsort(-known)[:N_FACTOR]
    return Posterior(basis @ mean, basis @ (directions[:, most] * np.sqrt(np.clip(known[most], 0, 1))))


def _module(
    how: Coordinates, layers: tuple[int, ...], mean: Floats, factor: Floats, scale: float, prompt_scale: Floats
) -> Probe:
    """scale: of the answers' coordinates; prompt_scale: (C - 1,) of the prompt's part of c."""
    shape = ProbeShape(layers, how.answer.shape[1], how.prompt.shape[1], factor.shape[1])
    probe = Probe(shape, how.prompt.shape[0] // len(layers))
    values = {
        "answer": how.answer * scale, "answer_shift": how.answer_shift * scale, "length": np.array(how.length) * scale,
        "prompt": how.prompt, "prompt_shift": how.prompt_shift, "prompt_scale": prompt_scale,
        "weights": mean, "factor": factor,
    }  # fmt: skip
    probe.load_state_dict({name: torch.from_numpy(np.asarray(value)).float() for name, value in values.items()})
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


class Directions(NamedTuple):
    """What the posterior says of N answers to R prompts: the covariance of two scores is (c · c') (z · z') - v · v'.

    z: (N, Z), c: (R, C), v: (N, M)
    """

    z: Floats
    c: Floats
    v: Floats


def probe_directions(probe: Probe, features: Features) -> Directions:
    """The directions in which scores are known and unknown, in units of nats."""
    answers = _answers(probe, features)
    with torch.no_grad():
        z, c = probe.parts(answers)
        v = probe.joint(answers, answers.is_real) @ probe.factor
    first = np.cumsum(features.sizes) - features.sizes
    return Directions(*(part.double().numpy() for part in (z[:, 0], c[first], v)))


def _answers(probe: Probe, features: Features) -> Answers:
    """Rows of one token each, (N, 1)."""
    with torch.no_grad():
        means = torch.from_numpy(features.answers).float() @ probe.answer - probe.answer_shift
        prompts = (torch.from_numpy(features.prompts).float() @ probe.prompt - probe.prompt_shift)[features.ranking]
    lengths: Tensor = torch.from_numpy(features.lengths)[:, None]
    return Answers(prompts, means[:, None], lengths, torch.ones_like(lengths, dtype=torch.bool))
