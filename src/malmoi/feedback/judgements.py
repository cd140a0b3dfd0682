"""Judgements: ranks with ties. They are recorded permanently, and frozen into snapshots to train reward models on."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, insert, select, tuple_
from sqlalchemy.orm import Session

from malmoi import __version__
from malmoi.config import Settings
from malmoi.errors import DataError
from malmoi.files import write_jsonl
from malmoi.workspace.database import chunks, insert_missing, lock_table, writing
from malmoi.workspace.ledger import Ledger, canonical_json, digest_of
from malmoi.workspace.schema import Artefact, Assignment, Base, Generation, Judgement, Person, Prompt, Snapshot

CONTENT = ("ranks", "unrankable", "likert", "flags", "notes", "confidence")
"""The part of a judgement that makes a new version when it changes."""


def competition_ranks(places: Sequence[float]) -> list[int]:
    """Competition ranks such as 1, 2, 2, 4 of numbers where smaller is better: equal numbers tie and share a rank."""
    return [1 + sum(other < place for other in places) for place in places]


def check_ranks(ranks: Sequence[int], n_answers: int) -> None:
    """Raises DataError unless these are the competition ranks of `n_answers` answers."""
    if len(ranks) != n_answers:
        raise DataError(f"ranks {list(ranks)}: expected one for each of the {n_answers} answers")
    if any(type(rank) is not int for rank in ranks):
        raise DataError(f"ranks {list(ranks)}: expected whole numbers")
    expected = competition_ranks(ranks)
    if list(ranks) != expected:
        raise DataError(f"ranks {list(ranks)}: 1 is best and ties use up places, so expected {expected}")


class AnswerPairs(NamedTuple):
    """Pairs of answers, as their places in the ranking."""

    ordered: list[tuple[int, int]]
    """(better, worse)"""
    ties: list[tuple[int, int]]


def answer_pairs(ranks: Sequence[int]) -> AnswerPairs:
    """All K (K - 1) / 2 pairs of K ranked answers."""
    found = AnswerPairs([], [])
    for i, j in combinations(range(len(ranks)), 2):
        if ranks[i] == ranks[j]:
            found.ties.append((i, j))
        else:
            found.ordered.append((i, j) if ranks[i] < ranks[j] else (j, i))
    return found


@dataclass(frozen=True, kw_only=True)
class NewJudgement:
    """One person's judgement of the answers to one prompt.

    generation_ids: in the order in which the answers were shown; `ranks`, `likert`, `flags` and `notes` use this order
    ranks: competition ranks, 1 = best; empty if unrankable
    likert: 1 to 7 for each answer; flags: names for each answer; notes: a remark on each answer
    confidence: 0 to 1; active_ms: working time without pauses
    """

    person_id: str
    prompt_id: str
    generation_ids: Sequence[str]
    ranks: Sequence[int]
    unrankable: bool = False
    likert: Sequence[int] | None = None
    flags: Sequence[Sequence[str]] | None = None
    notes: Sequence[str] | None = None
    confidence: float | None = None
    active_ms: int | None = None
    guideline_version: str = ""

    def assignment(self) -> dict[str, Any]:
        """Which answers were shown to whom. The id is a hash of the rest."""
        row: dict[str, Any] = {"prompt_id": self.prompt_id, "person_id": self.person_id}
        row |= {"generation_ids": list(self.generation_ids), "guideline_version": self.guideline_version}
        return {"id": digest_of(row)[:32], **row}

    def check(self) -> None:
        """Raises DataError that names the person and the prompt."""
        n_answers = len(self.generation_ids)
        try:
            if len(set(self.generation_ids)) < max(2, n_answers):
                raise DataError("expected at least two answers, each once")
            check_ranks(self.ranks, 0 if self.unrankable else n_answers)
            for name in ("likert", "flags", "notes"):
                values = getattr(self, name)
                if values is not None and len(values) != n_answers:
                    raise DataError(f"{name}: expected one for each of the {n_answers} answers")
            if self.likert is not None and not all(rating in range(1, 8) for rating in self.likert):
                raise DataError(f"likert {list(self.likert)}: expected ratings from 1 to 7")
            if self.confidence is not None and not 0 <= self.confidence <= 1:
                raise DataError(f"confidence {self.confidence}: expected 0 to 1")
        except DataError as error:
            raise DataError(f"judgement of {self.person_id} on prompt {self.prompt_id}: {error}") from None

    def content(self) -> dict[str, Any]:
        """The content in the form that the database returns: tuples become lists."""
        content: dict[str, Any] = json.loads(canonical_json({name: getattr(self, name) for name in CONTENT}))
        return content


class SnapshotFilter(Settings):
    """Which judgements to freeze. An empty filter keeps all."""

    people: tuple[str, ...] = ()
    """Person ids."""
    splits: tuple[str, ...] = ()
    """Splits of the prompts, for example train, heldout."""
    simulated: bool | None = None
    """True: only simulated labelers; false: only people."""


def record_person(ledger: Ledger, id: str, name: str, kind: str, description: str) -> None:
    """Record a person. kind: human or simulated. Raises DataError if the id already belongs to someone else."""
    if kind not in ("human", "simulated"):
        raise DataError(f"person {id}: kind {kind!r}: expected human or simulated")
    row = {"id": id, "name": name, "kind": kind, "description": description}
    with writing(ledger.engine) as connection:
        _insert_same(connection, Person, [row], ["kind", "description"])


def record_generations(
    ledger: Ledger,
    rows: Iterable[Mapping[str, Any]],
    *,
    run_id: str,
    model_sha256: str,
    temperature: float,
    top_p: float,
    seed: int,
    max_tokens: int,
) -> list[list[str]]:
    """Record prompts and their answers; returns the ids of each row's generations, in order.

    rows: of `generations.jsonl`: prompt_id, prompt (messages or a text), answers [{text, ids, finished}], and if known
    split, item, kind, source, lang
    Recording the same rows again changes nothing. Raises DataError for a row that lacks something, or for a prompt id
    that already belongs to other messages.
    """
    how = {"temperature": temperature, "top_p": top_p, "seed": seed, "max_tokens": max_tokens}
    origin = {"run_id": run_id, "model_sha256": model_sha256} | how
    prompts: dict[str, dict[str, Any]] = {}
    generations: list[dict[str, Any]] = []
    ids: list[list[str]] = []
    for number, row in enumerate(rows, start=1):
        try:
            prompt, answers = _prompt_row(row), [_answer_row(answer) for answer in row["answers"]]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"generations, row {number}: {error}: missing or malformed; run the sample stage again"
            ) from None
        prompts.setdefault(prompt["id"], prompt)
        # The id is a hash of the contents, not of the run: the same work in another workspace gives the same snapshot.
        keys = [[prompt["id"], model_sha256, how, place, answer] for place, answer in enumerate(answers)]
        ids.append([digest_of(key)[:32] for key in keys])
        for generation_id, answer in zip(ids[-1], answers, strict=True):
            generations.append({"id": generation_id, "prompt_id": prompt["id"], **origin, **answer})
    with writing(ledger.engine) as connection:
        if connection.scalar(select(Artefact.sha256).where(Artefact.sha256 == model_sha256)) is None:
            raise DataError(f"generations: model {model_sha256[:12]} is not recorded; record it with add_artefact")
        _insert_same(connection, Prompt, list(prompts.values()), ["messages"])
        insert_missing(connection, Generation, generations)
    return ids


def record_judgements(ledger: Ledger, judgements: Iterable[NewJudgement]) -> int:
    """Append judgements; returns how many are new.

    The same judgement again adds nothing; a changed judgement becomes the next version. Raises DataError for a
    malformed judgement, and for one whose answers or person are not recorded; then none is recorded.
    """
    given = list(judgements)
    for judgement in given:
        judgement.check()
    with writing(ledger.engine) as connection:
        return append_judgements(connection, given)


def append_judgements(
    connection: Connection, given: Sequence[NewJudgement], origin: Mapping[str, Any] | None = None
) -> int:
    """The same within a transaction. origin: how they came about"""
    lock_table(connection, Judgement)  # so that no two processes give a judgement the same version
    _check_known(connection, given)
    insert_missing(connection, Assignment, [judgement.assignment() for judgement in given])
    latest = _latest(connection, [judgement.assignment()["id"] for judgement in given])
    new = []
    for judgement in given:
        assignment_id, content = judgement.assignment()["id"], judgement.content()
        version, before = latest.get(assignment_id, (0, {}))
        if content != before:
            latest[assignment_id] = version + 1, content
            key = {"assignment_id": assignment_id, "version": version + 1, "origin": origin and dict(origin)}
            new.append({**key, **content, "active_ms": judgement.active_ms, "app_version": __version__})
    if new:
        connection.execute(insert(Judgement), new)
    return len(new)


def withdraw_judgement(connection: Connection, assignment_id: str) -> None:
    """Take back what was said: its next version, which no snapshot has."""
    lock_table(connection, Judgement)
    version = connection.scalar(select(func.max(Judgement.version)).where(Judgement.assignment_id == assignment_id))
    row = {"assignment_id": assignment_id, "version": (version or 0) + 1, "ranks": [], "unrankable": True}
    connection.execute(insert(Judgement), {**row, "withdrawn": True, "app_version": __version__})


def freeze(
    ledger: Ledger, filter: SnapshotFilter, path: Path, *, run_id: str, generation_ids: Iterable[str] | None = None
) -> Snapshot:
    """Write the latest version of every judgement that passes the filter to `path`, as an artefact of a run.

    generation_ids: if given, only judgements whose answers are all among these
    The bytes depend only on the judgements, not on the order or time of recording, nor on the database. Each line is a
    JSON object: prompt_id, messages, answers, generation_ids, ranks (these three in shown order), person, simulated,
    split. Unrankable prompts are left out. Raises DataError if no judgement passes.
    """
    only = None if generation_ids is None else set(generation_ids)
    rows = _snapshot_rows(ledger, filter, only)
    if not rows:
        raise DataError(f"snapshot: no judgement passes the filter {filter.model_dump_json()}; rank some answers first")
    wanted = filter.model_dump(mode="json") | {"generations": only and digest_of(sorted(only))}
    return freeze_rows(ledger, rows, wanted, path, run_id=run_id)


def freeze_rows(
    ledger: Ledger, rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any], path: Path, *, run_id: str
) -> Snapshot:
    """Write these rows of judgements to `path`, as an artefact of a run. wanted: how they were selected"""
    write_jsonl(path, rows)
    counts = counts_of(rows)
    sha256 = ledger.add_artefact(run_id, path.name, "snapshot", path)
    row = {"sha256": sha256, "filter": dict(wanted), "counts": counts, "path": ledger.stored_path(path)}
    with writing(ledger.engine) as connection:
        insert_missing(connection, Snapshot, [row])
    with Session(ledger.engine, expire_on_commit=False) as session:
        return session.get_one(Snapshot, sha256)


def counts_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a snapshot of rankings says of itself, see `Snapshot.counts`."""
    return {
        "judgements": len(rows),
        "prompts": len({row["prompt_id"] for row in rows}),
        "pairs": sum(len(answer_pairs(row["ranks"]).ordered) for row in rows),
        "people": dict(sorted(Counter(row["person"] for row in rows).items())),
    }


