"""Where an answer of a chat comes from: its sources, the model with its runs, the people whose judgements shaped it."""

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
    """How many judgements by how many people models learned from, and how many by programs in people's place."""
    nodes = [node for lineage in lineages if lineage is not None for node in lineage.walk()]
    # What two of them learned from counts once, as does a snapshot that came with its folder.
    judged = {node.artefact: node.judged for node in nodes if node.artefact is not None and node.judged is not None}
    whole = [one for made, one in judged.items() if not any(made != other and made.is_in(other) for other in judged)]
    if not whole:
        return None
    said = [(person, n) for one in whole for person, n in one.people]
    by_people = [(person.id, n) for person, n in said if person.kind != "simulated"]
    return {
        "n_judgements": sum(n for _, n in by_people), "n_people": len({id for id, _ in by_people}),
        "n_simulated": sum(n for person, n in said if person.kind == "simulated"),
    }  # fmt: skip
