"""Tables and trees that show results to people."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain, repeat
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from malmoi.cli.printing import printable, source_text, table
from malmoi.units import duration, size
from malmoi.workspace.answer_lineage import AnswerLineage
from malmoi.workspace.base import now
from malmoi.workspace.drawings import DrawingLineage
from malmoi.workspace.ledger import Ledger, Lineage, Made
from malmoi.workspace.models import IMPORT
from malmoi.workspace.runs import flatten, people_rows, status_of
from malmoi.workspace.version_lineage import VersionLineage

NATURAL_ROWS = {
    "declined, of unknown and off topic": ("declined", "to_decline"),
    "declined, of answerable": ("declined", "answerable"),
    "in the first passage": ("recall", "1"),
    "in the first five passages": ("recall", "5"),
    "asked first": ("turns", "first"),
    "the same, after another question": ("turns", "second"),
}
"""Rows of the table of natural questions that are not shares right by kind: label -> where the figure is."""
LOG_SHOWN = 40
"""Number of lines at the end of a run's log that are shown."""


def runs_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("id", "status", "recipe", "seed", "started", "time", "host", "heartbeat")
    shown = (
        (r["id"], r["status"], r["recipe"], r["seed"], r["started_at"][:19], duration(r["seconds"]), r["host"] or "",
         _since(r))
        for r in rows
    )  # fmt: skip
    return table(columns, shown)


def _since(row: Mapping[str, Any]) -> str:
    """How long ago the process of a run that has not ended was last known to live; "" if it has."""
    if row["heartbeat_at"] is None or row["finished_at"] is not None:
        return ""
    ago = (now() - datetime.fromisoformat(row["heartbeat_at"])).total_seconds()
    return f"{duration(max(0.0, ago))} ago"


def run_table(row: Mapping[str, Any]) -> Table:
    """One run: a line for each fact, and the end of its log."""
    facts = flatten({key: value for key, value in row.items() if key not in ("id", "log")})
    log = (
        (f"log {'…' if len(row['log']) > LOG_SHOWN else ''}" if not n else "", line)
        for n, line in enumerate(row["log"][-LOG_SHOWN:])
    )
    return table(("", row["id"]), (*facts, *log))


def compare_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    names = sorted({run for row in rows.values() for run in row})
    return table(("", *names), ((key, *(row.get(name, "") for name in names)) for key, row in rows.items()))


def made_table(found: Sequence[Made]) -> Table:
    return table(
        ("run", "artefact", "sha256", "size"), ((m.run_id, m.name, m.sha256[:12], size(m.n_bytes)) for m in found)
    )


def lineage_tree(root: Lineage, ledger: Ledger, under: Tree | None = None, role: str = "") -> Tree:
    """An artefact's lineage down to its sources. A repeated node is shown without its inputs.

    under: a tree to add it to, in this role
    """
    shown: set[int] = set()

    def grow(node: Lineage, role: str, tree: Tree | None) -> Tree:
        label = f"{f'[dim]{escape(role)}:[/dim] ' if role else ''}{_label(node, ledger)}"
        repeated = id(node) in shown and bool(node.inputs)
        shown.add(id(node))
        branch = Tree(label) if tree is None else tree.add(label + (" [dim](above)[/dim]" if repeated else ""))
        for person in people_rows(node.judged):
            kind = "[yellow]simulated labeler[/yellow]" if person["simulated"] else f"person {escape(person['name'])}"
            branch.add(f"{person['judgements']:,} judgements by {kind} {escape(person['id'])}")
        for name, below in () if repeated else node.inputs.items():
            grow(below, name, branch)
        return branch

    return grow(root, role, under)


def answer_tree(found: AnswerLineage, ledger: Ledger) -> Tree:
    """An answer: what was asked and said, its sources with their rows, the index, the model."""
    answer = found.answer
    question = " ".join(str(answer.messages[-1]["content"]).split())
    tree = Tree(f"[bold]{escape(found.name)}[/bold] [dim]{answer.created_at.isoformat()[:19]}[/dim]")
    tree.add(f"[dim]question:[/dim] {escape(printable(question))}")
    quoted = " (quoted)" if answer.quoted else ""
    tree.add(f"[dim]answer by {escape(answer.voice)}{quoted}:[/dim] {escape(printable(answer.text))}")
    for source in answer.sources:
        branch = tree.add(f"[dim]source:[/dim] {escape(printable(source_text(source)))}")
        if row := found.rows.get(source.get("document", "")):
            about = f"{row['source']}, licence {row['license']}, origin {row['origin']}"
            branch.add(f"[dim]row {row['row']:,} of {escape(row['file'])}:[/dim] {escape(printable(about))}")
    parts = (
        ("index", answer.index_sha256, f" of {answer.index_place}", found.index),
        ("model", answer.model_sha256, "", found.model),
        ("picked by reward model", found.reward_sha256, "", found.reward),
    )
    for role, sha256, place, lineage in parts:
        if lineage is not None:
            lineage_tree(lineage, ledger, tree, role)
        elif sha256 is not None:
            tree.add(f"[dim]{role}:[/dim] {sha256[:12]}{escape(place)}, made by no run of this workspace")
    return tree