def judged_rows(ledger: Ledger, wanted: SnapshotFilter, until: datetime) -> list[dict[str, Any]]:
    """The rows of a snapshot, of what had been said by then."""
    return _snapshot_rows(ledger, wanted, None, until)


def is_latest(until: datetime | None = None) -> ColumnElement[bool]:
    """Whether a row of judgements is the latest version of what somebody said by then."""
    latest = select(Judgement.assignment_id, func.max(Judgement.version)).group_by(Judgement.assignment_id)
    if until is not None:
        latest = latest.where(Judgement.created_at <= until)
    return tuple_(Judgement.assignment_id, Judgement.version).in_(latest)


def _snapshot_rows(
    ledger: Ledger, wanted: SnapshotFilter, only: set[str] | None, until: datetime | None = None
) -> list[dict[str, Any]]:
    query = (
        select(Judgement.ranks, Assignment, Prompt, Person)
        .join(Assignment, Assignment.id == Judgement.assignment_id)
        .join(Prompt, Prompt.id == Assignment.prompt_id)
        .join(Person, Person.id == Assignment.person_id)
        .where(is_latest(until), Judgement.unrankable.is_(False), Judgement.withdrawn.is_not(True))
    )
    if wanted.people:
        query = query.where(Person.id.in_(wanted.people))
    if wanted.splits:
        query = query.where(Prompt.split.in_(wanted.splits))
    if wanted.simulated is not None:
        query = query.where(Person.kind == ("simulated" if wanted.simulated else "human"))
    with Session(ledger.engine) as session:
        found = [row for row in session.execute(query) if only is None or only.issuperset(row[1].generation_ids)]
        ids = [id for _, assignment, _, _ in found for id in assignment.generation_ids]
        texts = {row.id: row.text for row in _by_id(session.connection(), Generation, ids, "id", "text")}
        rows = [
            {
                "prompt_id": prompt.id,
                "messages": prompt.messages,
                "answers": [texts[id] for id in assignment.generation_ids],
                "generation_ids": assignment.generation_ids,
                "ranks": ranks,
                "person": person.id,
                "simulated": person.kind == "simulated",
                "split": prompt.split,
            }
            for ranks, assignment, prompt, person in found
        ]
    # Sorted here, because databases order text differently.
    return sorted(rows, key=lambda row: (row["prompt_id"], row["person"], row["generation_ids"], row["ranks"]))


