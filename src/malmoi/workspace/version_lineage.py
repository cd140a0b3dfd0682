"""From a version down: its policy, the reward model that picks its answers, and their runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.workspace.ledger import Ledger, Lineage
from malmoi.workspace.runs import lineage_of, lineage_rows
from malmoi.workspace.versions import NAME, Version, list_versions


@dataclass(frozen=True)
class VersionLineage:
    """A version and what it came from. model, reward: None if no run of this workspace made it, or if there is none"""

    version: Version
    model: Lineage | None
    reward: Lineage | None


def version_called(ledger: Ledger, what: str) -> Version | None:
    """The version of this name; None if there is none, or if a file or folder is called so."""
    if not NAME.fullmatch(what) or any(path.exists() for path in (Path(what), ledger.root / what)):
        return None
    return next((version for version in list_versions(ledger) if version.name == what), None)


def trace_version(ledger: Ledger, version: Version) -> VersionLineage:
    row = version.to_row()
    model, reward = (lineage_of(ledger, row[name]) for name in ("hash", "reward_hash"))
    return VersionLineage(version, model, reward)


def version_rows(found: VersionLineage, ledger: Ledger) -> dict[str, Any]:
    """The same as plain values, for JSON."""
    parts = {"model": found.model, "reward_model": found.reward}
    traced = {name: None if part is None else lineage_rows(part, ledger) for name, part in parts.items()}
    return found.version.to_row() | {"lineage": traced}