def version_tree(found: VersionLineage, ledger: Ledger) -> Tree:
    """A version: what it is, its policy, the reward model that picks its answers."""
    row = found.version.to_row()
    tree = Tree(f"[bold]{found.version.name}[/bold] [dim]{row['created_at'][:19]}[/dim]")
    if row["from"] is not None:
        tree.add(f"[dim]{escape(row['how'])} from {row['from']}[/dim]")
    parts = (("model", "hash", found.model), ("picked by reward model", "reward_hash", found.reward))
    for role, key, lineage in parts:
        if lineage is not None:
            lineage_tree(lineage, ledger, tree, role)
        elif row[key]:
            tree.add(f"[dim]{role}:[/dim] {row[key][:12]}, made by no run of this workspace")
    return tree


def drawing_tree(found: DrawingLineage, ledger: Ledger) -> Tree:
    """A drawing: what was asked, its pictures, the model."""
    drawing = found.drawing
    tree = Tree(f"[bold]{escape(found.name)}[/bold] [dim]{drawing.created_at.isoformat()[:19]}[/dim]")
    tree.add(f"[dim]prompt:[/dim] {escape(printable(drawing.prompt))}")
    said = ", ".join(
        f"{key} {value}" for key, value in drawing.settings.items() if value not in ("", None) and key != "lora_sha256"
    )
    tree.add(f"[dim]settings:[/dim] {escape(printable(said))}")
    began = tree
    for begun in found.began:
        said = f"{begun.name}, {escape(printable(begun.prompt))}" if begun.prompt else begun.name
        began = began.add(f"[dim]began with:[/dim] {said} [dim]{begun.picture[:12]}[/dim]")
    if drawing.start_sha256 is not None and not found.began:
        tree.add(f"[dim]began with:[/dim] {drawing.start_sha256[:12]}, not drawn in this workspace")
    if drawing.mask_sha256 is not None:
        tree.add(f"[dim]mask:[/dim] {drawing.mask_sha256[:12]}")
    for one in [found.picture] if found.picture is not None else found.pictures:
        tree.add(f"[dim]picture:[/dim] {escape(printable(one.path))} [dim]{one.sha256[:12]}, seed {one.seed}[/dim]")
    if found.model is not None:
        lineage_tree(found.model, ledger, tree, "model")
    for lora in found.loras:
        lineage_tree(lora, ledger, tree, "lora")
    if found.model is None and drawing.model_sha256 is not None:
        name = escape(printable(drawing.model))
        tree.add(f"[dim]model:[/dim] {name} {drawing.model_sha256[:12]}, made by no run of this workspace")
    return tree


def _label(node: Lineage, ledger: Ledger) -> str:
    run, made = node.run, node.artefact
    what = (
        f"{escape(made.name)} [dim]{made.sha256[:12]}, {size(made.n_bytes)}[/dim]"
        if made
        else f"[dim]{status_of(run, ledger)}[/dim]"
    )
    source = f" from {escape(str(run.settings['source']))}" if run.stage == IMPORT else f", seed {run.seed}"
    return f"[bold]{escape(run.id)}[/bold] {what}{source}"


def models_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = ("name", "family", "parameters", "type", "size", "run", "from")
    return table(columns, (_model_cells(row) for row in rows))


def _model_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if "error" in row:
        return row["name"], row["error"]
    family = f"{row['family']}{' (reward)' if row['kind'] == 'reward' else ''}"
    facts = (f"{row['parameters'] or 0:,}", row["dtype"], size(row["bytes"]), row["run"], row["source"])
    return row["name"], family, *(fact or "" for fact in facts)


def model_table(row: Mapping[str, Any]) -> Table:
    """One model, a line for each fact."""
    return table(("", row["name"]), ((key, value) for key, value in flatten(row) if key != "name"))


def tasks_table(found: Mapping[str, Any]) -> Table:
    rows = [
        (
            row["task"] if first else "",
            name,
            _mean(v),
            _range(v),
            _chance(row, name),
            row["n"] if first else "",
        )
        for row in found["tasks"]
        for first, (name, v) in zip(chain([True], repeat(False)), row["metrics"].items(), strict=False)
    ]
    made = table(("task", "measure", "value", "95 %", "chance", "n"), rows)
    cut = [f"{row['task']}: {row['n_cut']:,}" for row in found["tasks"] if row["n_cut"]]
    lines = [f"computed in {found['dtype']}", *([f"cut to fit the context: {', '.join(cut)}"] if cut else [])]
    made.caption = "\n".join(lines)
    return made


def _chance(row: Mapping[str, Any], name: str) -> str:
    return f"{row['chance'][name]:.3f}" if name in row["chance"] else "–"


