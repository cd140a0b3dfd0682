"""`python -m benchmarks.fitness`: the weights of a source's score, and what each threshold declines.

Asks questions written by hand of this Python's documentation (`fitness_questions.tsv`) and of the folders of notes of
`benchmarks.notes`. Questions about notes are also asked of the documentation, where nothing answers them. Half of the
questions, by the hash of their text, fit the weights; the others are for measuring only. Nothing here is asked by
another measurement, nor trained on. The score of notes has weights of its own (`malmoi.retrieval.answering`), which are
not fitted here.

Prints the weights as `malmoi.retrieval.fitness` has them; the smallest threshold that declines 93 % of the questions of
the half to fit that are off topic or about unknown names; for each half and each threshold the shares of questions that
are declined, with bootstrap intervals; and how often and how fast the right name comes first. With `--present` the
weights that are in use are measured instead of fitted.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.notes import NOTES
from malmoi.corpus.documents import Document
from malmoi.evals.interval import bootstrap
from malmoi.files import iterate_jsonl, read_json
from malmoi.retrieval import fitness
from malmoi.retrieval.findings import title_of
from malmoi.retrieval.fitness import Evidence
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.small_talk import small_talk
from malmoi.synthetic.pydocs import read_python_docs

QUESTIONS = Path(__file__).with_name("fitness_questions.tsv")
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
TO_DECLINE = 0.93
"""Share of the questions of the half to fit that nothing answers, which the threshold has to decline."""
RIDGE = 0.002
WEIGHTS = {"elsewhere": 0.25}
"""How much questions count by their kind: those that are asked where others belong are many."""
NOT_ANSWERED = ("off", "unknown")


@dataclass(frozen=True)
class Case:
    """kind: "howto", "what", "ko", …; of what nothing answers "off", "unknown", "missing" (in notes), "elsewhere" for a
    question about notes that is asked of the documentation
    names: of the documentation that answer, or ()"""

    kind: str
    lookup: Lookup
    turns: tuple[str, ...]
    is_answerable: bool
    names: tuple[str, ...] = ()

    @property
    def messages(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": turn} for turn in self.turns]

    @property
    def fits(self) -> bool:
        """Whether it is of the half that weights are fitted to."""
        return hashlib.sha256(self.turns[-1].encode()).digest()[-1] % 2 == 0


def cases(documents: Sequence[Document], folder: Path) -> Iterator[Case]:
    """All questions, each with the index that it is asked of."""
    docs = _lookup(documents, folder / "docs")
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            kind, turns, names = line.split("\t")
            found = () if names == "-" else tuple(names.split(","))
            yield Case(kind, docs, tuple(turns.split("||")), bool(found), found)
    for number, note in enumerate(read_json(NOTES)):
        files = [Document(text, file, line=1) for file, text in note["files"].items()]
        here = _lookup(files, folder / f"notes-{number}")
        for question in (row["question"] for row in note["questions"]):
            yield Case("notes", here, (question,), True)
            yield Case("elsewhere", docs, (question,), False)
        for question in note["unanswered"]:
            yield Case("missing", here, (question,), False)
            yield Case("elsewhere", docs, (question,), False)


def _lookup(documents: Sequence[Document], folder: Path) -> Lookup:
    build_index(documents, folder)
    return Lookup(Index.open(folder))


@dataclass(frozen=True)
class Judged:
    """Cases that are no small talk. evidence: for the best passage about a name, NaN where no source is possible;
    notes: the score of the best note, 0 where there is none"""

    cases: list[Case]
    evidence: np.ndarray[Any, np.dtype[np.float64]]
    notes: np.ndarray[Any, np.dtype[np.float64]]

    def where(self, *kinds: str, fits: bool) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which cases of a half are of the kinds; "answerable" is all that the documentation answers."""
        wanted = [
            case.fits == fits and (case.kind in kinds or ("answerable" in kinds and bool(case.names)))
            for case in self.cases
        ]
        return np.array(wanted)


def judge(given: Sequence[Case]) -> Judged:
    kept = [case for case in given if not small_talk(case.turns[-1])]
    found = [case.lookup.evidence(case.messages) for case in kept]
    nothing = [np.nan] * len(fields(Evidence))
    values = [nothing if evidence is None else evidence.values() for evidence, _ in found]
    return Judged(kept, np.array(values), np.array([note for _, note in found]))