def _prompt_row(row: Mapping[str, Any]) -> dict[str, Any]:
    prompt = row["prompt"]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return {
        "id": row["prompt_id"],
        "messages": [message | {"role": message["role"], "content": message["content"]} for message in messages],
        "lang": row.get("lang", "und"),
        **{name: row.get(name) or "" for name in ("source", "split", "item", "kind")},
    }


def _answer_row(answer: Mapping[str, Any]) -> dict[str, Any]:
    reason = "stop" if answer["finished"] else "length"
    return {"text": answer["text"], "token_ids": list(answer["ids"]), "finish_reason": reason}


def _insert_same(connection: Connection, table: type[Base], rows: list[dict[str, Any]], names: list[str]) -> None:
    """Insert missing rows. Raises DataError if an existing row with the same id differs in one of these columns."""
    insert_missing(connection, table, rows)
    wanted = {row["id"]: row for row in rows}
    for found in _by_id(connection, table, wanted, "id", *names):
        for name in names:
            if (value := getattr(found, name)) != wanted[found.id][name]:
                where = f"{table.__tablename__} {found.id}: {name}"
                raise DataError(f"{where}: is already recorded as {value!r}; use another id")


def _check_known(connection: Connection, judgements: Sequence[NewJudgement]) -> None:
    ids = [id for one in judgements for id in one.generation_ids]
    prompt_of = {row.id: row.prompt_id for row in _by_id(connection, Generation, ids, "id", "prompt_id")}
    people = {row.id for row in _by_id(connection, Person, [one.person_id for one in judgements], "id")}
    for one in judgements:
        where = f"judgement of {one.person_id} on prompt {one.prompt_id}"
        if one.person_id not in people:
            raise DataError(f"{where}: no such person; record them first")
        for id in one.generation_ids:
            if prompt_of.get(id) != one.prompt_id:
                raise DataError(f"{where}: generation {id} is not a recorded answer to it")


def _latest(connection: Connection, assignment_ids: list[str]) -> dict[str, tuple[int, dict[str, Any]]]:
    """Assignment -> its latest version and that version's content."""
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for ids in chunks(assignment_ids):
        # Of two transactions on one assignment the second waits here, and then sees the version of the first.
        locked = select(Assignment.id).where(Assignment.id.in_(ids)).order_by(Assignment.id)
        connection.execute(locked.with_for_update()).all()
        query = select(Judgement.__table__).where(Judgement.assignment_id.in_(ids)).order_by(Judgement.version)
        for row in connection.execute(query):
            # What was withdrawn and is said again is new.
            content = {} if row.withdrawn else {name: getattr(row, name) for name in CONTENT}
            found[row.assignment_id] = row.version, content
    return found


def _by_id(connection: Connection, table: type[Base], ids: Iterable[str], *names: str) -> list[Any]:
    """These columns of the rows with these ids."""
    columns = table.__table__.c
    query = select(*(columns[name] for name in names))
    return [row for part in chunks(ids) for row in connection.execute(query.where(columns.id.in_(part)))]
