"""Bring models into a workspace as the commands do, and see that nothing is left of one that was refused."""

from typing import Any

from malmoi.pipeline.names import recipe_model_names
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hub import Hub
from malmoi.workspace.transfer import Arrival, import_model, pull


def bring_in(workspace: Workspace, source: str, name: str | None = None, hub: Hub | None = None) -> Arrival:
    return import_model(workspace.path, source, name, hub=hub, reserved=recipe_model_names())


def fetch(workspace: Workspace, short: str, name: str | None = None, hub: Hub | None = None) -> Arrival:
    return pull(workspace.path, short, name, hub=hub, reserved=recipe_model_names())


def of(address: str, **settings: Any) -> Hub:
    """The hub at this address, without a token, and with little patience."""
    return Hub(address, **{"token": None, "pause_s": 0.0, "attempts": 3, "timeout_s": 5.0, **settings})


def nothing_is_left(workspace: Workspace) -> bool:
    """No name, no files; the ledger may have failed runs."""
    return not [*workspace.models.iterdir()] and not [*workspace.runs.iterdir()]
