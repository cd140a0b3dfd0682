"""Forget a person, or a chat: gone from all that is learned later, with a list of what has learned from it already.

What was frozen stays as it is, because models name it as what they were made from; the list says which.
"""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Connection, delete, func, select, update

from malmoi.feedback.accounts import FORGOTTEN, delete_account
from malmoi.feedback.deleting import delete_items
from malmoi.feedback.drawings import remove_files
from malmoi.feedback.judgements import is_latest
from malmoi.feedback.page_labels import latest_labels
from malmoi.feedback.refusals import missing
from malmoi.feedback.said import BETTER_AS, COMPARED_AS, VOTED_AS
from malmoi.feedback.snapshots import list_snapshots
from malmoi.files import iterate_jsonl, read_json
from malmoi.workspace.database import chunks, lock_table, writing
from malmoi.workspace.label_schema import LabelPage, PageLabel
from malmoi.workspace.ledger import OUT, Ledger, stage_of
from malmoi.workspace.schema import Assignment, Generation, Judgement, Person
from malmoi.workspace.service_schema import (
    WRITE,
    Account,
    BetterAnswer,
    ChatMessage,
    Comparison,
    Lease,
    Practised,
    TeachItem,
)
from malmoi.workspace.versions import list_versions

BACKUPS = "malmoi.db.bak-*"
"""Copies of the database, from before its layout was changed."""
SAID = "judgements"
"""The stage that writes down what people said, for a job to learn from."""
_PROMPTS = frozenset({"prompts.train", "prompts.heldout"})
READS: Mapping[str, frozenset[str]] = {
    "sft": frozenset({"demonstrations"}),
    "reward": frozenset({"train", "heldout", "demonstrations"}),
    "judge": frozenset({"judge", "demonstrations"}),
    "dpo": frozenset({"train", "heldout"}),
    "kto": frozenset({"votes"}),
    "ppo": _PROMPTS,
    "grpo": _PROMPTS,
    "sample": _PROMPTS,
}
"""Which of the files that it writes down each stage reads. A stage that is not here may have read all."""
Parts = dict[str, set[str] | None]
"""Hash of what was frozen -> the files of it that count, without their ending; None: all of it."""


def learned_from_person(ledger: Ledger, person_id: str) -> dict[str, Any]:
    """What has learned from a person: {"snapshots", "artefacts", "versions"}, see `_made_of`."""
    found = _parts_with(_read_by_jobs(ledger), lambda row: row.get("person") == person_id)
    for row in list_snapshots(ledger):
        if any(one["id"] == person_id for one in row["people"]):
            found |= _frozen_part(row)
    names = {
        version.name
        for version in list_versions(ledger)
        if any(one.get("id") == person_id and one.get("n") for one in (version.learned or {}).get("people", []))
    }
    return _made_of(ledger, found, names)


def still_named_in(ledger: Ledger, person_id: str, name: str) -> list[str]:
    """Files of the workspace, relative to it, that keep what this person said or their name after they are forgotten:
    copies of the database, and runs of earlier versions of Malmoi, which wrote names."""
    outs = [ledger.artefacts_of(run.id).get(OUT) for run in ledger.runs() if run.stage == SAID]
    notes = [one.path / f"{SAID}.json" for one in outs if one is not None]
    named = [path for path in notes if path.is_file() and _names(path, person_id, name)]
    return [*backups_with(ledger, person_id), *map(ledger.stored_path, named)]


def backups_with(ledger: Ledger, person_id: str) -> list[str]:
    """Copies of the database that know this person, relative to the workspace."""
    return [ledger.stored_path(path) for path in sorted(ledger.root.glob(BACKUPS)) if _knows(path, person_id)]


