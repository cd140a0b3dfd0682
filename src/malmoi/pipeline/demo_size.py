"""The size of the demo: chosen by the speed of the machine, and then kept for the workspace."""

from pathlib import Path
from typing import Literal, get_args

from malmoi.errors import ConfigError
from malmoi.pipeline.estimate import product_speed
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

Size = Literal["auto", "small", "full"]
RECIPES = {"small": "nano-small", "full": "nano"}
FULL_FROM = 0.3e12
"""FLOP/s of matrix products from which the full demo takes at most about eight minutes."""
FULL_FLOPS = 130e12
"""FLOPs of matrix products that take as long as the full demo."""
GIVES_UP = "a smaller network, 600 topics of 1500, fewer steps and questions"


def choose_size(wanted: str, folder: Path) -> tuple[str, str]:
    """The demo's size, and one line that gives the reason.

    folder: the workspace; it keeps the size of its first demo, however busy the machine is now
    Raises ConfigError for an unknown size.
    """
    if wanted not in get_args(Size):
        raise ConfigError(f"--size {wanted}: expected {', '.join(get_args(Size))}")
    if wanted != "auto":
        return wanted, "as --size says"
    if begun := size_begun(folder):
        return begun, "as this workspace was begun; --size chooses another"
    speed = product_speed()
    shown = f"this machine computes {speed / 1e12:.2f} TFLOP/s"
    if speed >= FULL_FROM:
        return "full", shown
    minutes = FULL_FLOPS / speed / 60
    return (
        "small",
        f"{shown}, the full demo would take {minutes:.0f} minutes; gives up: {GIVES_UP}; --size full for all",
    )


def size_begun(folder: Path) -> str | None:
    """The size of the last demo in a workspace; None if there was none."""
    if not (folder / "malmoi.toml").exists():
        return None
    with Ledger.open(Workspace.open(folder, create=False), only_read=True) as ledger:
        named = {recipe: size for size, recipe in RECIPES.items()}
        sizes = [named[run.recipe] for run in ledger.runs() if run.recipe in named]
    return sizes[-1] if sizes else None
