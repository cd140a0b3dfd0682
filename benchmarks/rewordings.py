"""Rewordings of taught questions: `python -m benchmarks.rewordings [--unseen | --more | --fresh | --blind | --fit]`.

Counts how many rewordings are answered by the answer that was taught, and how many other questions are, which should be
none; and how many of those that are not get the right one, or any, offered as the answer to a similar question. Every
other taught question of `rewordings.tsv` was kept unseen while the matching was first made; only the
others' failures are printed. `--more` counts the questions of `rewordings_more.tsv`, which share fewer words, and which
the weights were fitted to as well; their failures are printed too. The questions of `rewordings_fresh.tsv`, with
answers, are for measuring only. `--blind` counts `rewordings_blind.json`, by a writer who never saw the program, by how
far the words of a rewording are from the question's; of the half whose failures may be looked at they are printed.

`--fit` prints the weights as `malmoi.retrieval.taught` has them, fitted to both of the first sets and to the half of
the blind one that may be looked at (without what is far), and the smallest threshold at which at most `WRONG` of the
other questions are answered, each judged by weights that were fitted without it and the taught questions next to it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.retrieval.question import understand
from malmoi.retrieval.taught import EVIDENCE, SAME, SIMILAR, Taught, evidence, find_taught

TABLE = Path(__file__).with_suffix(".tsv")
MORE = TABLE.with_name("rewordings_more.tsv")
FRESH = TABLE.with_name("rewordings_fresh.tsv")
BLIND = TABLE.with_name("rewordings_blind.json")
DISTANCES = ("close", "close", "partly", "partly", "far")
"""How far the words of each rewording there are from those of the question."""
WRONG = 0.031
"""Share of other questions that may be answered: in no set are more of them answered than before the blind one came."""
RIDGE = 0.2
N_PARTS = 8
"""Parts of the questions, each judged by weights that are fitted to the others."""

Array = np.ndarray[Any, np.dtype[np.float64]]


def read(path: Path = TABLE) -> tuple[list[Taught], list[tuple[str, str]], list[str]]:
    """Taught answers, (id, rewording) of each, and other questions. path: lines of a kind, a text, and an answer"""
    taught: list[Taught] = []
    rewordings: list[tuple[str, str]] = []
    others: list[str] = []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        kind, _, text = line.partition("\t")
        if kind == "taught":
            question, _, answer = text.partition("\t")
            taught.append(Taught(str(len(taught)), question, answer or "…"))
        elif kind == "=":
            rewordings.append((taught[-1].id, text))
        else:
            others.append(text)
    return taught, rewordings, others


@dataclass(frozen=True)
class Blind:
    """A taught question of the blind set. rewordings: (distance, text); others: questions that it does not answer"""

    taught: Taught
    rewordings: tuple[tuple[str, str], ...]
    others: tuple[str, ...]
    language: str
    is_unseen: bool


def read_blind(path: Path = BLIND) -> list[Blind]:
    return [
        Blind(
            Taught(str(n), row["question"], row["answer"]),
            tuple(zip(DISTANCES, row["rewordings"], strict=True)),
            tuple(row["others"]),
            row["language"],
            row["unseen"],
        )
        for n, row in enumerate(json.loads(path.read_text("utf-8"))["taught"])
    ]


def print_blind() -> None:
    """How many of each half, language and distance are answered by the right answer, and how many others by any."""
    blind = read_blind()
    taught = [one.taught for one in blind]
    lines: list[str] = []
    for half in (False, True):
        print("unseen half" if half else "half that may be looked at")
        for language in ("en", "ko"):
            ours = [one for one in blind if one.is_unseen == half and one.language == language]
            row = []
            for distance in dict.fromkeys(DISTANCES):
                asked = [(one, text) for one in ours for of, text in one.rewordings if of == distance]
                missed = [text for one, text in asked if found(taught, text) != one.taught.id]
                row.append(f"{distance} {len(asked) - len(missed)} of {len(asked)}")
                lines += [] if half else [f"missed  {distance}  {text}" for text in missed]
            others = [text for one in ours for text in one.others]
            wrong = [text for text in others if found(taught, text) is not None]
            lines += [] if half else [f"wrong   {text}" for text in wrong]
            print(f"  {language}: {', '.join(row)}; other questions answered: {len(wrong)} of {len(others)}")
    print(*lines, sep="\n")


def found(taught: Sequence[Taught], text: str, least: float = SAME) -> str | None:
    hit = find_taught(taught, [{"role": "user", "content": text}], least=least)
    return None if hit is None else hit[0].id


@dataclass(frozen=True)
class Pairs:
    """Questions beside taught ones. values: (pairs, evidence); same: (pairs,) 1 where both ask for the same
    asked: (pairs,) the number of the question; is_other: (questions,) whether nothing taught answers it
    part: (questions,) which of `N_PARTS` it is in"""

    values: Array
    same: Array
    asked: np.ndarray[Any, np.dtype[np.int64]]
    is_other: np.ndarray[Any, np.dtype[np.bool_]]
    part: np.ndarray[Any, np.dtype[np.int64]]


Asked = tuple[list[Taught], list[tuple[str, str]], list[str]]


def blind_seen() -> Asked:
    """The half of the blind set that may be looked at, without the rewordings that share next to nothing."""
    seen = [one for one in read_blind() if not one.is_unseen]
    near = [(one.taught.id, text) for one in seen for distance, text in one.rewordings if distance != "far"]
    numbers = {one.taught.id: str(n) for n, one in enumerate(seen)}
    taught = [replace(one.taught, id=numbers[one.taught.id]) for one in seen]
    return taught, [(numbers[id], text) for id, text in near], [text for one in seen for text in one.others]


def pairs(sets: Sequence[Asked]) -> Pairs:
    """Each question of the sets beside each taught one of its set that could be the same."""
    values: list[list[float]] = []
    same: list[float] = []
    asked: list[int] = []
    owners: list[str] = []
    parts: list[int] = []
    for taught, rewordings, others in sets:
        per_taught = len(others) / len(taught)
        for n, (id, text) in enumerate((*rewordings, *(("", text) for text in others))):
            question = understand(text)
            for one in taught:
                if (found := evidence(question, one)) is not None:
                    values.append([*found.values(), 1.0])
                    same.append(float(one.id == id))
                    asked.append(len(owners))
            owners.append(id)
            parts.append(int(id or (n - len(rewordings)) / per_taught) % N_PARTS)
    is_other = np.array([not owner for owner in owners])
    return Pairs(np.array(values), np.array(same), np.array(asked), is_other, np.array(parts))


def fit(given: Pairs, kept: np.ndarray[Any, np.dtype[np.bool_]]) -> Array:
    """Weights, and last the bias, of a logistic regression on the pairs of the questions that are kept."""
    is_used = kept[given.asked]
    values, label = given.values[is_used], given.same[is_used]
    ridge = np.r_[np.full(values.shape[1] - 1, RIDGE), 0.0]
    weights = np.zeros(values.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-values @ weights))
        hessian = (values.T * (p * (1 - p))) @ values + np.diag(ridge)
        weights -= np.linalg.solve(hessian, values.T @ (p - label) + ridge * weights)
    return weights


def print_fit() -> None:
    given = pairs((read(TABLE), read(MORE), blind_seen()))
    best = np.zeros(len(given.is_other))
    for part in range(N_PARTS):
        weights = fit(given, given.part != part)
        likely = 1 / (1 + np.exp(-given.values @ weights))
        is_asked = given.part[given.asked] == part
        np.maximum.at(best, given.asked[is_asked], likely[is_asked])
    others = best[given.is_other]
    same = next(at for at in np.arange(0.3, 1.0, 0.01) if (others >= at).mean() <= WRONG)
    weights = fit(given, np.ones(len(given.is_other), dtype=bool))
    rounded = {name: round(float(weight), 2) for name, weight in zip(EVIDENCE, weights, strict=False)}
    print(f"SAME = {same:.2f}\nEVIDENCE = {rounded}\nBIAS = {weights[-1]:.2f}")
    print(f"rewordings found by weights that were fitted without them: {(best[~given.is_other] >= same).mean():.3f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rewordings", description=__doc__.partition("\n")[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--unseen", action="store_true", help="count the half that was kept unseen")
    which.add_argument("--more", action="store_true", help="count the questions that share fewer words")
    which.add_argument("--fresh", action="store_true", help="count the questions that are for measuring only")
    which.add_argument("--blind", action="store_true", help="count the questions of a writer who never saw the program")
    which.add_argument("--fit", action="store_true", help="fit the weights and the threshold")
    chosen = parser.parse_args(arguments)
    if chosen.fit or chosen.blind:
        (print_fit if chosen.fit else print_blind)()
        return 0
    is_whole = chosen.fresh or chosen.more
    taught, rewordings, others = read(FRESH if chosen.fresh else MORE if chosen.more else TABLE)
    kept = [(id, text) for id, text in rewordings if is_whole or (int(id) % 2 == 1) == chosen.unseen]
    asked = others if is_whole else others[chosen.unseen :: 2]
    missed = [text for id, text in kept if found(taught, text) != id]
    wrong = [text for text in asked if found(taught, text) is not None]
    print(f"rewordings answered: {len(kept) - len(missed)} of {len(kept)}")
    print(f"other questions answered: {len(wrong)} of {len(asked)}")
    offered = sum(found(taught, text, SIMILAR) == id != found(taught, text) for id, text in kept)
    near = sum(found(taught, text, SIMILAR) is not None for text in asked if text not in wrong)
    print(f"offered as similar: the right one for {offered} rewordings, one for {near} other questions")
    if not (chosen.unseen or chosen.fresh):
        print(*(f"missed  {text}" for text in missed), *(f"wrong   {text}" for text in wrong), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