def _knows(backup: Path, person_id: str) -> bool:
    """Whether a copy of the database has this person; also if it cannot be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{backup.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as found:
            return found.execute("SELECT 1 FROM person WHERE id = ?", (person_id,)).fetchone() is not None
    except sqlite3.Error:
        return True


def _names(path: Path, person_id: str, name: str) -> bool:
    people = read_json(path).get("people", [])
    return any(one["id"] == person_id and one.get("name") == name != person_id for one in people)


def learned_from_chat(ledger: Ledger, chat_id: str) -> dict[str, Any]:
    """What has learned from what people said about a chat: rankings of its questions, better answers, comparisons and
    votes."""
    inside = select(ChatMessage.id).where(ChatMessage.chat_id == chat_id)
    with ledger.engine.connect() as connection:
        names = set(connection.scalars(select(TeachItem.prompt_id).where(TeachItem.chat_id == chat_id)))
        better = connection.execute(
            select(BetterAnswer.id, BetterAnswer.person_id, BetterAnswer.text).where(
                BetterAnswer.message_id.in_(inside)
            )
        ).all()
        compared = connection.scalars(select(Comparison.id).where(Comparison.chat_id == chat_id))
        names |= {f"{COMPARED_AS}{id}" for id in compared} | {f"{BETTER_AS}{row.id}" for row in better}
        names |= {f"{VOTED_AS}{id}" for id in connection.scalars(inside)}
    written = {(row.person_id, row.text) for row in better}

    def is_of(row: Mapping[str, Any]) -> bool:
        if "prompt_id" in row:
            return row["prompt_id"] in names
        return (row.get("person"), row["messages"][-1]["content"]) in written

    if not names:
        return _made_of(ledger, {}, set())
    found = _parts_with(_read_by_jobs(ledger), is_of)
    for row in list_snapshots(ledger):
        if _has_row(ledger.root / row["path"], is_of):
            found |= _frozen_part(row)
    return _made_of(ledger, found, set())


def _read_by_jobs(ledger: Ledger) -> dict[str, list[Path]]:
    """What jobs wrote down of what people said, to learn from it: the hash of a folder -> its files."""
    outs = [ledger.artefacts_of(run.id).get(OUT) for run in ledger.runs() if run.stage == SAID]
    return {out.sha256: sorted(out.path.glob("*.jsonl")) for out in outs if out is not None}


def _parts_with(files: Mapping[str, Sequence[Path]], is_wanted: Callable[[Mapping[str, Any]], bool]) -> Parts:
    """The hashes of folders with such a row -> the files that have one."""
    found = {sha256: {path.stem for path in paths if _has_row(path, is_wanted)} for sha256, paths in files.items()}
    return {sha256: stems for sha256, stems in found.items() if stems}


def _has_row(path: Path, is_wanted: Callable[[Mapping[str, Any]], bool]) -> bool:
    return path.is_file() and any(map(is_wanted, iterate_jsonl(path)))


def _frozen_part(snapshot: Mapping[str, Any]) -> Parts:
    """A snapshot that people froze is read whole; one that a job wrote down is a file among others."""
    is_of_job = stage_of(str(snapshot["run"])) == SAID
    return {snapshot["sha256"]: {Path(snapshot["path"]).stem} if is_of_job else None}


def _made_of(ledger: Ledger, parts: Parts, names: Collection[str]) -> dict[str, Any]:
    """The snapshots, the models that were made of these parts of them, and the versions that these models are.

    {"snapshots": [name], "artefacts": [{"kind", "run", "hash"}], "versions": [name]}
    """

    def reads(stems: Collection[str] | None, stage: str) -> bool:
        return stems is None or stage not in READS or not READS[stage].isdisjoint(stems)

    made = {
        one.sha256: one
        for sha256, stems in sorted(parts.items())
        for one in ledger.descendants(sha256, partial(reads, stems))
    }
    hashes = {*made}
    versions = [
        version.name
        for version in list_versions(ledger)
        if version.name in names or hashes & {version.policy_sha256, version.reward_sha256}
    ]
    models = [one for one in made.values() if one.kind == "model"]
    return {
        "snapshots": [row["name"] for row in list_snapshots(ledger) if row["sha256"] in parts],
        "artefacts": [{"kind": one.kind, "run": one.run_id, "hash": one.sha256} for one in models],
        "versions": versions,
    }


def people_with_data(ledger: Ledger) -> list[dict[str, Any]]:
    """Everybody who said something here: {"id", "name", "simulated", "account": whether they may sign in, "n_rankings",
    "n_answers", "n_labels"}, by name."""
    with ledger.engine.connect() as connection:
        people = connection.execute(select(Person.id, Person.name, Person.kind)).all()
        accounts = set(connection.scalars(select(Account.person_id)))
        ranked = select(Assignment.person_id).join(Judgement, Judgement.assignment_id == Assignment.id)
        rankings = Counter(connection.scalars(ranked.where(is_latest(), Judgement.withdrawn.is_not(True))))
        answers = Counter(connection.scalars(_writers()))
        said = latest_labels()
        labels = Counter(connection.scalars(select(said.c.person_id).where(said.c.withdrawn.is_(False))))
    rows = [
        {"id": one.id, "name": one.name, "simulated": one.kind == "simulated", "account": one.id in accounts,
         "n_rankings": rankings[one.id], "n_answers": answers[one.id], "n_labels": labels[one.id]}
        for one in people
    ]  # fmt: skip
    kept = [row for row in rows if row["account"] or row["n_rankings"] or row["n_answers"] or row["n_labels"]]
    return sorted(kept, key=lambda row: (str(row["name"]).casefold(), row["id"]))


def _writers() -> CompoundSelect[Any]:
    """Who wrote an answer, once for each: better ones in chats, and those under Teach or in files."""
    latest = select(func.max(BetterAnswer.id)).group_by(BetterAnswer.message_id, BetterAnswer.person_id)
    better = select(BetterAnswer.person_id).where(BetterAnswer.id.in_(latest), BetterAnswer.withdrawn.is_(False))
    written = select(Lease.person_id).join(TeachItem, TeachItem.id == Lease.item_id)
    return better.union_all(written.where(TeachItem.kind == WRITE, Lease.status == "saved"))


def forget_person(ledger: Ledger, person_id: str) -> dict[str, Any]:
    """Delete a person's account, chats, rankings, answers and questions; returns what has learned from them before.

    The returned "files" are those of `still_named_in`.
    Raises RefusedError if there is no such person, or for the last owner.
    """
    learned = learned_from_person(ledger, person_id)
    with writing(ledger.engine) as connection:
        lock_table(connection, Lease)  # first, as who saves a ranking does: no two wait for each other
        lock_table(connection, Judgement)
        name = connection.scalar(select(Person.name).where(Person.id == person_id))
        if name is None:
            raise missing("person")
        has_account = connection.scalar(select(Account.person_id).where(Account.person_id == person_id)) is not None
        pictures = delete_account(connection, person_id) if has_account else []
        # What the person asked goes with what others said of it.
        delete_items(connection, TeachItem.author_id == person_id)
        written = set(connection.scalars(select(Generation.id).where(Generation.person_id == person_id)))
        _delete_assignments(connection, Assignment.person_id == person_id)
        _delete_assignments(connection, _shows(connection, written))
        connection.execute(delete(Lease).where(Lease.person_id == person_id))
        connection.execute(delete(Generation).where(Generation.person_id == person_id))
        connection.execute(delete(Practised).where(Practised.person_id == person_id))
        connection.execute(delete(PageLabel).where(PageLabel.person_id == person_id))
        held = update(LabelPage).where(LabelPage.held_by == person_id)
        connection.execute(held.values(held_by=None, held_until=None))
        connection.execute(update(Person).where(Person.id == person_id).values(name=FORGOTTEN, description=""))
    remove_files(ledger, pictures)
    return learned | {"files": still_named_in(ledger, person_id, name)}


def _shows(connection: Connection, generation_ids: Collection[str]) -> ColumnElement[bool]:
    """Assignments that show one of these answers."""
    rows = connection.execute(select(Assignment.id, Assignment.generation_ids)) if generation_ids else ()
    return Assignment.id.in_([row.id for row in rows if not {*row.generation_ids}.isdisjoint(generation_ids)])


def _delete_assignments(connection: Connection, which: ColumnElement[bool]) -> None:
    ids = [*connection.scalars(select(Assignment.id).where(which))]
    for part in chunks(ids):
        connection.execute(delete(Judgement).where(Judgement.assignment_id.in_(part)))
        connection.execute(delete(Assignment).where(Assignment.id.in_(part)))
