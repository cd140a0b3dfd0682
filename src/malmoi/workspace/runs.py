"""Runs and lineage as plain values, to be shown by the command line, a page or another program."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from malmoi.errors import WorkspaceError
from malmoi.workspace.advisory import is_at_work
from malmoi.workspace.folder import LOG, Workspace
from malmoi.workspace.ledger import Judged, Ledger, Lineage, Made
from malmoi.workspace.schema import Run


def list_runs(ledger: Ledger) -> list[dict[str, Any]]:
    """Every run, oldest first, as `run_row`, with the host, the process and the last heartbeat."""
    return [run_row(run, ledger) | _place_row(run) for run in ledger.runs()]


def show_run(ledger: Ledger, name: str) -> dict[str, Any]:
    """A run with its settings, inputs and outputs, the last line of its metrics, and its log, line by line."""
    run = find_run(ledger, name)
    log = ledger.root / "runs" / run.id / LOG
    return {
        **run_row(run, ledger),
        **_place_row(run),
        "settings": run.settings,
        "inputs": _inputs(ledger.lineage(run.id)),
        "outputs": {name: made_row(made) for name, made in ledger.artefacts_of(run.id).items()},
        "metrics": _last_metrics(ledger, run),
        "log": log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else [],
    }


def compare_runs(ledger: Ledger, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Setting or metric -> run -> value, for the settings that differ and all last metrics."""
    runs = [find_run(ledger, name) for name in names]
    rows: dict[str, dict[str, Any]] = {}
    for run in runs:
        facts = {"stage": run.stage, "status": status_of(run, ledger), "seconds": round(run.seconds, 1)}
        settings = {f"settings.{key}": value for key, value in flatten(run.settings)}
        # The last line of the metrics has seconds too, but only those of its step: the run's come later.
        for key, value in {**_last_metrics(ledger, run), **facts, **settings}.items():
            rows.setdefault(key, {})[run.id] = value
    same = [k for k, row in rows.items() if len(row) == len(runs) and len({json.dumps(v) for v in row.values()}) == 1]
    return {key: row for key, row in rows.items() if key not in same or not key.startswith("settings.")}


def find_run(ledger: Ledger, name: str) -> Run:
    """A run by its id or its number (0007-ppo, 7). Raises WorkspaceError."""
    numbered = (run for run in ledger.runs() if name.isdecimal() and run.number == int(name))
    return next(numbered, None) or ledger.run(name)


def trace(ledger: Ledger, what: str) -> Lineage:
    """The lineage of a run (by id or number), an artefact, or a path."""
    return ledger.lineage(find_run(ledger, what).id if what.isdecimal() and len(what) <= 4 else what)


def lineage_of(ledger: Ledger, sha256: str | None) -> Lineage | None:
    """The lineage of contents; None if no run of this workspace made or read them, or if there are none."""
    try:
        return ledger.lineage(sha256) if sha256 else None
    except WorkspaceError:  # it is from elsewhere, or was never recorded
        return None


def descend(ledger: Ledger, what: str) -> list[Made]:
    """Everything made from something: from an artefact, from what a run made, or from a person's judgements."""
    asked = ledger.snapshots_with(what)
    if not asked:
        node = trace(ledger, what)
        made = [node.artefact] if node.artefact else ledger.artefacts_of(node.run.id).values()
        asked = [one.sha256 for one in made]
    return list({made.sha256: made for sha256 in asked for made in ledger.descendants(sha256)}.values())


def status_of(run: Run, ledger: Ledger) -> str:
    """The status in the ledger, but "stopped" for a run that was killed, which had no time to record that."""
    if run.status != "running" or is_at_work(ledger.engine, Workspace(ledger.root), run.id):
        return run.status
    since = ledger.run(run.id).status  # a run that ended after `run` was read has recorded it
    return "stopped" if since == "running" else since


def lineage_rows(root: Lineage, ledger: Ledger) -> list[dict[str, Any]]:
    """Every node once, `root` first; `inputs` names other nodes by run and SHA-256."""
    return [
        {
            "run": run_row(node.run, ledger),
            "artefact": node.artefact and made_row(node.artefact),
            "inputs": _inputs(node),
            "people": people_rows(node.judged),
        }
        for node in root.walk()
    ]


def run_row(run: Run, ledger: Ledger) -> dict[str, Any]:
    """A run's own facts; its times in ISO 8601."""
    names = ("id", "stage", "recipe", "seed", "version", "seconds", "error")
    times = {
        name: value and value.isoformat() for name in ("started_at", "finished_at") if [value := getattr(run, name)]
    }
    return {name: getattr(run, name) for name in names} | {"status": status_of(run, ledger)} | times


def _place_row(run: Run) -> dict[str, Any]:
    """Where a run is or was last at work, and when its process was last known to live."""
    return {"host": run.host, "pid": run.pid, "heartbeat_at": run.heartbeat_at and run.heartbeat_at.isoformat()}


def made_row(made: Made) -> dict[str, Any]:
    """An artefact: which run made it, under what name, and where it is."""
    return {
        "run": made.run_id, "name": made.name, "kind": made.kind, "sha256": made.sha256, "bytes": made.n_bytes,
        "path": str(made.path),
    }  # fmt: skip


def people_rows(judged: Judged | None) -> list[dict[str, Any]]:
    """Who judged, with the number of judgements; `simulated` says that it is a program."""
    return [
        {"id": person.id, "name": person.name, "simulated": person.kind == "simulated", "judgements": n}
        for person, n in (judged.people if judged else ())
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values under dotted names: ("loop.optim.lr", 0.1)."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _inputs(node: Lineage) -> dict[str, dict[str, Any]]:
    return {
        role: {"run": below.run.id, "sha256": below.artefact and below.artefact.sha256}
        for role, below in node.inputs.items()
    }


def _last_metrics(ledger: Ledger, run: Run) -> dict[str, Any]:
    path = ledger.root / "runs" / run.id / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # a run at work may be writing the last one
    return json.loads(lines[-1]) if lines else {}