def natural_table(found: Mapping[str, Any]) -> Table:
    """Each voice next to the others: share right in all, by language and by kind; declined; in second turns."""
    voices = found["voices"]
    rows: list[tuple[str, list[Any]]] = [("all", [one["right"] for one in voices.values()])]
    for key in ("by_lang", "by_kind"):
        labels = dict.fromkeys(label for one in voices.values() for label in one[key])
        rows += [(label, [one[key].get(label) for one in voices.values()]) for label in labels]
    for label, path in NATURAL_ROWS.items():
        rows.append((label, [one[path[0]].get(path[1]) for one in voices.values()]))
    if found["names"]:
        rows.append(("most used names", [one["right"] for one in found["names"].values()]))
    for key, label in (("en", "five English notes"), ("ko", "five Korean notes")):
        rows.append((label, [found["notes"].get(name, {}).get("found", {}).get(key) for name in voices]))
    shown = ((label, *chain.from_iterable((_mean(value), _range(value)) for value in values)) for label, values in rows)
    made = table(("right", *chain.from_iterable((name, "95 %") for name in voices)), shown)
    made.caption = "\n".join(
        f"{name} minus {other}, paired: {_mean(value)} ({_range(value)})"
        for name, others in found["differences"].items()
        for other, value in others.items()
    )
    return made


def rewards_table(found: Mapping[str, Any]) -> Table:
    """A reward model on each source and on all, then what it must beat, on the same pairs."""
    columns = ("", "accuracy", "95 %", "log loss", "rankings", "pairs", "ties", "model is ahead by", "95 %")
    sources = [*found["by_source"].items(), *([("all", found)] if len(found["by_source"]) > 1 else [])]
    rows = [
        (
            name, _mean(row["accuracy"]), _range(row["accuracy"]), _mean(row["log_loss"]), row["n_rankings"],
            row["n_pairs"], row["n_ties"],
        )
        for name, row in sources
    ]  # fmt: skip
    shown: list[tuple[Any, ...]] = [(*row, "", "") for row in rows]
    for name, row in found["baselines"].items():
        measured, ahead = row["accuracy"], row["ahead"]
        shown.append((name, _mean(measured), _range(measured), "", "", "", "", _mean(ahead), _range(ahead)))
    if found["people"]:
        shown.append(("one person by another", _mean(found["people"]), _range(found["people"]), *[""] * 6))
    made = table(columns, shown)
    lines = ["chance: accuracy 0.5, log loss 0.693"]
    if found["training_sha256"] is None:
        lines.append("the rankings that the model was trained on are not here, so no words are counted in them")
    if found["temperature"]:
        lines.append(f"temperature that fits these rankings best: {found['temperature']:.2f}")
    if found.get("disagreement", {}).get("divided") is not None:
        lines.append(f"the heads do not agree on {found['disagreement']['divided']:.1%} of the pairs")
    lines += [f"alarm: {found['alarm']}"] if found["alarm"] else []
    made.caption = "\n".join([*lines, *(f"left out: {n:,}, {why}" for why, n in found["left_out"].items())])
    return made


def curve_table(found: Mapping[str, Any]) -> Table:
    """Held-out accuracy by the number of rankings, and what more of them would bring."""
    names = ("probe", "counted words")
    rows = [
        (f"{point['n']:,}", point["seeds"], *chain.from_iterable((_mean(point[n]), _range(point[n])) for n in names))
        for point in found["points"]
    ]
    made = table(("rankings", "seeds", *chain.from_iterable((name, "95 %") for name in names)), rows)
    more = found["next"]
    told = f"+{more['mean']:.3f} ({more['low']:.3f} – {more['high']:.3f})" if more["is_known"] else "not known"
    lines = [f"{name}: {_mean(value)} ({_range(value)})" for name, value in found["baselines"].items()]
    lines.append(f"the next {more['n_more']} rankings are likely to bring the probe: {told}")
    lines += [f"left out: {n:,}, {why}" for why, n in found["left_out"].items()]
    made.caption = "\n".join([f"{found['n_pairs']:,} held-out pairs", *lines])
    return made


def _mean(interval: Mapping[str, Any] | None) -> str:
    return f"{interval['mean']:.3f}" if interval and interval["n"] else "–"


def _range(interval: Mapping[str, Any] | None) -> str:
    return "" if not interval or not interval["n"] else f"{interval['low']:.3f} – {interval['high']:.3f}"


def quantised_table(found: Mapping[str, Any]) -> Table:
    columns = ("weights", "bytes", "tokens/s", "perplexity", "bits/byte", "same likeliest token")
    rows = [
        (
            row["weights"], size(row["bytes"]), f"{row['tokens_per_s']:.0f}", f"{row['perplexity']:.2f}",
            f"{row['bits_per_byte']:.3f}", f"{row['agreement']:.1%}",
        )
        for row in found["formats"]
    ]  # fmt: skip
    made = table(columns, rows)
    made.caption = f"{found['model']}, {found['n_bytes']:,} bytes of {found['text']}"
    return made
