"""The questions that the score is fitted to, and the fitting."""

from typing import Any

import numpy as np
import pytest

from benchmarks.fitness import THRESHOLDS, Case, Judged, cases, fit, judge, right, scores, table, threshold
from malmoi.corpus.documents import Document
from malmoi.retrieval import fitness

SORT = "function list.sort()\nSort the list in ascending order and return None."
DUMPS = "function json.dumps(obj, *, indent=None)\nSerialize obj to a JSON formatted str."


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    documents = [Document(SORT, "python:list.sort"), Document(DUMPS, "python:json.dumps")]
    return judge(list(cases(documents, tmp_path_factory.mktemp("fitness"))))


def test_both_halves_have_questions_of_every_kind_and_none_twice(judged: Judged) -> None:
    asked = [case.turns for case in judged.cases if case.kind not in ("elsewhere", "notes", "missing")]
    assert len(asked) == len(set(asked))
    for fits in (True, False):
        for kind in ("howto", "ko", "off", "unknown", "notes", "missing", "elsewhere"):
            assert judged.where(kind, fits=fits).sum() >= 20


def test_the_fit_separates_what_differs_and_leaves_the_other_half_out(judged: Judged) -> None:
    n = len(judged.cases)
    evidence = np.zeros((n, len(fitness.WEIGHTS)))
    evidence[:, 0] = [case.is_answerable if case.fits else not case.is_answerable for case in judged.cases]
    made = Judged(judged.cases, evidence, np.zeros(n))
    weights, bias = fit(made)
    score = scores(made, weights, bias)
    assert weights["coverage"] > 3 and bias < 0 and weights["rank"] == 0
    assert all((value > 0.5) == case.is_answerable for value, case in zip(score, made.cases, strict=True) if case.fits)
    fitted, other = (next(line for line in block.split("\n") if "0.5 " in line) for block in halves(made, score))
    assert "answerable 0.000" in fitted and "answerable 1.000" in other


def halves(judged: Judged, score: np.ndarray[Any, np.dtype[np.float64]]) -> list[str]:
    lines = list(table(judged, score))
    middle = len(lines) // 2
    return ["\n".join(lines[:middle]), "\n".join(lines[middle:])]


def test_where_there_can_be_no_source_the_score_is_0(judged: Judged) -> None:
    nothing = Judged([], np.full((2, len(fitness.WEIGHTS)), np.nan), np.array([0, 0.7]))
    assert scores(nothing, fitness.WEIGHTS, fitness.BIAS).tolist() == [0, 0.7]


def test_the_threshold_is_the_smallest_that_declines_enough(judged: Judged) -> None:
    score = np.array([0.9 if case.is_answerable or not case.fits else 0.12 for case in judged.cases])
    assert threshold(judged, score) == 0.15
    score[np.flatnonzero(judged.where("off", fits=True))[:20]] = 0.32
    assert threshold(judged, score) == 0.35
    score[judged.where("off", fits=True)] = 0.8
    assert threshold(judged, score) == THRESHOLDS[-1]


def test_right_is_an_accepted_name_that_comes_first(judged: Judged) -> None:
    lookup = next(case.lookup for case in judged.cases if case.names)
    given = [Case("what", lookup, (f"What is list.sort{mark}",), True, ("list.sort",)) for mark in ("?", "", "!", "??")]
    wrong = [Case("what", lookup, case.turns, True, ("json.dumps",)) for case in given]
    lines = list(right(Judged([*given, *wrong], np.zeros((8, len(fitness.WEIGHTS))), np.zeros(8))))
    assert all("right first 0.500" in line for line in lines)
