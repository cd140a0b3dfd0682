"""A classifier of pages that is trained on one's own labels, keep and drop, for any language.

The rule's score, counted features of the text and hashed words, word pairs and (where letters are not ASCII) pieces of
words go into a logistic regression. It begins as a logistic regression of only the score, and an L2 penalty holds all
weights there: where labels say nothing, as of lengths if those of both kinds are alike, the rule decides. It is small
(a quarter of a megabyte), and the same labels give the same bytes. Hashed words with logistic regression were better
than fastText in our comparison, and need no further library.
"""

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from malmoi.corpus.steps.quality import features, lines_of
from malmoi.errors import DataError
from malmoi.files import write_bytes

N_BUCKETS = 1 << 16
MAX_CHARS = 6_000
"""Characters of a text that are looked at: its first two thirds of this number, and its last third."""
PENALTIES = (0.0003, 0.003, 0.03, 0.3)
N_STEPS = 80
FORM = "2"
_TOKEN = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"\w+")
_LINK = re.compile(r"https?://|www\.|\.com\b", re.I)
_BASE = np.uint64(0x9E3779B97F4A7C15)
N_COUNTED = 17


@dataclass(frozen=True)
class Rows:
    """Texts as sparse rows. counted: (N, 17); starts: (N + 1,); buckets, values: of all hashed features, row by row"""

    counted: np.ndarray
    starts: np.ndarray
    buckets: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.counted)

    def __getitem__(self, chosen: np.ndarray) -> "Rows":
        """Some of the rows, by their numbers."""
        parts = [np.arange(self.starts[n], self.starts[n + 1]) for n in chosen.tolist()]
        at = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        lengths = np.diff(self.starts)[chosen]
        return Rows(self.counted[chosen], np.cumsum([0, *lengths]), self.buckets[at], self.values[at])


def counted(text: str, language: str) -> list[float]:
    """The rule's score, and the features that are counted, each of about the size of one. Shape (17,)."""
    lines, words = lines_of(text), _WORD.findall(text)
    n_words, n_lines, n_chars = max(1, len(words)), max(1, len(lines)), max(1, len(text))
    again = n_lines - len(set(lines))
    found = features(text, language).values()
    return [
        sum(found) / len(found),
        *found,
        math.log(n_words) / 8,
        math.log(n_lines) / 5,
        math.log(n_chars / n_lines) / 6,
        sum(map(len, words)) / n_words / 8,
        len({word.lower() for word in words}) / n_words,
        again / n_lines,
        min(1.0, 20 * len(_LINK.findall(text)) / n_words),
        sum(len(line) < 30 for line in lines) / n_lines,
        sum(line.endswith((":", "…", "...", ">", "»")) for line in lines) / n_lines,
    ]


class _Codes(dict[str, int]):
    """A word's hash, computed once."""

    def __missing__(self, word: str) -> int:
        if len(self) > 1_000_000:
            self.clear()
        code = self[word] = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        return code


_codes = _Codes()


