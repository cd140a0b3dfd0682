"""From an answer down: its sources, the rows of the corpus that they are in, the index, the model, and their runs."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.workspace.answers import find_answer
from malmoi.workspace.ledger import Ledger, Lineage
from malmoi.workspace.runs import lineage_of, lineage_rows
from malmoi.workspace.schema import Answer

ROW = ("id", "source", "license", "origin")
"""What is said of a document's row: everything but its text."""


@dataclass(frozen=True)
class AnswerLineage:
    """An answer and what it came from.

    rows: document id -> its row in the corpus: `ROW`, and the `file` and `row` in which it is
    index, model, reward: their lineage; None if the answer had none, or if no run of this workspace made it
        reward: the reward model that picked it from several
    """

    name: str
    answer: Answer
    rows: dict[str, dict[str, Any]]
    index: Lineage | None
    model: Lineage | None
    reward: Lineage | None

    @property
    def reward_sha256(self) -> str | None:
        """Of the reward model that picked this answer from several; None: it was the only one."""
        return reward_of(self.answer)


def reward_of(answer: Answer) -> str | None:
    """The hash of the reward model that picked an answer from several, as its settings name it."""
    found = (answer.sampling or {}).get("reward_model_sha256")
    return None if found is None else str(found)


def trace_answer(ledger: Ledger, name: str) -> AnswerLineage:
    """The lineage of a recorded answer. Raises WorkspaceError if there is no such answer."""
    answer = find_answer(ledger, name)
    hashes = (answer.index_sha256, answer.model_sha256, reward_of(answer))
    index, model, reward = (lineage_of(ledger, sha256) for sha256 in hashes)
    wanted = {str(source["document"]) for source in answer.sources if source.get("document")}
    return AnswerLineage(name, answer, _corpus_rows(ledger, index, wanted), index, model, reward)


def answer_rows(found: AnswerLineage, ledger: Ledger) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    answer = found.answer
    names = ("messages", "text", "voice", "supported", "quoted", "sampling", "version")
    return {
        "answer": {"id": found.name, "time": answer.created_at.isoformat()} | {n: getattr(answer, n) for n in names},
        "sources": [{**source, "row": found.rows.get(source.get("document", ""))} for source in answer.sources],
        "index": answer.index_sha256
        and {"place": answer.index_place, **_part(answer.index_sha256, found.index, ledger)},
        "model": answer.model_sha256 and _part(answer.model_sha256, found.model, ledger),
        "reward": found.reward_sha256 and _part(found.reward_sha256, found.reward, ledger),
    }


def _part(sha256: str, lineage: Lineage | None, ledger: Ledger) -> dict[str, Any]:
    return {"sha256": sha256, "lineage": lineage and lineage_rows(lineage, ledger)}


def _corpus_rows(ledger: Ledger, index: Lineage | None, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
    """Document id -> its row, from what the index was made of. The files are read until all are found."""
    found: dict[str, dict[str, Any]] = {}
    for node in index.walk() if index else ():
        if node.artefact is not None and len(found) < len(wanted):
            for path in sorted(node.artefact.path.glob("*.jsonl")):
                for row in _rows_with(path, set(wanted) - found.keys()):
                    found[row["id"]] = {"file": ledger.stored_path(path), **row}
    return found


def _rows_with(path: Path, wanted: Collection[str]) -> Iterator[dict[str, Any]]:
    """The rows of documents with these ids."""
    marks = {id: json.dumps(id, ensure_ascii=False).encode() for id in wanted}
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if any(mark in line for mark in marks.values()):
                row = json.loads(line)
                if row.get("id") in marks and marks.pop(row["id"]):
                    yield {"row": number} | {key: row.get(key) for key in ROW}
            if not marks:
                return
