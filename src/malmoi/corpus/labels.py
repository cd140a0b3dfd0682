"""What people said of pages, keep or drop: files of labels, and a classifier trained on them with what it is worth.

A file holds JSON lines {"text", "label"}: 1, true or "keep"; 0, false or "drop"; null for a page that a person was not
sure about. Further keys ("id", "url", "language") are kept. `malmoi corpus label` writes such files.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.corpus.steps.language import language_of
from malmoi.corpus.steps.learned import PENALTIES, Classifier, Rows, fit, rows_of
from malmoi.errors import DataError
from malmoi.text import text_digest

LEAST = 10
"""Labels of each kind without which nothing is trained."""
N_FOLDS, N_BINS, N_DRAWS = 5, 5, 1000
CHOSEN_ON = 500
"""Labels on which the strength of the penalty is chosen, in two halves."""
SAID = {1: True, 0: False, "keep": True, "drop": False, "1": True, "0": False}
"""What a file has as a label -> whether to keep the page."""


@dataclass(frozen=True)
class Label:
    """A text, and whether to keep it."""

    text: str
    keep: bool
    language: str


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, row) of a file of labels, plain or gzipped. Raises DataError with the line of what is none."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except ValueError as error:
                        raise DataError(f"{path}:{number}: is not JSON ({error}); correct or remove the line") from None
                    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or "label" not in row:
                        raise DataError(f'{path}:{number}: no label; each line needs "text" and "label" (1 or 0)')
                    said = row["label"]
                    if said is not None and (not isinstance(said, str | int) or said not in SAID):
                        raise DataError(
                            f"{path}:{number}: label {json.dumps(said)[:40]}: give 1 (keep), 0 (drop) or null"
                        )
                    yield number, row
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `malmoi corpus label` makes one") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def read_labels(paths: Sequence[Path]) -> list[Label]:
    """The labels of all files, the last one of each text. Raises DataError if there are too few of a kind."""
    found: dict[bytes, Label] = {}
    for path in paths:
        for _, row in read_rows(path):
            if row["label"] is None:
                continue
            text = row["text"]
            name = row.get("language")
            language = name if isinstance(name, str) and name else language_of(text)[0]
            found[text_digest(text)] = Label(text, SAID[row["label"]], language)
    labels = [found[key] for key in sorted(found)]
    n_keep = sum(label.keep for label in labels)
    if min(n_keep, len(labels) - n_keep) < LEAST:
        names = ", ".join(map(str, paths))
        raise DataError(f"{names}: {n_keep} labels keep and {len(labels) - n_keep} drop; give at least {LEAST} of each")
    return labels


def train(labels: Sequence[Label]) -> tuple[Classifier, dict[str, Any]]:
    """A classifier of all labels, and a report of what it says of labels that it was not trained on.

    The report: "auc" with its interval, also of length only and by language; "roc": (wrongly kept, rightly kept);
    "calibration": (said, kept, n). All of it is cross-validated: each label is judged by a classifier that was trained
    without it; the strength of the penalty is chosen on the same labels, which flatters it a little.
    """
    rows = rows_of([label.text for label in labels], [label.language for label in labels])
    keep = np.array([label.keep for label in labels], np.float64)
    folds = folds_of(labels)
    few = np.arange(min(len(labels), CHOSEN_ON))  # the labels are in the order of their hashes: a random part
    losses = {
        penalty: _loss(crossed(rows[few], keep[few], folds[few] % 2, penalty), keep[few]) for penalty in PENALTIES
    }
    penalty = min(losses, key=lambda one: (losses[one], -one))
    scores = crossed(rows, keep, folds, penalty)
    report = judged(scores, keep, [label.language for label in labels], [len(label.text) for label in labels])
    return fit(rows, keep, penalty), {"penalty": penalty, **report}


def folds_of(labels: Sequence[Label]) -> np.ndarray:
    """A fold for each label, by its kind and the hash of its text. Shape (N,)."""
    folds = np.zeros(len(labels), np.int64)
    for kind in (True, False):
        of_kind = [number for number, label in enumerate(labels) if label.keep is kind]
        of_kind.sort(key=lambda number: hashlib.sha256(text_digest(labels[number].text)).digest())
        for place, number in enumerate(of_kind):
            folds[number] = place % N_FOLDS
    return folds


def crossed(rows: Rows, keep: np.ndarray, folds: np.ndarray, penalty: float) -> np.ndarray:
    """For each label, what a classifier says that was trained without its fold. Shape (N,)."""
    scores = np.zeros(len(keep))
    for fold in range(int(folds.max()) + 1):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        if len(inside):
            scores[inside] = fit(rows[outside], keep[outside], penalty).of_rows(rows[inside])
    return scores


def judged(scores: np.ndarray, keep: np.ndarray, languages: Sequence[str], lengths: Sequence[int]) -> dict[str, Any]:
    """What scores are worth next to labels: see `train`."""
    order = np.argsort(-scores, kind="stable")
    right, wrong = np.cumsum(keep[order]), np.cumsum(1 - keep[order])
    ends = np.append(np.diff(scores[order]) != 0, True)
    curve = np.stack([wrong / max(1, wrong[-1]), right / max(1, right[-1])], 1)[ends]
    places = np.unique(np.linspace(0, len(curve) - 1, 60).astype(int))
    bins = [part for part in np.array_split(order[::-1], N_BINS) if len(part)]
    by_language = {}
    for name in sorted(set(languages)):
        of_one = np.array([language == name for language in languages])
        if 0 < keep[of_one].sum() < of_one.sum():
            by_language[name] = auc_row(scores[of_one], keep[of_one])
    return {
        "n_keep": int(keep.sum()), "n_drop": int((1 - keep).sum()),
        "auc": auc_row(scores, keep), "auc_of_length": auc_row(np.array(lengths, np.float64), keep),
        "auc_by_language": by_language,
        "roc": [[0.0, 0.0], *([round(float(x), 4), round(float(y), 4)] for x, y in curve[places])],
        "calibration": [[round(float(scores[part].mean()), 4), round(float(keep[part].mean()), 4), len(part)]
                        for part in bins],
    }  # fmt: skip


def auc(scores: np.ndarray, keep: np.ndarray) -> float:
    """Area under the ROC curve: how often a page to keep has the higher score of the two; ties count half."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    _, inverse, n = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.bincount(inverse, ranks) / n)[inverse]
    n_keep = keep.sum()
    n_drop = len(keep) - n_keep
    return float((ranks[keep > 0].sum() - n_keep * (n_keep + 1) / 2) / max(1, n_keep * n_drop))