def hashed(text: str) -> tuple[np.ndarray, np.ndarray]:
    """(buckets, values) of the words, word pairs and pieces of words of a text; the values have length 1 together."""
    words = _TOKEN.findall(text.lower())
    one = np.fromiter(map(_codes.__getitem__, words), np.uint64, len(words))
    parts = [one]
    with np.errstate(over="ignore"):
        if len(one) > 1:
            parts.append((one[:-1] * _BASE) ^ one[1:])
        letters = " ".join(word for word in words if not word.isascii())
        codes = np.frombuffer(letters.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        parts += [_pieces(codes, n) for n in (2, 3) if len(codes) >= n]
        mixed = np.concatenate(parts) * _BASE
    buckets, n = np.unique((mixed >> np.uint64(40)) % np.uint64(N_BUCKETS), return_counts=True)
    values = np.sqrt(n)
    length = float(np.linalg.norm(values)) or 1.0
    return buckets.astype(np.int64), values / length


def _pieces(codes: np.ndarray, n: int) -> np.ndarray:
    found = np.full(len(codes) - n + 1, n, np.uint64)
    for at in range(n):
        found = (found ^ codes[at : at + len(found)]) * _BASE
        found ^= found >> np.uint64(29)
    return found


def rows_of(texts: Sequence[str], languages: Sequence[str]) -> Rows:
    """The features of texts."""
    dense, starts, buckets, values = [], [0], [np.zeros(0, np.int64)], [np.zeros(0)]
    for text, language in zip(texts, languages, strict=True):
        looked = text if len(text) <= MAX_CHARS else f"{text[: 2 * MAX_CHARS // 3]}\n{text[-MAX_CHARS // 3 :]}"
        dense.append(counted(looked, language))
        of_text, value = hashed(looked)
        buckets.append(of_text)
        values.append(value)
        starts.append(starts[-1] + len(of_text))
    dense_rows = np.array(dense).reshape(len(texts), N_COUNTED)
    return Rows(dense_rows, np.array(starts, np.int64), np.concatenate(buckets), np.concatenate(values))


@dataclass(frozen=True)
class Classifier:
    """weights: (N_BUCKETS,) of the hashed features; counted: (17,) of the counted ones, which are centred first"""

    weights: np.ndarray
    counted: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    bias: float

    def of_rows(self, rows: Rows) -> np.ndarray:
        """Probability that each is kept. Shape (N,)."""
        dense = (rows.counted - self.centre) / self.scale
        return _sigmoid(dense @ self.counted + _times(rows, self.weights) + self.bias)

    def of(self, text: str, language: str) -> float:
        """Probability that a text is kept."""
        return float(self.of_rows(rows_of([text], [language]))[0])

    def save(self, path: Path) -> None:
        """As safetensors."""
        from safetensors.numpy import save

        tensors = {"weights": self.weights, "counted": self.counted, "centre": self.centre, "scale": self.scale,
                   "bias": np.array([self.bias])}  # fmt: skip
        write_bytes(path, save({name: value.astype(np.float32) for name, value in tensors.items()}, {"form": FORM}))

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """Raises DataError if the file is no classifier."""
        from safetensors.numpy import load_file

        try:
            found = load_file(path)
            found = {name: value.astype(np.float64) for name, value in found.items()}
            if found["counted"].shape != (N_COUNTED,):
                raise ValueError("of another version of Malmoi")
            return cls(found["weights"], found["counted"], found["centre"], found["scale"], float(found["bias"][0]))
        except Exception as error:
            raise DataError(f"{path}: no classifier ({error}); build the corpus again") from None


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def _times(rows: Rows, weights: np.ndarray) -> np.ndarray:
    each = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    return np.bincount(each, rows.values * weights[rows.buckets], len(rows))


def fit(rows: Rows, labels: np.ndarray, penalty: float) -> Classifier:
    """Logistic regression. labels: (N,), 1 for keep; penalty: of the squared distance to the weights of only the score

    Accelerated gradient descent (Nesterov 1983), which begins again from rest when it overshoots; no randomness.
    """
    centre, scale = rows.counted.mean(0), rows.counted.std(0) + 0.05
    dense = (rows.counted - centre) / scale / math.sqrt(N_COUNTED)  # a row has a length of about 1, as its hashed part
    each = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    n = len(rows)
    # All weights in one vector: hashed, counted, bias.
    penalties = np.append(np.full(N_BUCKETS + N_COUNTED, penalty), 0.0)
    begin = np.zeros(N_BUCKETS + N_COUNTED + 1)
    begin[N_BUCKETS], begin[-1] = _of_score(dense[:, 0], labels)
    weights = begin
    ahead, momentum = weights, 1.0
    step = 1 / (0.25 * (1 + _largest(dense) + 1) + penalty)
    for _ in range(N_STEPS):
        at = np.bincount(each, rows.values * ahead[rows.buckets], n) + dense @ ahead[N_BUCKETS:-1] + ahead[-1]
        wrong = (_sigmoid(at) - labels) / n
        slope = np.concatenate(
            [np.bincount(rows.buckets, rows.values * wrong[each], N_BUCKETS), dense.T @ wrong, [wrong.sum()]]
        )
        slope += penalties * (ahead - begin)
        new = ahead - step * slope
        if slope @ (new - weights) > 0:
            momentum = 1.0
        grown = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / grown * (new - weights)
        weights, momentum = new, grown
    of_counted = weights[N_BUCKETS:-1] / math.sqrt(N_COUNTED)
    return Classifier(weights[:N_BUCKETS], of_counted, centre, scale, float(weights[-1]))


def _of_score(score: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """(weight, bias) of a logistic regression of one feature, by Newton's method.

    Its targets are a little off 0 and 1, as Platt (1999) has them: a score that separates all labels would be given a
    weight without end.
    """
    n_keep = labels.sum()
    aims = np.where(labels > 0, (n_keep + 1) / (n_keep + 2), 1 / (len(labels) - n_keep + 2))
    rows, found = np.stack([score, np.ones(len(score))], 1), np.zeros(2)
    for _ in range(50):
        at = _sigmoid(rows @ found)
        bend = rows.T @ (rows * (at * (1 - at))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(bend, rows.T @ (at - aims))
        found -= step * min(1.0, 3 / max(3.0, float(np.abs(step).max())))
    return float(found[0]), float(found[1])


def _largest(dense: np.ndarray) -> float:
    """The largest eigenvalue of the counted features' covariance."""
    return float(np.linalg.eigvalsh(dense.T @ dense / max(1, len(dense)))[-1])
