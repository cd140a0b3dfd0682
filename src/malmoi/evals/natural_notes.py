"""Plain questions about somebody's five short notes: whether the right sentence of the right file is found."""

import json
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from malmoi.evals.natural import plain, share
from malmoi.inference.grounded import Answered, answer_all
from malmoi.inference.sampling import Sampling
from malmoi.inference.voice import Voice
from malmoi.retrieval.index import Index
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.update import update_index

LANGUAGES = ("en", "ko")


def measure_notes(network: Voice | None, max_tokens: int) -> dict[str, Any]:
    """Share of the questions for which the first source is the right sentence and file, by language; the share declined
    of those that the notes do not answer; and each answer. network: None: the look-up alone"""
    with resources.as_file(resources.files(__package__) / "notes") as notes, TemporaryDirectory() as place:
        rows = [json.loads(line) for line in (notes / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
        for lang in LANGUAGES:
            update_index(notes / lang, Path(place) / lang)
            lookup = Lookup(Index.open(Path(place) / lang))
            asked = [row for row in rows if row["lang"] == lang]
            talks = [[{"role": "user", "content": row["question"]}] for row in asked]
            greedy = Sampling(temperature=0, max_tokens=max_tokens)
            for row, answered in zip(asked, answer_all(network, lookup, talks, greedy, range(len(talks))), strict=True):
                row |= {"answer": answered.text, "right": _is_right(row, answered)}
    found = {
        lang: share([row["right"] for row in rows if row["lang"] == lang and row["file"]]).to_row()
        for lang in LANGUAGES
    }
    return {"found": found, "declined": share([row["right"] for row in rows if not row["file"]]).to_row(), "rows": rows}


def _is_right(row: dict[str, Any], answered: Answered) -> bool:
    if not row["file"]:
        return not answered.sources
    first = answered.sources[0] if answered.sources else None
    return (
        first is not None
        and Path(first.passage.file).name == row["file"]
        and plain(row["sentence"]) in plain(first.sentence)
    )
