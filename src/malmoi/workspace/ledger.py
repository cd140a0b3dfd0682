"""The ledger: which run made which artefact, from which inputs and settings; and the lineage in both directions."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, case, func, insert, select, update
from sqlalchemy.orm import Session

from malmoi import __version__
from malmoi.errors import WorkspaceError
from malmoi.files import files_in, sha256_of
from malmoi.workspace.database import insert_missing, lock_table, open_database, writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import NAME, Hashes
from malmoi.workspace.schema import Artefact, Person, Run, RunInput, RunOutput, Snapshot, now

URL_VARIABLE = "MALMOI_DATABASE_URL"
OUT = "out"
"""The name of the artefact that holds everything a stage made."""
ENDS = ("done", "failed", "stopped")


def canonical_json(value: Any) -> str:
    """The only text for a value: sorted keys, no spaces. Raises TypeError or ValueError if JSON has no such value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def stage_of(run_id: str) -> str:
    """The stage that a run ran: reward for 0009-reward."""
    return run_id.partition("-")[2]


def fingerprint(stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """A name for a piece of work. Equal stage, settings and inputs (role -> sha256) have equal fingerprints."""
    return digest_of({"stage": stage, "settings": dict(settings), "inputs": dict(inputs)})


@dataclass(frozen=True)
class Work:
    """A piece of work as a run records it. recipe: its name; inputs: role -> sha256"""

    stage: str
    recipe: str
    fingerprint: str
    settings: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, str]
    label: str = ""


@dataclass(frozen=True)
class Made:
    """An artefact as one run made it; `path` is absolute."""

    sha256: str
    kind: str
    n_bytes: int
    run_id: str
    name: str
    path: Path

    def is_in(self, other: "Made") -> bool:
        """Whether it is the other artefact, or a part of that folder."""
        return self.run_id == other.run_id and (self.path == other.path or other.path in self.path.parents)


@dataclass(frozen=True)
class Judged:
    """Who judged in a snapshot, or in a folder of snapshots: each person with the number of their judgements."""

    n_judgements: int
    people: tuple[tuple[Person, int], ...]


@dataclass(frozen=True)
class Lineage:
    """An artefact, the run that made it first, and the inputs of that run.

    artefact: None for the lineage of a run
    inputs: role -> lineage of the input. An artefact that several runs have read is one object.
    judged: only for snapshots of judgements, and for folders that contain some
    """

    run: Run
    artefact: Made | None
    inputs: dict[str, "Lineage"]
    judged: Judged | None = None

    def walk(self) -> Iterator["Lineage"]:
        """This node, then everything it was made from, each node once."""
        waiting, seen = [self], set()
        while waiting:
            node = waiting.pop(0)
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                waiting.extend(node.inputs.values())


