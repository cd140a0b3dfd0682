"""What there is to learn from, as a page and a terminal show it: counts, and the first rows of each kind."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from malmoi.errors import ConfigError
from malmoi.feedback.exchange import LABELS, exported, what_of
from malmoi.feedback.learning import cap_of, lesson, n_withheld_chats
from malmoi.feedback.page_labels import label_rows, n_labels
from malmoi.feedback.snapshots import list_snapshots, ranking_rows, rows_now, snapshot_rows
from malmoi.feedback.written_answers import written_answers
from malmoi.workspace.base import now
from malmoi.workspace.documents import list_documents
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.versions import people_names

N_SHOWN = 100


def data_overview(ledger: Ledger) -> dict[str, Any]:
    """How much there is of each kind: {"documents", "answers", "rankings", "labels", "snapshots",
    "n_withheld_chats"}."""
    return {
        "documents": list_documents(Workspace(ledger.root))["files"], "answers": len(written_answers(ledger)),
        "rankings": len(ranking_rows(ledger)), "labels": n_labels(ledger), "snapshots": len(list_snapshots(ledger)),
        "n_withheld_chats": n_withheld_chats(ledger), "command": "malmoi data list",
    }  # fmt: skip


def shown_answers(ledger: Ledger) -> dict[str, Any]:
    """{"n", "answers": [{"question", "text", "person", "kind", "instead_of"}]}, the first of them."""
    rows, names = written_answers(ledger), _names(ledger)
    shown = [
        {"question": _question(row["messages"][:-1]), "text": row["messages"][-1]["content"], "kind": row["kind"],
         "person": names.get(row["person"], row["person"]), "instead_of": row["instead_of"]}
        for row in rows[:N_SHOWN]
    ]  # fmt: skip
    return {"n": len(rows), "answers": shown}


def shown_rankings(ledger: Ledger) -> dict[str, Any]:
    """{"n", "n_better": better answers that count as rankings too, "cap", "people": [{"name", "n",
    "simulated"}], "rankings": [{"question", "answers": [{"rank", "text"}],
    "person", "simulated", "heldout"}]}, the first of them; those of programs only where people have ranked nothing."""
    rows, names = ranking_rows(ledger) or ranking_rows(ledger, "simulated"), _names(ledger)
    counts = Counter(row["person"] for row in rows)
    simulated = {row["person"] for row in rows if row["simulated"]}
    people = [
        {"name": names.get(id, id), "n": n, "simulated": id in simulated} for id, n in counts.most_common()
    ]  # fmt: skip
    shown = [
        {"question": _question(row["messages"]), "person": names.get(row["person"], row["person"]),
         "simulated": row["simulated"], "heldout": row["split"] == "heldout",
         "answers": [{"rank": rank, "text": text} for rank, text in sorted(zip(row["ranks"], row["answers"],
                                                                               strict=True))]}
        for row in rows[:N_SHOWN]
    ]  # fmt: skip
    n_better = lesson(ledger, "people", now()).to_row()["n_better"]
    return {"n": len(rows), "n_better": n_better, "cap": cap_of(counts), "people": people, "rankings": shown}


def export_rows(ledger: Ledger, form: str, snapshot: str | None = None, whose: str = "people") -> list[dict[str, Any]]:
    """Rows to write in one of the forms, of a snapshot or as they are now.

    Raises ConfigError for an unknown form, DataError if the snapshot is not there or holds something else.
    """
    if form == LABELS:
        if snapshot is not None:
            raise ConfigError("labels: no snapshot holds them; leave the snapshot out")
        names = _names(ledger)
        return [{**row, "person_name": names.get(row["person"], row["person"])} for row in label_rows(ledger)]
    what = what_of(form)
    if snapshot is None:
        rows = rows_now(ledger, what, whose)  # type: ignore[arg-type]
    else:
        what, rows = snapshot_rows(ledger, snapshot)
    return exported(what, form, rows, _names(ledger))


def _question(messages: Sequence[Mapping[str, Any]]) -> str:
    return str(messages[-1]["content"]) if messages else ""


def _names(ledger: Ledger) -> dict[str, str]:
    with ledger.engine.connect() as connection:
        return people_names(connection)
