"""`malmoi runs` and `malmoi lineage`: the ledger as tables and trees, or as JSON for machines."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from malmoi.files import read_jsonl, to_json
from malmoi.report.summary import duration
from malmoi.workspace.folder import LOG, Workspace
from malmoi.workspace.ledger import Judged, Ledger, Lineage, Made
from malmoi.workspace.schema import Run

LOG_SHOWN = 40
"""Lines of a run's log that are shown to people."""
WIDE = 200
"""Columns when nobody's terminal sets a limit: a pipe, a file."""


def print_json(value: Any) -> None:
    print(to_json(value, indent=2))


def list_runs(ledger: Ledger) -> list[dict[str, Any]]:
    return [run_row(run, ledger) for run in ledger.runs()]


def show_run(ledger: Ledger, name: str) -> dict[str, Any]:
    """A run with its settings, what it took in and made, the last line of its metrics, and its log, line by line."""
    run = find_run(ledger, name)
    log = ledger.root / "runs" / run.id / LOG
    return {
        **run_row(run, ledger),
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
        # The last step has its own seconds, which are not the run's.
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


def descend(ledger: Ledger, what: str) -> list[Made]:
    """All that was made out of something: an artefact, a run's work, or the judgements of a person."""
    asked = ledger.snapshots_with(what)
    if not asked:
        node = trace(ledger, what)
        made = [node.artefact] if node.artefact else ledger.artefacts_of(node.run.id).values()
        asked = [one.sha256 for one in made]
    return list({made.sha256: made for sha256 in asked for made in ledger.descendants(sha256)}.values())


def status_of(run: Run, ledger: Ledger) -> str:
    """What the ledger says; a run that was killed had no time to say that it stopped."""
    if run.status == "running" and not Workspace(ledger.root).is_running(run.id):
        return "stopped"
    return run.status


def lineage_rows(root: Lineage, ledger: Ledger) -> list[dict[str, Any]]:
    """Every node once, the asked one first; `inputs` names others by run and SHA-256."""
    return [
        {
            "run": run_row(node.run, ledger),
            "artefact": node.artefact and made_row(node.artefact),
            "inputs": _inputs(node),
            "people": _people(node.judged),
        }
        for node in root.walk()
    ]


def lineage_tree(root: Lineage, ledger: Ledger) -> Tree:
    """The way down to the sources; what was shown already is named and not repeated."""
    shown: set[int] = set()

    def grow(node: Lineage, role: str, tree: Tree | None) -> Tree:
        label = f"{f'[dim]{escape(role)}:[/dim] ' if role else ''}{_label(node, ledger)}"
        repeated = id(node) in shown and bool(node.inputs)
        shown.add(id(node))
        branch = Tree(label) if tree is None else tree.add(label + (" [dim](above)[/dim]" if repeated else ""))
        for person in _people(node.judged):
            kind = "[yellow]simulated labeler[/yellow]" if person["simulated"] else f"person {escape(person['name'])}"
            branch.add(f"{person['judgements']:,} judgements by {kind} {escape(person['id'])}")
        for name, below in () if repeated else node.inputs.items():
            grow(below, name, branch)
        return branch

    return grow(root, "", None)


def runs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("id", "status", "recipe", "seed", "started", "time")
    shown = ((r["id"], r["status"], r["recipe"], r["seed"], r["started_at"][:19], duration(r["seconds"])) for r in rows)
    return table(columns, shown)


def made_table(found: Sequence[Made]) -> Table:
    return table(
        ("run", "artefact", "sha256", "size"), ((m.run_id, m.name, m.sha256[:12], size(m.n_bytes)) for m in found)
    )


def run_table(row: Mapping[str, Any]) -> Table:
    """One run, a fact a line; of its log the end."""
    facts = flatten({key: value for key, value in row.items() if key not in ("id", "log")})
    log = (
        (f"log {'…' if len(row['log']) > LOG_SHOWN else ''}" if not n else "", line)
        for n, line in enumerate(row["log"][-LOG_SHOWN:])
    )
    return table(("", row["id"]), (*facts, *log))


def compare_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    names = sorted({run for row in rows.values() for run in row})
    return table(("", *names), ((key, *(row.get(name, "") for name in names)) for key, row in rows.items()))


def show(what: Table | Tree) -> None:
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(what)


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def size(n_bytes: float) -> str:
    unit, name = next(((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if n_bytes >= u), (1.0, "B"))
    return f"{n_bytes / unit:.3g} {name}"


def table(columns: Sequence[str], rows: Any) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(escape(str(column)), overflow="fold")
    for row in rows:
        table.add_row(*(escape(f"{cell:.5g}" if isinstance(cell, float) else str(cell)) for cell in row))
    return table


def _label(node: Lineage, ledger: Ledger) -> str:
    run, made = node.run, node.artefact
    what = (
        f"{escape(made.name)} [dim]{made.sha256[:12]}, {size(made.n_bytes)}[/dim]"
        if made
        else f"[dim]{status_of(run, ledger)}[/dim]"
    )
    source = f" from {escape(str(run.settings['source']))}" if run.stage == "import" else f", seed {run.seed}"
    return f"[bold]{escape(run.id)}[/bold] {what}{source}"


def run_row(run: Run, ledger: Ledger) -> dict[str, Any]:
    names = ("id", "stage", "status", "recipe", "seed", "version", "seconds", "error")
    times = {
        name: value and value.isoformat() for name in ("started_at", "finished_at") if [value := getattr(run, name)]
    }
    return {name: getattr(run, name) for name in names} | {"status": status_of(run, ledger)} | times


def made_row(made: Made) -> dict[str, Any]:
    return {
        "run": made.run_id, "name": made.name, "kind": made.kind, "sha256": made.sha256, "bytes": made.n_bytes,
        "path": str(made.path),
    }  # fmt: skip


def _inputs(node: Lineage) -> dict[str, dict[str, Any]]:
    return {
        role: {"run": below.run.id, "sha256": below.artefact and below.artefact.sha256}
        for role, below in node.inputs.items()
    }


def _people(judged: Judged | None) -> list[dict[str, Any]]:
    return [
        {"id": person.id, "name": person.name, "simulated": person.kind == "simulated", "judgements": n}
        for person, n in (judged.people if judged else ())
    ]


def _last_metrics(ledger: Ledger, run: Run) -> dict[str, Any]:
    path = ledger.root / "runs" / run.id / "metrics.jsonl"
    rows = read_jsonl(path) if path.exists() else []
    return rows[-1] if rows else {}