class Ledger:
    """Reads and writes the records of a workspace. Each method is one short transaction.

    root: the workspace's folder; it can be moved, because paths are stored relative to it
    """

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine = engine
        self.root = root.resolve()
        self.hashes = Hashes(self.root / "runs" / NAME)

    @classmethod
    def open(cls, workspace: Workspace, url: str | None = None, *, only_read: bool = False) -> "Ledger":
        """Open a workspace's database: `url`, or MALMOI_DATABASE_URL, or its own SQLite file.

        only_read: nothing will be recorded; then a workspace that may not be written can be opened too
        """
        own = URL.create("sqlite", database=str(workspace.database))  # a path may contain characters such as "?"
        return cls(open_database(url or os.environ.get(URL_VARIABLE) or own, only_read=only_read), workspace.path)

    def close(self) -> None:
        self.engine.dispose()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start_run(
        self,
        *,
        stage: str,
        recipe: str,
        fingerprint: str,
        settings: Mapping[str, Any],
        seed: int,
        inputs: Mapping[str, str],
        label: str = "",
    ) -> str:
        """Record that a stage begins; returns the run's id, for example 0007-ppo. inputs: role -> sha256.

        Nothing keeps other processes from starting the same work: `claims.claimed` does.
        Raises WorkspaceError if an input was never recorded.
        """
        work = Work(stage, recipe, fingerprint, settings, seed, inputs, label)
        with writing(self.engine) as connection:
            lock_table(connection, Run)
            return insert_run(connection, work)

    def find_run(self, stage: str, fingerprint: str) -> Run | None:
        """The latest finished run of this work; if there is none, the latest run of it that has not finished."""
        with self._reading() as session:
            return session.scalars(
                select(Run)
                .where(Run.stage == stage, Run.fingerprint == fingerprint)
                .order_by(case((Run.status == "done", 0), else_=1), Run.number.desc())
                .limit(1)
            ).first()

    def find_done(self, stage: str, fingerprint: str) -> Made | None:
        """The output of the latest finished run of this work whose files still exist."""
        with self.engine.connect() as connection:
            return find_done(connection, self.root, stage, fingerprint)

    def finish_run(self, run_id: str, seconds: float) -> None:
        """The run is done. seconds: since it last began to work; they are added to those before an interruption."""
        self.mark_run(run_id, "done", seconds=seconds)

    def mark_run(self, run_id: str, status: str, error: str | None = None, seconds: float = 0.0) -> None:
        """The run ended as `status` says: done, failed or stopped. seconds: as in `finish_run`"""
        if status not in ENDS:
            raise ValueError(f"status {status!r}: expected one of {', '.join(ENDS)}")
        values = {"status": status, "error": error, "finished_at": now()}
        statement = update(Run).where(Run.id == self.run(run_id).id)
        with writing(self.engine) as connection:
            connection.execute(statement.values(values | {"seconds": Run.seconds + seconds}))

    def add_artefact(self, run_id: str, name: str, kind: str, path: Path) -> str:
        """Record a file or folder that a run made; returns its SHA-256. Recording it twice changes nothing."""
        self.run(run_id)
        row = self._artefact_row(kind, path)
        with writing(self.engine) as connection:
            insert_missing(connection, Artefact, [row])
            _insert_output(connection, run_id, name, row["sha256"], self.stored_path(path))
        return str(row["sha256"])

    def import_artefact(self, path: Path, name: str, kind: str, source: str) -> str:
        """Record a file or folder from elsewhere as the output of a run of stage `import`; returns its SHA-256.

        source: where it came from, for the lineage: a URL, a repository, a description
        """
        row = self._artefact_row(kind, path)
        settings = {"source": source, "sha256": row["sha256"]}
        work = Work("import", "", fingerprint("import", settings, {}), settings, seed=0, inputs={})
        with writing(self.engine) as connection:
            insert_missing(connection, Artefact, [row])
            lock_table(connection, Run)  # after the artefact, as in `add_artefact`: no two wait for each other
            same = select(Run.id).where(Run.stage == work.stage, Run.fingerprint == work.fingerprint)
            run_id = connection.scalar(same.order_by(Run.number).limit(1)) or insert_run(connection, work)
            done = {"status": "done", "finished_at": func.coalesce(Run.finished_at, now())}
            connection.execute(update(Run).where(Run.id == run_id).values(done))
            _insert_output(connection, run_id, name, row["sha256"], self.stored_path(path))
        return str(row["sha256"])

    def artefacts_of(self, run_id: str) -> dict[str, Made]:
        """What a run made, by name."""
        self.run(run_id)
        return {made.name: made for made in self._made(run_id)}

    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        with self._reading() as session:
            return list(session.scalars(select(Run).order_by(Run.number)))

    def run(self, run_id: str) -> Run:
        with self._reading() as session:
            run = session.get(Run, run_id)
        if run is None:
            raise WorkspaceError(f"{run_id}: no such run in this workspace; list the runs to see their ids")
        return run

    def lineage(self, what: str | Path) -> Lineage:
        """Where something came from, back to its first sources.

        what: a run's id, the path of a file or model folder, or the first digits (4 or more) of a SHA-256
        """
        # In this order: a record that another process adds meanwhile cannot refer to something not read here.
        inputs, all_made = self._inputs(), self._made()
        runs, judged = {run.id: run for run in self.runs()}, self._judged(all_made)
        nodes: dict[str, Lineage] = {}

        def parents(run_id: str) -> dict[str, Lineage]:
            return {role: nodes[sha256] for role, sha256 in inputs.get(run_id, {}).items()}

        # Artefacts are in the order in which they were recorded, so inputs come before what was made from them.
        for made in all_made:
            if made.sha256 not in nodes:
                judges = _merged([one for snapshot, one in judged if snapshot.is_in(made)])
                nodes[made.sha256] = Lineage(runs[made.run_id], made, parents(made.run_id), judges)
        if (run := runs.get(str(what))) is not None:
            judges = _merged([one for snapshot, one in judged if snapshot.run_id == run.id])
            return Lineage(run, None, parents(run.id), judges)
        return nodes[self._find(str(what), nodes)]

    def descendants(self, sha256: str, is_read_by: Callable[[str], bool] = lambda stage: True) -> list[Made]:
        """Everything that was made from an artefact, directly or indirectly, oldest first.

        A run that read a folder has read the artefacts in it; a run that read an artefact counts for its folder too.
        is_read_by: whether a stage that was given the artefact reads what is asked about in it
        """
        inputs, all_made, found = self._inputs(), self._made(), []
        asked = [made for made in all_made if made.sha256 == sha256]
        reached = {other.sha256 for one in asked for other in all_made if one.is_in(other) or other.is_in(one)}
        itself = {*reached}
        for made in all_made:
            read = reached.intersection(inputs.get(made.run_id, {}).values())
            if made.sha256 not in reached and (read - itself or (read and is_read_by(stage_of(made.run_id)))):
                reached.add(made.sha256)
                found.append(made)
        return found

    def snapshots_with(self, person_id: str) -> list[str]:
        """SHA-256 of every snapshot with a judgement of this person. See `descendants` for what was made from it."""
        with self._reading() as session:
            snapshots = session.scalars(select(Snapshot).order_by(Snapshot.created_at))
            return [snapshot.sha256 for snapshot in snapshots if person_id in snapshot.counts["people"]]

    def stored_path(self, path: Path) -> str:
        path = path.resolve()
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def _artefact_row(self, kind: str, path: Path) -> dict[str, Any]:
        """The record of a file or folder. It is hashed, which can take minutes: no transaction may be open."""
        if not path.exists():
            raise WorkspaceError(f"{path}: no such file or folder; nothing to record")
        files = [path] if path.is_file() else files_in(path)
        n_bytes = sum(file.stat().st_size for file in files)
        return {"sha256": self.hashes.sha256_of(path), "kind": kind, "n_bytes": n_bytes}

    def _find(self, what: str, known: Mapping[str, Lineage]) -> str:
        if not what.strip():
            raise WorkspaceError("lineage: of what? Give a run, a path, or the first digits of a SHA-256")
        for path in (Path(what), self.root / what):
            if path.exists():
                sha256 = sha256_of(path)
                if sha256 not in known:
                    raise WorkspaceError(f"{what}: no run made these contents; it was changed, or is from elsewhere")
                return sha256
        found = [sha for sha in known if sha.startswith(what.lower())] if len(what) >= 4 else []
        if len(found) > 1:
            raise WorkspaceError(f"{what}: {len(found)} artefacts begin with these digits; give more of them")
        if not found:
            raise WorkspaceError(f"{what}: no such run, artefact or path; list the runs to see what there is")
        return found[0]

    def _reading(self) -> Session:
        return Session(self.engine, expire_on_commit=False)

    def _made(self, run_id: str | None = None) -> list[Made]:
        query = select(RunOutput, Artefact).join(Artefact, Artefact.sha256 == RunOutput.sha256)
        query = query.where(RunOutput.run_id == run_id) if run_id else query
        with self._reading() as session:
            return [
                Made(out.sha256, artefact.kind, artefact.n_bytes, out.run_id, out.name, self.root / out.path)
                for out, artefact in session.execute(query.order_by(RunOutput.id))
            ]

    def _inputs(self) -> dict[str, dict[str, str]]:
        """Run -> role -> sha256."""
        found: dict[str, dict[str, str]] = {}
        with self._reading() as session:
            for edge in session.scalars(select(RunInput).order_by(RunInput.run_id, RunInput.role)):
                found.setdefault(edge.run_id, {})[edge.role] = edge.sha256
        return found

    def _judged(self, all_made: list[Made]) -> list[tuple[Made, Judged]]:
        """The artefacts that are snapshots, each with the people who judged."""
        with self._reading() as session:
            counts = {snapshot.sha256: snapshot.counts for snapshot in session.scalars(select(Snapshot))}
            people = {person.id: person for person in session.scalars(select(Person))}
        return [
            (made, Judged(count["judgements"], tuple((people[id], n) for id, n in count["people"].items())))
            for made in all_made
            if (count := counts.get(made.sha256)) is not None
        ]


