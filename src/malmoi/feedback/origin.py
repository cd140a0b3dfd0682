"""Where an answer of a chat comes from: its sources, the model with its runs, the people whose judgements shaped it."""

from collections import Counter
from pathlib import Path
from typing import Any

from malmoi.feedback.chats import get_message
from malmoi.feedback.refusals import missing
from malmoi.retrieval.writer import FACTS
from malmoi.workspace.answer_lineage import trace_answer
from malmoi.workspace.documents import NAME, titles_of
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger, Lineage


def origin_of(ledger: Ledger, person_id: str, message_id: str) -> dict[str, Any]:
    """Everything behind an answer. Raises RefusedError if it is not in one of this person's chats, or not recorded."""
    message = get_message(ledger, person_id, message_id)
    about = message["answer"]
    if about is None or about["name"] is None:
        raise missing("recorded answer")
    found = trace_answer(ledger, about["name"])
    sources = [{**source, "row": found.rows.get(source.get("document", ""))} for source in about["sources"]]
    return {
        "answer": about["name"], "voice": about["voice"], "hash": about["hash"], "sources": sources,
        "model": _made(found.model), "people": people_behind(found.model, found.reward),
        "reward": found.reward_sha256 and {
            "hash": found.reward_sha256, "run": found.reward.run.id if found.reward is not None else None,
        },
        "index": found.answer.index_sha256 and {
            "titles": _titles(ledger, found.answer.index_place), "hash": found.answer.index_sha256,
            "run": found.index.run.id if found.index is not None else None,
        },
        "command": f"malmoi lineage {about['name']}",
    }  # fmt: skip


def _titles(ledger: Ledger, place: str | None) -> list[str]:
    """What people call the texts of an index. place: as an answer records it, see `Service.index_place`"""
    if place is None:
        return []
    workspace = Workspace(ledger.root)
    index = workspace.indexes / NAME if Path(place) == workspace.path / NAME else ledger.root / place
    return titles_of(workspace, index) if (index / FACTS).exists() else [Path(place).name]


def _made(lineage: Lineage | None) -> dict[str, Any] | None:
    """The run that made a model, and everything it was made from, nearest first; None if that is not known."""
    if lineage is None:
        return None
    parents = [
        {"role": role, "run": node.run.id, "stage": node.run.stage, "kind": node.artefact and node.artefact.kind,
         "hash": node.artefact and node.artefact.sha256}
        for above in lineage.walk()
        for role, node in above.inputs.items()
    ]  # fmt: skip
    once = {(row["run"], row["hash"]): row for row in reversed(parents)}
    near = [row for row in parents if once.pop((row["run"], row["hash"]), None) is not None]
    return {"run": lineage.run.id, "stage": lineage.run.stage, "recipe": lineage.run.recipe, "parents": near}


def people_behind(*lineages: Lineage | None) -> dict[str, int] | None:
    """How many judgements by how many people models learned from, and how many by programs in people's place.

    Of each person those of the largest snapshot count: what each version learned from holds what an earlier one did.
    """
    nodes = [node for lineage in lineages if lineage is not None for node in lineage.walk()]
    said = [one for node in nodes if node.judged is not None for one in node.judged.people]
    if not said:
        return None
    most: Counter[str] = Counter()
    for person, n in said:
        most[person.id] = max(most[person.id], n)
    simulated = {person.id for person, _ in said if person.kind == "simulated"}
    by_people = [n for id, n in most.items() if id not in simulated]
    n_simulated = sum(most[id] for id in simulated)
    return {"n_judgements": sum(by_people), "n_people": len(by_people), "n_simulated": n_simulated}
