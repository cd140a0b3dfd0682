"""Rewordings of taught questions: `python -m benchmarks.rewordings [--unseen | --fresh]`.

Counts how many rewordings are answered by the answer that was taught, and how many other questions are, which should be
none. Every other taught question of `rewordings.tsv` was kept unseen while the matching was first made; only the
others' failures are printed. The questions of `rewordings_fresh.tsv`, with answers, were written after the matching was
finished, and were measured once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from malmoi.retrieval.taught import Taught, find_taught

TABLE = Path(__file__).with_suffix(".tsv")
FRESH = TABLE.with_name("rewordings_fresh.tsv")


def read(path: Path = TABLE) -> tuple[list[Taught], list[tuple[str, str]], list[str]]:
    """Taught answers, (id, rewording) of each, and other questions. path: lines of a kind, a text, and an answer"""
    taught: list[Taught] = []
    rewordings: list[tuple[str, str]] = []
    others: list[str] = []
    for line in path.read_text("utf-8").splitlines():
        kind, _, text = line.partition("\t")
        if kind == "taught":
            question, _, answer = text.partition("\t")
            taught.append(Taught(str(len(taught)), question, answer or "…"))
        elif kind == "=":
            rewordings.append((taught[-1].id, text))
        else:
            others.append(text)
    return taught, rewordings, others


def found(taught: Sequence[Taught], text: str) -> str | None:
    hit = find_taught(taught, [{"role": "user", "content": text}])
    return None if hit is None else hit[0].id


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rewordings", description=__doc__.partition("\n")[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--unseen", action="store_true", help="count the half that was kept unseen")
    which.add_argument("--fresh", action="store_true", help="count the questions that were written afterwards")
    chosen = parser.parse_args(arguments)
    taught, rewordings, others = read(FRESH if chosen.fresh else TABLE)
    kept = [(id, text) for id, text in rewordings if chosen.fresh or (int(id) % 2 == 1) == chosen.unseen]
    asked = others if chosen.fresh else others[chosen.unseen :: 2]
    missed = [text for id, text in kept if found(taught, text) != id]
    wrong = [text for text in asked if found(taught, text) is not None]
    print(f"rewordings answered: {len(kept) - len(missed)} of {len(kept)}")
    print(f"other questions answered: {len(wrong)} of {len(asked)}")
    if not (chosen.unseen or chosen.fresh):
        print(*(f"missed  {text}" for text in missed), *(f"wrong   {text}" for text in wrong), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
