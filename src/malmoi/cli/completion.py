"""What the shell can complete in addition to commands and options: names of models, runs, recipes and workspaces.

A shell waits for these at every press of Tab, so they only list folders; nothing is read, and nothing is imported.
`malmoi --install-completion` makes bash, zsh and fish ask for them.
"""

import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

MARKER = "malmoi.toml"
PICTURES = "model_index.json"
QUOTES = "none"
"""The voice that is no model: it quotes."""


def model_names(ctx: Any, incomplete: str) -> list[str]:
    return _beginning_with(incomplete, _entries(_workspace(ctx) / "models"))


def picture_models(ctx: Any, incomplete: str) -> list[str]:
    """Models that draw."""
    models = _workspace(ctx) / "models"
    return _beginning_with(incomplete, (name for name in _entries(models) if (models / name / PICTURES).is_file()))


def voices(ctx: Any, incomplete: str) -> list[str]:
    """Models, and the voice without one."""
    return _beginning_with(incomplete, [*_entries(_workspace(ctx) / "models"), QUOTES])


def run_ids(ctx: Any, incomplete: str) -> list[str]:
    return _beginning_with(incomplete, _entries(_workspace(ctx) / "runs"))


def recipe_names(ctx: Any, incomplete: str) -> list[str]:
    shipped = Path(str(resources.files("malmoi"))) / "recipes"
    return _beginning_with(incomplete, (name.removesuffix(".toml") for name in _entries(shipped)))


def stage_names(ctx: Any, incomplete: str) -> list[str]:
    stages = Path(str(resources.files("malmoi"))) / "stages"
    return _beginning_with(incomplete, (name.removesuffix(".py") for name in _entries(stages) if name.endswith(".py")))


def workspaces(ctx: Any, incomplete: str) -> list[str]:
    """Folders that are workspaces, next to what was typed; the shell itself completes other folders."""
    above, _, _ = incomplete.rpartition("/")
    place = Path(above or ("/" if incomplete.startswith("/") else "."))
    found = (name for name in _entries(place) if (place / name / MARKER).is_file())
    return _beginning_with(incomplete, (f"{above}/{name}" if "/" in incomplete else name for name in found))


def _workspace(ctx: Any) -> Path:
    """The workspace that the line names so far, or the default."""
    typed = (getattr(ctx, "params", None) or {}).get("workspace")
    return Path(str(typed or os.environ.get("MALMOI_WORKSPACE") or "workspace"))


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith((".", "_")))
    except OSError:
        return []


def _beginning_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
