"""Snapshots that people freeze: the rankings and the answers that may be learned from, as they are at one moment.

The same selection gives the same bytes, and the file is called by them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select

from malmoi.data.comparisons import EDITED
from malmoi.errors import DataError
from malmoi.feedback.asked import N_DROPPED
from malmoi.feedback.judgements import counts_of
from malmoi.feedback.learning import Whose, lesson
from malmoi.feedback.written_answers import written_answers
from malmoi.files import iterate_jsonl, sha256_of, write_jsonl
from malmoi.workspace.database import insert_missing, writing
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.schema import RunOutput, Snapshot, now
from malmoi.workspace.versions import people_names

What = Literal["rankings", "answers"]
RANKINGS: What = "rankings"
ANSWERS: What = "answers"
SHOWN = 12
"""Digits of a hash by which people call a snapshot."""


def ranking_rows(ledger: Ledger, whose: Whose = "people", until: datetime | None = None) -> list[dict[str, Any]]:
    """The rankings that would be learned from: with consent, within the cap of each person; held-out ones marked so.

    Better answers above those that they replace are not among them: they follow from the answers.
    """
    found = lesson(ledger, whose, until or now())
    sides = (("train", found.train), ("heldout", found.heldout))
    rows = [_whole(row, side) for side, rows in sides for row in rows if row["source"] != EDITED]
    return sorted(rows, key=lambda row: (row["prompt_id"], row["person"], row["generation_ids"]))


def answer_id(prompt_id: str, text: str) -> str:
    """The id of an answer that has none here: of a comparison in a chat, or from a file."""
    return digest_of([prompt_id, "file", text])[:32]


def _whole(row: Mapping[str, Any], side: str) -> dict[str, Any]:
    ids = row["generation_ids"] or [answer_id(row["prompt_id"], text) for text in row["answers"]]
    whole = {name: value for name, value in row.items() if name not in ("source", N_DROPPED)}
    return whole | {"generation_ids": ids, "split": side}


def rows_now(
    ledger: Ledger, what: What, whose: Whose = "people", until: datetime | None = None
) -> list[dict[str, Any]]:
    """What a snapshot that is frozen now would hold."""
    return ranking_rows(ledger, whose, until) if what == RANKINGS else written_answers(ledger, until)


def freeze_now(ledger: Ledger, whose: Whose = "people", until: datetime | None = None) -> list[dict[str, Any]]:
    """Freeze the rankings and the answers; returns the snapshots, as `list_snapshots` shows them.

    until: leave out what was said later. Raises DataError if there is nothing.
    """
    until = until or now()
    made = []
    for what in (RANKINGS, ANSWERS):
        rows = rows_now(ledger, what, whose, until)
        if rows:
            made.append(_freeze(ledger, what, rows, {"what": what, "whose": whose, "until": until.isoformat()}))
    if not made:
        raise DataError("nothing to freeze yet: nobody has ranked or written answers that may be learned from")
    return [row for row in list_snapshots(ledger) if row["sha256"] in made]


def list_snapshots(ledger: Ledger) -> list[dict[str, Any]]:
    """Every snapshot, newest first.

    [{"name", "sha256", "what", "n", "n_prompts", "n_pairs", "people": [{"id", "name", "n"}], "created_at", "run",
    "there": whether its file still is, "filter"}]
    """
    with ledger.engine.connect() as connection:
        found = connection.execute(select(Snapshot.__table__).order_by(Snapshot.created_at.desc())).mappings().all()
        runs = {row.sha256: row.run_id for row in connection.execute(select(RunOutput).order_by(RunOutput.id.desc()))}
        names = people_names(connection)
    return [_shown(ledger, dict(row), runs.get(row["sha256"]), names) for row in found]


def find_snapshot(ledger: Ledger, name: str) -> dict[str, Any]:
    """A snapshot by the first digits of its hash, 4 or more. Raises DataError."""
    rows = [row for row in list_snapshots(ledger) if len(name) >= 4 and row["sha256"].startswith(name.lower())]
    if len(rows) != 1:
        said = (
            "several snapshots begin so; give more digits" if rows else "no such snapshot here; malmoi data snapshots"
        )
        raise DataError(f"{name}: {said}")
    return rows[0]


def snapshot_rows(ledger: Ledger, name: str) -> tuple[What, list[dict[str, Any]]]:
    """What kind a snapshot is of, and its rows. Raises DataError if its file is gone or is not what it was."""
    found = find_snapshot(ledger, name)
    path = _path(ledger, found["path"])
    if not path.is_file() or sha256_of(path) != found["sha256"]:
        raise DataError(f"{name}: the file of this snapshot is gone or was changed")
    return found["what"], list(iterate_jsonl(path))


def _path(ledger: Ledger, stored: str) -> Path:
    return ledger.root / stored


def _freeze(ledger: Ledger, what: What, rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> str:
    folder = ledger.root / "snapshots"
    folder.mkdir(exist_ok=True)
    path = folder / f"{what}-{digest_of(list(rows))[:SHOWN]}.jsonl"
    write_jsonl(path, rows)
    sha256 = ledger.import_artefact(path, path.name, "snapshot", f"{what} that people gave here, frozen")
    people = dict(sorted(Counter(str(row["person"]) for row in rows).items()))
    counts = counts_of(rows) if what == RANKINGS else _counts_of_answers(rows) | {"people": people}
    row = {"sha256": sha256, "filter": dict(wanted), "counts": counts, "path": ledger.stored_path(path)}
    with writing(ledger.engine) as connection:
        insert_missing(connection, Snapshot, [row])
    return sha256


def _counts_of_answers(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    asked = {digest_of(row["messages"][:-1]) for row in rows}
    return {"judgements": 0, "answers": len(rows), "prompts": len(asked), "pairs": 0}


def _shown(ledger: Ledger, row: dict[str, Any], run: str | None, names: Mapping[str, str]) -> dict[str, Any]:
    counts = row["counts"]
    what = ANSWERS if "answers" in counts else RANKINGS
    return {
        "name": row["sha256"][:SHOWN], "sha256": row["sha256"], "what": what, "run": run, "path": row["path"],
        "n": counts["answers"] if what == ANSWERS else counts["judgements"], "n_prompts": counts["prompts"],
        "n_pairs": counts["pairs"], "created_at": row["created_at"].isoformat(),
        "people": [{"id": id, "name": names.get(id, id), "n": n} for id, n in counts["people"].items()],
        "there": _path(ledger, row["path"]).is_file(), "filter": row["filter"],
    }  # fmt: skip
