"""Documents that people add: files in the workspace's folder `documents`, which is indexed as a whole.

What was looked up before stays looked up: the folder of the index before is linked, and the documents of a recipe are.
"""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from malmoi.corpus.readers import reader_of
from malmoi.errors import DataError, UserError
from malmoi.files import iterate_jsonl, open_atomic, read_json
from malmoi.retrieval.update import FILES
from malmoi.retrieval.writer import FACTS
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import Indexed, find_index, index_folder
from malmoi.workspace.locks import LOCK, holding
from malmoi.workspace.uploads import safe_name

NAME = "documents"
PYTHON = "Python's documentation"
CORPUS = "corpus"
PARTS = ("train", "heldout")
"""Files of a recipe's text."""


def add_documents(workspace: Workspace, files: Sequence[Path]) -> Indexed:
    """Copy files into the workspace, and make the index of all its documents. A file of the same name is replaced.

    Raises DataError for a name that cannot be used or a format that is not read, and what `index_folder` raises.
    """
    folder = workspace.path / NAME
    for file in files:
        if reader_of(safe_name(file.name)) is None:
            raise DataError(f"{file.name}: not a format that is read")
    folder.mkdir(exist_ok=True)
    _link_what_is_looked_up(workspace, folder)
    for file in files:
        with file.open("rb") as source, open_atomic(folder / safe_name(file.name)) as copy:
            shutil.copyfileobj(source, copy)
    return index_folder(workspace, folder, NAME)


def remove_document(workspace: Workspace, name: str) -> None:
    """Take a document out of the look-up. Raises DataError if it is not one that was added here; where the index cannot
    be made again now, the document stays.
    """
    folder = workspace.path / NAME
    path = folder / safe_name(name)
    if not path.is_file():
        raise DataError(f"{name}: is no document that was added here")
    aside = workspace.path / f".{NAME}.removed"
    path.replace(aside)
    try:
        _index_what_is_left(workspace, folder)
    except BaseException:
        aside.replace(path)
        raise
    aside.unlink()


def _index_what_is_left(workspace: Workspace, folder: Path) -> None:
    try:
        index_folder(workspace, folder, NAME)
    except DataError:  # nothing is left: what was looked up before counts again
        with holding(workspace.indexes / f".{NAME}{LOCK}", f"index {NAME}"):
            shutil.rmtree(workspace.indexes / NAME, ignore_errors=True)


def list_documents(workspace: Workspace) -> dict[str, Any]:
    """What is looked up now.

    {"titles": names of the texts, "files": how many documents, "passages": how many, "languages",
    "documents": [{"file", "passages", "n_bytes", "added": whether it can be taken out here}]};
    without documents where a recipe made the index
    """
    index = find_index(workspace)
    if index is None:
        return {"titles": [], "files": 0, "passages": 0, "languages": {}, "documents": []}
    facts = read_json(index / FACTS)
    own = {path.name for path in (workspace.path / NAME).glob("*") if path.is_file()} if index.name == NAME else set()
    rows: dict[str, dict[str, Any]] = {}
    for row in iterate_jsonl(index / FILES) if (index / FILES).exists() else ():
        file, whole = row["file"], _recipe_text(workspace, row["file"])
        shown = rows.setdefault(whole or file, {
            "file": whole or file, "passages": 0, "n_bytes": None if whole else row.get("bytes"),
            "added": file in own, "skipped": {},
        })  # fmt: skip
        shown["passages"] += row["passages"]
        shown["skipped"] = dict(Counter(shown["skipped"]) + Counter(row["skipped"]))
    counts = {name: facts[name] for name in ("files", "passages", "languages")}
    return {"titles": titles_of(workspace, index), **counts, "documents": [*rows.values()]}


def _recipe_text(workspace: Workspace, file: str) -> str | None:
    """The name of a recipe's text, of which this is one of the two linked files, which nobody but us calls so."""
    path = workspace.path / NAME / file
    linked = path.name in (f"{part}.jsonl" for part in PARTS) and path.is_symlink()
    return path.parent.name if linked else None


def titles_of(workspace: Workspace, index: Path) -> list[str]:
    """What people call the texts of an index: the folder's name, or the names of what was added."""
    source = str(read_json(index / FACTS).get("source", ""))
    if not source:
        made = _made_from(workspace, index)
        return [made[0]] if made else [index.resolve().name]
    folder = Path(source)
    if folder != (workspace.path / NAME).resolve():
        return [folder.name]
    return sorted(path.name for path in folder.glob("*") if not path.name.startswith("."))


def _link_what_is_looked_up(workspace: Workspace, folder: Path) -> None:
    """Once, with the first document: what answers came from before is not lost."""
    before = find_index(workspace)
    if before is None or before.name == NAME:
        return
    source = str(read_json(before / FACTS).get("source", ""))
    if source and Path(source).exists():
        _link(folder / Path(source).name, Path(source))
    elif (made := _made_from(workspace, before)) is not None:
        title, out = made
        (folder / title).mkdir(exist_ok=True)
        for part in PARTS:
            # Relative: the workspace may be moved.
            _link(folder / title / f"{part}.jsonl", Path(os.path.relpath(out / f"{part}.jsonl", folder / title)))


def _link(link: Path, to: Path) -> None:
    with contextlib.suppress(FileExistsError):
        link.symlink_to(to)


def _made_from(workspace: Workspace, index: Path) -> tuple[str, Path] | None:
    """The name of a recipe's text, and the folder of its documents; None if they are gone."""
    from malmoi.workspace.ledger import OUT, Ledger

    run = workspace.run_of(index)
    if run is None:
        return None
    with contextlib.suppress(UserError), Ledger.open(workspace, only_read=True) as ledger:
        for node in ledger.lineage(run.name).walk():
            if node.run.stage == CORPUS and (out := workspace.runs / node.run.id / OUT).is_dir():
                text = str(node.run.settings.get("text") or next(iter(node.run.settings.get("sources") or ()), ""))
                return (Path(text).name if text else PYTHON), out
    return None
