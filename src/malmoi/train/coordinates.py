"""What is done to features before a probe is fitted: they are standardised, and turned to their main directions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from malmoi.train.bayes import Floats, fit_weights
from malmoi.train.features import Features

N_ANSWER, N_PROMPT = 256, 16
"""Most coordinates of an answer and of a prompt."""
N_SOURCE = 64
"""Most coordinates of a prompt by which its source is told."""
CERTAIN = 3.0
"""A coordinate before tanh that says: this source."""


@dataclass(frozen=True)
class Coordinates:
    """Projections of features. Z and C: as in `model/probe.py`

    answer: (2 D, Z - 1), whose squares sum to 1 on average; length: scale and shift of its logarithm
    prompt: (D, C - 1), each of variance 1; the last `n_source` columns tell the prompt's source
    sources: their names; two have one column, which is positive for the first, more have one each
    """

    answer: Floats
    answer_shift: Floats
    prompt: Floats
    prompt_shift: Floats
    length: tuple[float, float]
    sources: tuple[str, ...] = ()

    def answers(self, features: Features) -> Floats:
        """z of each answer, (N, Z)."""
        scale, shift = self.length
        length = np.log(features.lengths) * scale - shift
        return np.column_stack([features.answers @ self.answer - self.answer_shift, length])

    def prompts(self, features: Features) -> Floats:
        """The prompt's part of c before its scale, (R, C - 1)."""
        return np.asarray(np.tanh(features.prompts @ self.prompt - self.prompt_shift))

    @property
    def n_source(self) -> int:
        return 1 if len(self.sources) == 2 else len(self.sources)

    def judged(self, features: Features, sources: Sequence[str]) -> Floats:
        """`prompts`, where each ranking's source is known and not told from its prompt."""
        found = self.prompts(features)
        names = np.array(sources)
        for column, name in enumerate(self.sources[: self.n_source], start=found.shape[1] - self.n_source):
            other = names == self.sources[1] if self.n_source == 1 else names != name
            found[:, column] = np.tanh(CERTAIN) * (1.0 * (names == name) - other)
        return found

    def following(self, source: str) -> "Coordinates":
        """The same, where every prompt is taken for one of this source."""
        prompt, shift, place = self.prompt.copy(), self.prompt_shift.copy(), self.sources.index(source)
        prompt[:, -self.n_source :] = 0
        said = [place == 0] if self.n_source == 1 else [number == place for number in range(self.n_source)]
        shift[-self.n_source :] = np.where(said, -CERTAIN, CERTAIN)
        return replace(self, prompt=prompt, prompt_shift=shift)


def coordinates(features: Features, sources: Sequence[str] = (), named: Sequence[str] = ()) -> Coordinates:
    """Directions in which these answers, and these prompts, differ most.

    sources: of each ranking; named: those that are told from each other by the prompt
    """
    answer, answer_shift = _main_directions(features.answers, N_ANSWER, whiten=False)
    prompt, prompt_shift = _main_directions(features.prompts, N_PROMPT, whiten=True)
    lengths = np.log(features.lengths)
    scale = 1 / max(1e-6, float(lengths.std()))
    length = (scale, float(lengths.mean()) * scale)
    found = Coordinates(answer, answer_shift, prompt, prompt_shift, length, tuple(named))
    if not found.n_source:
        return found
    told, told_shift = _main_directions(features.prompts, N_SOURCE, whiten=True)
    seen = np.column_stack([features.prompts @ told - told_shift, np.ones(len(features.prompts))])
    columns = []
    for name in found.sources[: found.n_source]:
        is_own = np.array([source == name for source in sources], float)
        # tanh of half a logit is twice the probability, less one.
        columns.append(fit_weights(seen, is_own, np.ones(len(is_own))).mean / 2)
    weights = np.array(columns).T
    return replace(
        found,
        prompt=np.column_stack([prompt, told @ weights[:-1]]),
        prompt_shift=np.concatenate([prompt_shift, told_shift @ weights[:-1] - weights[-1]]),
    )


def _main_directions(rows: np.ndarray, most: int, whiten: bool) -> tuple[Floats, Floats]:
    """A matrix (D, m) and a shift (m,): rows @ matrix - shift are standardised coordinates, the most varied first.

    Their squares sum to 1 on average, or, if whitened, each to 1.
    """
    rows = rows.astype(np.float64)
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(scale > 1e-6, scale, np.inf)
    width = np.sqrt(max(1, np.isfinite(scale).sum()))
    unit = (rows - centre) / scale / width
    if len(unit) <= unit.shape[1]:
        values, vectors = np.linalg.eigh(unit @ unit.T)
        vectors = unit.T @ (vectors / np.sqrt(np.maximum(values, 1e-30)))
    else:
        values, vectors = np.linalg.eigh(unit.T @ unit)
    kept = np.argsort(-values)[:most]
    kept = kept[values[kept] > 1e-9 * max(1e-30, values.max())]
    vectors = vectors[:, kept] / (np.sqrt(values[kept] / len(unit)) if whiten else 1)
    matrix = vectors / scale[:, None] / width
    return matrix, centre @ matrix