def auc_row(scores: np.ndarray, keep: np.ndarray) -> dict[str, float]:
    """The area with its 95 % interval, a bootstrap over the labels of each kind."""
    return _with_interval(lambda at: auc(scores[at], keep[at]), keep)


def auc_difference(a: np.ndarray, b: np.ndarray, keep: np.ndarray) -> dict[str, float]:
    """By how much the area of `a` is larger than that of `b` on the same labels: a paired bootstrap, as `auc_row`."""
    return _with_interval(lambda at: auc(a[at], keep[at]) - auc(b[at], keep[at]), keep)


def _with_interval(measure: Callable[[np.ndarray], float], keep: np.ndarray) -> dict[str, float]:
    """measure: of the labels with these numbers"""
    rng = np.random.default_rng(1)
    kept, dropped = np.flatnonzero(keep > 0), np.flatnonzero(keep == 0)
    drawn = [
        measure(np.concatenate([rng.choice(kept, len(kept)), rng.choice(dropped, len(dropped))]))
        for _ in range(N_DRAWS)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    mean = measure(np.arange(len(keep)))
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4), "n": len(keep)}


def _loss(scores: np.ndarray, keep: np.ndarray) -> float:
    sure = np.clip(scores, 1e-6, 1 - 1e-6)
    return float(-(keep * np.log(sure) + (1 - keep) * np.log(1 - sure)).mean())
