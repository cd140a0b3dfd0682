"""Corpora of the web that runs of a workspace have read: where a page is, and what has read it."""

import contextlib
from pathlib import Path
from typing import Any

from malmoi.corpus.built import trace
from malmoi.corpus.form import INDEX, PLAN, WEB
from malmoi.errors import DataError
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Run

STAGE = "corpus"


def trace_in(workspace: Workspace, page: str) -> dict[str, Any]:
    """A page of a corpus that a run of the workspace has read, the latest first: as `corpus.built.trace`, and "corpus".

    page: its id or address
    Raises DataError if no corpus has it.
    """
    looked: list[Path] = []
    if workspace.exists:
        with Ledger.open(workspace, only_read=True) as ledger:
            for run in reversed(ledger.runs()):
                looked += [*_built_by(ledger, run), *_texts_of(run)] if run.stage == STAGE else ()
    looked = [folder for folder in dict.fromkeys(looked) if (folder / INDEX).exists() and (folder / PLAN).exists()]
    gone: dict[str, Any] | None = None
    for folder in looked:
        with contextlib.suppress(DataError):
            if (found := trace(folder, page))["kept"]:
                return found | {"corpus": str(folder)}
            gone = gone or found | {"corpus": str(folder)}
    if gone is None:
        said = ", ".join(map(str, looked)) or "there is none; give the folder of one"
        raise DataError(f"{page}: in no corpus that a run of {workspace.path} has read ({said})")
    return gone


def readers(ledger: Ledger, folder: Path) -> list[str]:
    """What runs made that have read a corpus: those of its corpus stages, and all that was made from them."""
    below = folder.resolve()
    runs = [
        run
        for run in ledger.runs()
        if any(_is_below(one, below) for one in (*_built_by(ledger, run), *_texts_of(run)[:1]))
    ]
    made = {one.sha256: one for run in runs for one in ledger.artefacts_of(run.id).values()}
    for sha256 in list(made):
        made |= {one.sha256: one for one in ledger.descendants(sha256)}
    return [f"{one.kind} of run {one.run_id}" for one in made.values() if one.kind != "documents"]


def _built_by(ledger: Ledger, run: Run) -> list[Path]:
    """Where a run builds a corpus of its own."""
    return [Workspace(ledger.root).runs / run.id / WEB]


def _texts_of(run: Run) -> list[Path]:
    """The text that a run read, and the folder around it: it may be the `data` of a corpus."""
    text = str(run.settings.get("text") or "")
    return [Path(text), Path(text).parent] if text else []


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve() == folder or folder in path.resolve().parents