def fit(judged: Judged) -> tuple[dict[str, float], float]:
    """Weights and bias of a logistic regression on the half to fit; both classes count alike, by Newton's method."""
    is_used = np.array([case.fits for case in judged.cases]) & ~np.isnan(judged.evidence).any(axis=1)
    label = np.array([float(case.is_answerable) for case in judged.cases])[is_used]
    count = np.array([WEIGHTS.get(case.kind, 1.0) for case in judged.cases])[is_used]
    for value in (0.0, 1.0):
        count[label == value] *= 0.5 / count[label == value].sum()
    given = np.c_[judged.evidence[is_used], np.ones(is_used.sum())]
    ridge = np.r_[np.full(given.shape[1] - 1, RIDGE), 0.0]
    weights = np.zeros(given.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-given @ weights))
        hessian = (given.T * (count * p * (1 - p))) @ given + np.diag(ridge)
        weights -= np.linalg.solve(hessian, given.T @ (count * (p - label)) + ridge * weights)
    names = [field.name for field in fields(Evidence)]
    return {name: round(float(weight), 2) for name, weight in zip(names, weights, strict=False)}, round(weights[-1], 2)


def scores(judged: Judged, weights: dict[str, float], bias: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The score of the best passage of each case; 0 where there can be no source."""
    logits = bias + judged.evidence @ np.array(list(weights.values()))
    return np.fmax(np.nan_to_num(1 / (1 + np.exp(-logits)), nan=0.0), judged.notes)


def threshold(judged: Judged, score: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """The smallest threshold that declines `TO_DECLINE` of what nothing answers, in the half to fit."""
    not_answered = score[judged.where(*NOT_ANSWERED, fits=True)]
    return next((t for t in THRESHOLDS if (not_answered < t).mean() >= TO_DECLINE), THRESHOLDS[-1])


def table(judged: Judged, score: np.ndarray[Any, np.dtype[np.float64]]) -> Iterator[str]:
    """For each half and threshold the shares of questions that are declined."""
    for fits in (True, False):
        yield f"{'half that was fitted' if fits else 'other half'}: share declined"
        for at in THRESHOLDS:
            declined = score < at
            parts = [f"  {at:<5}"]
            for name, kinds in (("answerable", ("answerable",)), ("off or unknown", NOT_ANSWERED)):
                parts.append(f"{name} {bootstrap(declined[judged.where(*kinds, fits=fits)].tolist())} ")
            for kind in ("ko", *NOT_ANSWERED, "elsewhere", "notes", "missing"):
                parts.append(f"{kind} {declined[judged.where(kind, fits=fits)].mean():.3f}")
            yield " ".join(parts)


def right(judged: Judged) -> Iterator[str]:
    """How often a name that answers comes first and among three, with the weights in use, and how fast."""
    for fits in (True, False):
        first, three, times = [], [], []
        for case in (case for case in judged.cases if case.names and case.fits == fits):
            start = time.perf_counter()
            findings = case.lookup.find(case.messages)
            times.append(1e3 * (time.perf_counter() - start))
            titles = [title_of(source.passage) for source in findings.sources]
            names = {name.removeprefix("topic:") for name in case.names}
            first.append(float(titles[:1] != [] and titles[0] in names))
            three.append(float(not names.isdisjoint(titles)))
        median, p95 = np.percentile(times, [50, 95])
        yield (
            f"{'half that was fitted' if fits else 'other half'}: right first {bootstrap(first)}, among three "
            f"{bootstrap(three)}; {median:.0f} ms, p95 {p95:.0f} ms"
        )


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.fitness", description=__doc__)
    parser.add_argument("--present", action="store_true", help="measure the weights in use instead of fitting")
    parser.add_argument("--documents", type=Path, help="rows of documents, instead of reading Python's documentation")
    given = parser.parse_args()
    if given.documents:
        documents = [Document(**row) for row in iterate_jsonl(given.documents)]
    else:
        documents = [document for document, _ in read_python_docs()]
    with tempfile.TemporaryDirectory() as folder:
        judged = judge(list(cases(documents, Path(folder))))
        weights, bias = (fitness.WEIGHTS, fitness.BIAS) if given.present else fit(judged)
        score = scores(judged, weights, bias)
        print(f"THRESHOLD = {threshold(judged, score)}\nWEIGHTS = {json.dumps(weights)}\nBIAS = {bias}")
        print(*table(judged, score), *right(judged), sep="\n")


if __name__ == "__main__":
    main()
