"""The questions that the score is fitted to, and the fitting."""

from typing import Any

import numpy as np
import pytest

from benchmarks.fitness import Case, Judged, cases, fit, judge, right, scores, table
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
        for kind in ("howto", "ko", "off", "unknown", "notes", "elsewhere"):
            assert judged.where(kind, fits=fits).sum() >= 20


def test_the_fit_separates_what_differs_and_leaves_the_other_half_out(judged: Judged) -> None:
    n = len(judged.cases)
    evidence = np.zeros((n, len(fitness.WEIGHTS)))
    evidence[:, 0] = [case.is_answerable if case.fits else not case.is_answerable for case in judged.cases]
    made = Judged(judged.cases, evidence)
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
    assert scores(Judged([], np.full((1, len(fitness.WEIGHTS)), np.nan)), fitness.WEIGHTS, fitness.BIAS).tolist() == [0]


def test_right_is_an_accepted_name_that_comes_first(judged: Judged) -> None:
    lookup = next(case.lookup for case in judged.cases if case.names)
    given = [Case("what", lookup, (f"What is list.sort{mark}",), True, ("list.sort",)) for mark in ("?", "", "!", "??")]
    wrong = [Case("what", lookup, case.turns, True, ("json.dumps",)) for case in given]
    lines = list(right(Judged([*given, *wrong], np.zeros((8, 7)))))
    assert all("right first 0.500" in line for line in lines)