def insert_run(connection: Connection, work: Work) -> str:
    """Record that work begins, under the next number; returns the run's id. The caller has locked the table of runs.

    Raises WorkspaceError if an input was never recorded.
    """
    for role, sha256 in work.inputs.items():
        if connection.scalar(select(Artefact.sha256).where(Artefact.sha256 == sha256)) is None:
            raise WorkspaceError(
                f"{work.stage}: input {role}: no artefact {sha256[:12]} in this workspace; "
                "record it first with import_artefact"
            )
    number = (connection.scalar(select(func.max(Run.number))) or 0) + 1
    run_id = f"{number:04d}-{work.stage}"
    row = {"id": run_id, "number": number, "label": work.label, "stage": work.stage, "recipe": work.recipe}
    row |= {"seed": work.seed, "status": "running", "fingerprint": work.fingerprint, "settings": dict(work.settings)}
    connection.execute(insert(Run), row | {"version": __version__})
    edges = [{"run_id": run_id, "role": role, "sha256": sha256} for role, sha256 in work.inputs.items()]
    insert_missing(connection, RunInput, edges)
    return run_id


def _insert_output(connection: Connection, run_id: str, name: str, sha256: str, stored: str) -> None:
    """Record an output, unless it is recorded as the run's latest one of this name."""
    latest = connection.execute(
        select(RunOutput.sha256, RunOutput.path)
        .where(RunOutput.run_id == run_id, RunOutput.name == name)
        .order_by(RunOutput.id.desc())
        .limit(1)
    ).first()
    if latest is None or tuple(latest) != (sha256, stored):
        edge = {"run_id": run_id, "name": name, "sha256": sha256, "path": stored}
        connection.execute(insert(RunOutput), edge)


def find_done(connection: Connection, root: Path, stage: str, fingerprint: str) -> Made | None:
    """See `Ledger.find_done`."""
    columns = (RunOutput.sha256, Artefact.kind, Artefact.n_bytes, RunOutput.run_id, RunOutput.name, RunOutput.path)
    query = select(*columns).join(Artefact, Artefact.sha256 == RunOutput.sha256).join(Run, Run.id == RunOutput.run_id)
    query = query.where(Run.stage == stage, Run.fingerprint == fingerprint, Run.status == "done", RunOutput.name == OUT)
    rows = connection.execute(query.order_by(Run.number.desc(), RunOutput.id.desc()))
    found = (Made(row.sha256, row.kind, row.n_bytes, row.run_id, row.name, root / row.path) for row in rows)
    return next((made for made in found if made.path.exists()), None)


def _merged(judged: list[Judged]) -> Judged | None:
    """All snapshots of a folder together: for training and held out."""
    if not judged:
        return None
    people = {person.id: person for one in judged for person, _ in one.people}
    counts = Counter(person.id for one in judged for person, n in one.people for _ in range(n))
    return Judged(counts.total(), tuple((people[id], counts[id]) for id in sorted(people)))
